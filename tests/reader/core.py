"""Sections 1 to 8, 10 and 11 of docs/format.md: keys, slots, packs, segments, pages, signatures.

Functions of bytes; no files here.
"""

import base64
import json
import re
import struct
import unicodedata
from datetime import datetime
from itertools import pairwise

import zstandard
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import proto
from proto import decode

DATA, TREE = 1, 2
KINDS = {1: "file", 2: "folder", 3: "symlink", 4: "fifo", 5: "char", 6: "block"}
MIB = 1 << 20


class Damaged(Exception):
    """An object differs from what was written."""


class Refused(Exception):
    """The request cannot be met: wrong passphrase, no such point or path, or a newer format."""


def require(condition, what):
    if not condition:
        raise Damaged(what)


# ---- 1. Conventions ------------------------------------------------------------------------------------------------


def derive_key(context, material):
    return blake3(material, derive_key_context=context).digest()


def keyed(key, data, length=32):
    return blake3(data, key=key).digest(length=length)


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def nonce(number):
    return u64(number) + bytes(4)


def unseal(key, number, aad, sealed, what):
    try:
        return AESGCM(key).decrypt(nonce(number), bytes(sealed), aad)
    except InvalidTag:
        raise Damaged(f"{what}: the seal is broken") from None


def unzstd(payload, raw_len, what):
    """Decompresses exactly one zstd frame to exactly raw_len bytes."""
    try:
        frame = zstandard.get_frame_parameters(payload)
        require(frame.content_size in (raw_len, zstandard.CONTENTSIZE_UNKNOWN), f"{what}: its length is wrong")
        require(frame.window_size <= 8 * MIB and not payload[4] & 3, f"{what}: a window or dictionary it may not have")
        raw = zstandard.ZstdDecompressor().decompress(payload, max_output_size=raw_len, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damaged(f"{what}: {error}") from None
    require(len(raw) == raw_len, f"{what}: its length is wrong")
    return raw


# The encodings of y of the points whose order divides 8. The top bit, the sign of x, is left out.
SMALL_ORDER = {
    bytes.fromhex(y)
    for y in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
}


def verify(public_key, signature, message, what):
    for point in (public_key, signature[:32]):
        require(len(point) == 32, f"{what}: a key or signature is cut off")
        require(point[:31] + bytes([point[31] & 0x7F]) not in SMALL_ORDER, f"{what}: a point of small order")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Damaged(f"{what}: the signature is wrong") from None


def message(schema, data, what):
    try:
        return decode(schema, data)
    except (proto.Malformed, UnicodeDecodeError) as error:
        raise Damaged(f"{what}: {error}") from None


# ---- 3. Keys -------------------------------------------------------------------------------------------------------


class Keys:
    NAMES = {
        "data_chunk_id": "data chunk id",
        "tree_chunk_id": "tree chunk id",
        "chunker_table": "chunker table",
        "page_ends": "page ends",
        "packs": "packs",
        "segments": "segments",
        "log": "log",
        "policies": "policies",
    }

    def __init__(self, master, domain):
        self.domain = domain
        self.sub = {name: derive_key(f"lockstone v1 {context}", master) for name, context in self.NAMES.items()}

    def chunk_id(self, kind, raw):
        return keyed(self.sub["tree_chunk_id" if kind == TREE else "data_chunk_id"], raw)

    def object_key(self, what, object_id):
        """The key and the commitment of a pack or a segment."""
        key = derive_key(f"lockstone v1 {what} key", self.sub[what + "s"] + object_id)
        return key, derive_key(f"lockstone v1 {what} commitment", key)

    def log_body_key(self, n, session_nonce):
        return derive_key("lockstone v1 log body", self.sub["log"] + u64(n) + session_nonce)


# ---- 4. Key slots --------------------------------------------------------------------------------------------------


def read_recovery_key(printed):
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    require(printed.isascii(), "the recovery key is mistyped")
    letters = re.sub(r"[ \t\n\f\r-]", "", printed).upper().replace("O", "0").replace("I", "1").replace("L", "1")
    require(len(letters) == 56 and all(letter in alphabet for letter in letters), "the recovery key is mistyped")
    number = 0
    for letter in letters:
        number = number << 5 | alphabet.index(letter)
    both = number.to_bytes(35, "big")
    checksum = derive_key("lockstone v1 recovery key checksum", both[:32])[:3]
    require(both[32:] == checksum, "the recovery key is mistyped")
    return both[:32]


def open_slot(data, name, domain, secrets):
    """The master key; None if there is no secret for this kind of slot, or if the secret is wrong.

    `secrets`: {1: passphrase as bytes, 2: machine secret, 3: recovery key}.
    """
    what = f"key slot {name}"
    require(32 < len(data) <= MIB, f"{what}: its length is wrong")
    encoded = data[:-32]
    require(blake3(encoded).digest() == data[-32:], f"{what}: its checksum is wrong")
    slot = message(proto.KEY_SLOT, encoded, what)
    require(slot["version"] == 1, f"{what}: version {slot['version']}")
    lens = [len(slot[field]) for field in ("salt", "commitment", "sealed_key")]
    require(lens == [32, 32, 48] and slot["kind"] in (1, 2, 3), f"{what}: a field is wrong")
    require(slot["slot_id"].hex() == name and slot["domain_id"] == domain, f"{what}: it belongs elsewhere")
    memory, passes, lanes = slot["argon_memory_kib"], slot["argon_passes"], slot["argon_lanes"]
    if slot["kind"] == 1:
        bounded = 1 <= lanes <= 16 and 1 <= passes <= 16 and 8 * lanes <= memory <= 2 * 1024 * 1024
        require(bounded, f"{what}: its Argon2 parameters are outside the limits")
    else:
        require(memory == passes == lanes == 0, f"{what}: it has no use for Argon2 parameters")
    require(len(slot["server_id"]) == (16 if slot["kind"] == 2 else 0), f"{what}: its server is missing or needless")
    if slot["kind"] not in secrets:
        return None
    secret = secrets[slot["kind"]]
    if slot["kind"] == 1:
        secret = hash_secret_raw(secret, slot["salt"], passes, memory, lanes, 32, Type.ID, 0x13)
    context = {1: "passphrase", 2: "machine", 3: "recovery"}[slot["kind"]]
    wrapping = derive_key(f"lockstone v1 {context} slot", secret + slot["salt"])
    if derive_key("lockstone v1 slot commitment", wrapping) != slot["commitment"]:
        return None
    return unseal(wrapping, 0, encoded[:-84], slot["sealed_key"], what)


# ---- 5, 6. Frames and packs ----------------------------------------------------------------------------------------


def padme(length):
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-length // step) * step


def check_header(header, magic, object_id, commitment, what):
    require(len(header) == 80 and header[:8] == magic, f"{what}: it does not begin with {magic.decode()}")
    require(header[8:12] == u32(1), f"{what}: version {int.from_bytes(header[8:12], 'little')}")
    require(header[16:48] == object_id, f"{what}: its id is another one's")
    require(header[48:80] == commitment, f"{what}: it was sealed with another key")


def check_pack_header(header, kind, pack_id, commitment, what):
    check_header(header, b"LSTNPACK", pack_id, commitment, what)
    require(header[12:16] == bytes([kind, 0, 0, 0]), f"{what}: its kind or its reserved bytes are wrong")


class Pack:
    def __init__(self, keys, pack_id, kind):
        self.keys, self.id, self.kind, self.what = keys, pack_id, kind, f"pack {pack_id.hex()}"
        self.key, self.commitment = keys.object_key("pack", pack_id)
        self.aad = u32(1) + keys.domain + bytes([kind]) + pack_id

    def open_frame(self, ordinal, frame, sealed):
        """The plaintext chunks of a frame, by id."""
        what = f"{self.what}, frame {ordinal}"
        aad = self.aad + u32(ordinal) + u32(frame["raw_len"]) + bytes([frame["codec"]])
        payload = unseal(self.key, ordinal, aad, sealed, what)
        raw = unzstd(payload, frame["raw_len"], what) if frame["codec"] == 1 else payload
        require(len(raw) == frame["raw_len"], f"{what}: its length is wrong")
        chunks, at = {}, 0
        for number, length in enumerate(frame["chunk_lens"]):
            chunk_id = frame["chunk_ids"][32 * number : 32 * number + 32]
            chunk, at = raw[at : at + length], at + length
            require(self.keys.chunk_id(self.kind, chunk) == chunk_id, f"{what}: chunk {number} is another one")
            chunks[chunk_id] = chunk
        return chunks

    def open_directory(self, sealed, frames_end):
        plain = unseal(self.key, 2**64 - 1, self.aad + u64(frames_end), sealed, f"{self.what}, directory")
        length = int.from_bytes(plain[:4], "little")
        require(length <= len(plain) - 4, f"{self.what}: its directory is cut off")
        require(not any(plain[4 + length :]), f"{self.what}: its padding is no zeros")
        directory = message(proto.PACK_DIRECTORY, plain[4 : 4 + length], self.what)
        check_directory(directory, frames_end, self.what)
        return directory


def check_directory(directory, frames_end, what):
    at, chunks = 80, 0
    for frame in directory["frames"]:
        lens = frame["chunk_lens"]
        require(1 <= len(lens) <= 16384 and len(frame["chunk_ids"]) == 32 * len(lens), f"{what}: chunks and ids differ")
        require(all(1 <= length <= 4 * MIB for length in lens), f"{what}: a chunk of an impossible length")
        require(sum(lens) == frame["raw_len"] <= 8 * MIB, f"{what}: chunks do not fill their frame")
        stored = frame["sealed_len"] == frame["raw_len"] + 16
        shorter = 16 < frame["sealed_len"] < frame["raw_len"] + 16
        right = stored if frame["codec"] == 0 else shorter and frame["codec"] == 1
        require(right, f"{what}: a frame's length is wrong")
        at, chunks = at + frame["sealed_len"], chunks + len(lens)
    require(0 < len(directory["frames"]) <= 65536 and chunks <= 262144, f"{what}: too much or nothing")
    require(at == frames_end, f"{what}: frames do not fill the pack")


# ---- 7. Segments ---------------------------------------------------------------------------------------------------


def open_segment(keys, segment_id, data):
    what = f"segment {segment_id.hex()}"
    key, commitment = keys.object_key("segment", segment_id)
    require(len(data) <= 256 * MIB, f"{what}: it is too long")
    check_header(data[:80], b"LSTNSEGM", segment_id, commitment, what)
    raw_len = int.from_bytes(data[12:16], "little")
    require(raw_len <= 32 * MIB, f"{what}: it is too long")
    payload = unseal(key, 0, data[:80] + keys.domain, data[80:], what)
    segment = message(proto.SEGMENT, unzstd(payload, raw_len, what), what)
    require(segment["packs"], f"{what}: it is empty")
    for pack in segment["packs"]:
        right = len(pack["pack_id"]) == 32 and pack["kind"] in (DATA, TREE) and pack["directory"]
        require(right, f"{what}: a pack is wrong")
        frames_end = 80 + sum(frame["sealed_len"] for frame in pack["directory"]["frames"])
        longest = min(256 * MIB, frames_end + 24 + 64 * MIB)
        require(frames_end + 24 <= pack["len"] <= longest, f"{what}: a pack's length is wrong")
        check_directory(pack["directory"], frames_end, what)
    return segment


# ---- 8. Trees ------------------------------------------------------------------------------------------------------


def check_page(page, what):
    require(page["level"] <= 8 and bool(page["entries"]) == (page["level"] == 0), f"{what}: it is not a page")
    require(bool(page["children"]) == (page["level"] > 0), f"{what}: it is not a page")
    names = [entry["name"] for entry in page["entries"]] or [child["first"] for child in page["children"]]
    require(all(a < b for a, b in pairwise(names)), f"{what}: names are out of order")
    for name in names:
        legal = 1 <= len(name) <= 4095 and name not in (b".", b"..") and not set(name) & {0, 0x2F}
        require(legal, f"{what}: an impossible name")
    require(all(len(child["id"]) == 32 for child in page["children"]), f"{what}: a child without id")
    for entry in page["entries"]:
        check_entry(entry, what)
    return names


def check_child(parent, index, level, first, last, what):
    """Checks a page against the page above it; `last` is a name on it or below it."""
    promised = [child["first"] for child in parent["children"]]
    fits = level == parent["level"] - 1 and first == promised[index]
    fits &= index + 1 == len(promised) or last < promised[index + 1]
    require(fits, f"{what}: it is not what its parent promises")


def check_entry(entry, what):
    """Everything but the name."""
    kind = entry["kind"]
    require(kind in KINDS and entry["mode"] <= 0o7777, f"{what}: an unknown kind or mode")
    require(not entry["flags"] & ~0x800070, f"{what}: unknown flags")
    require(entry["mtime_ns"] < 10**9 and entry["ctime_ns"] < 10**9, f"{what}: an impossible time")
    require(entry["content"] is None or kind == 1, f"{what}: content in what is no file")
    if entry["content"]:
        check_list(entry["content"], what)
        covered = sum(entry["content"]["lens"]) + sum(hole["len"] for hole in entry["content"]["holes"])
        require(covered <= entry["size"], f"{what}: content beyond the size")
        if entry["content"]["level"] == 0:
            for _ in file_parts(entry["content"], 0, None, what):
                pass
    require(not entry["page"] or (kind == 2 and len(entry["page"]) == 32), f"{what}: a page in what is no folder")
    require(bool(entry["link_target"]) == (kind == 3), f"{what}: a link without target, or a target without link")
    require(0 not in entry["link_target"], f"{what}: a target with a zero byte")
    attributes = [xattr["name"] for xattr in entry["xattrs"]]
    require(all(a < b for a, b in pairwise([b"", *attributes])), f"{what}: attributes out of order or without name")
    require(all(0 not in name for name in attributes), f"{what}: an attribute with a zero byte in its name")


def check_list(content, what):
    """What holds for every content list, whatever is below it."""
    lens, holes = content["lens"], content["holes"]
    require(content["level"] <= 8 and max(len(lens), len(holes)) <= 4096, f"{what}: too many levels, ids or holes")
    require(len(content["ids"]) == 32 * len(lens), f"{what}: ids and lengths do not pair up")
    require(lens or holes, f"{what}: it covers nothing")
    require(not holes or content["level"] == 0, f"{what}: holes above level 0")
    require(all(lens) and all(hole["len"] for hole in holes), f"{what}: a part of no length")
    longest = 4 * MIB if content["level"] == 0 else 2**64 - 1
    require(max(lens, default=0) <= longest, f"{what}: a chunk of an impossible length")
    require(sum(lens) + sum(hole["len"] for hole in holes) < 2**64, f"{what}: it covers more than a file can have")


def file_parts(content, base, read_list, what):
    """The file's chunks and holes in order: (offset, length, chunk id or None)."""
    check_list(content, what)
    at, holes = base, list(reversed(content["holes"]))

    def skip_holes():
        nonlocal at
        while holes and holes[-1]["offset"] == at:
            hole = holes.pop()
            yield at, hole["len"], None
            at += hole["len"]

    for number, length in enumerate(content["lens"]):
        require(at + length < 2**64, f"{what}: it covers more than a file can have")
        yield from skip_holes()
        chunk_id = content["ids"][32 * number : 32 * number + 32]
        if content["level"] == 0:
            require(length <= 4 * MIB, f"{what}: a chunk of an impossible length")
            yield at, length, chunk_id
        else:
            data = read_list(chunk_id)
            require(len(data) <= MIB, f"{what}: a content list is too long")
            below = message(proto.CONTENT, data, what)
            require(below["level"] == content["level"] - 1, f"{what}: a content list of the wrong level")
            end = at
            for part in file_parts(below, at, read_list, what):
                end = part[0] + part[1]
                yield part
            require(end == at + length, f"{what}: a content list covers something else")
        at += length
    yield from skip_holes()
    require(not holes, f"{what}: a hole out of place")


# ---- 10. Descriptor ------------------------------------------------------------------------------------------------


# The members of each object, in order. The tenant may be absent.
DESCRIPTOR = "format vault_id operator_key created regions tenant soft_delete_days features signature".split()
WRITE_FEATURES = {"condemn"}


def open_descriptor(data):
    """The operator's public key, the vault's id, and whether a program that knows format 1 may write to the vault."""
    what = "lockstone.json"
    try:
        fields = json.loads(data)
        if fields["format"] > 1:
            raise Refused(f"{what}: format {fields['format']} is newer than this reader")
        lines = [(name, fields[name]) for name in ("format", "vault_id", "operator_key", "created")]
        for region in fields["regions"]:
            lines += [("region", region["name"]), ("url", region["url"])]
        lines += [("tenant", fields.get("tenant", "")), ("soft_delete_days", fields["soft_delete_days"])]
        features = fields["features"]
        lines += [("read-feature", word) for word in features["read"]]
        lines += [("write-feature", word) for word in features["write"]]
        values = [(name, str(value).encode()) for name, value in lines]
        said = b"".join(b"%s=%d:%s\n" % (name.encode(), len(value), value) for name, value in values)
        operator, signature = bytes.fromhex(fields["operator_key"]), bytes.fromhex(fields["signature"])
        vault_id, text = bytes.fromhex(fields["vault_id"]), json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
        canonical = text.encode() == data and all(type(value) is str for name, value in lines if name not in NUMBERS)
        lower = (vault_id.hex(), operator.hex(), signature.hex())
        canonical &= lower == (fields["vault_id"], fields["operator_key"], fields["signature"])
        canonical &= list(fields) == [name for name in DESCRIPTOR if name != "tenant" or fields.get("tenant")]
        canonical &= all(list(region) == ["name", "url"] for region in fields["regions"])
        canonical &= list(features) == ["read", "write"] and all(type(words) is list for words in features.values())
        canonical &= (fields["format"], type(fields["format"]), type(fields["soft_delete_days"])) == (1, int, int)
        canonical &= 0 <= fields["soft_delete_days"] < 2**32 and is_time(fields["created"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{what}: {error!r}") from None
    verify(operator, signature, b"lockstone v1 descriptor\0" + said, what)
    require(canonical and len(vault_id) == 16, f"{what}: it is not written as the format wants it")
    if features["read"]:
        raise Refused(f"{what} needs {features['read'][0]}, which this reader does not know")
    return operator, vault_id, set(features["write"]) <= WRITE_FEATURES


NUMBERS = ("format", "soft_delete_days")


def is_time(text):
    """Whether it is a time of RFC 3339 in UTC, with a fraction of a second only where that is not zero."""
    fits = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{0,8}[1-9])?Z", text, re.ASCII)
    return bool(fits) and bool(datetime.fromisoformat(fits[1]))


# ---- 11. Registrations and credentials -----------------------------------------------------------------------------


def open_admission(signed, operator, what):
    """What the operator admitted."""
    admitted = signed["admission"]
    verify(operator, signed["signature"], b"lockstone v1 admission\0" + admitted, what)
    admission = message(proto.ADMISSION, admitted, what)
    ids = (len(admission["vault_id"]), len(admission["credential_id"]))
    known = (admission["version"], *ids) == (1, 16, 16) and admission["region"] in (1, 2)
    require(known, f"{what}: an unknown version or region, or an id of another length")
    require(is_tenant(admission["tenant"]), f"{what}: an impossible tenant")
    version = re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", admission["least_version"], re.ASCII)
    require(version, f"{what}: an impossible version")
    return admission


def in_time(admission, seconds):
    return admission["issued_s"] - 300 <= seconds < admission["expires_s"]


def open_registration(data, operator, vault_id, server_id, domain):
    """The signing key and the name of a server that is registered in the domain, and the id of its credentials."""
    what = f"registration of server {server_id.hex()}"
    signed = message(proto.SIGNED_REGISTRATION, data, what)
    require(signed["admission"], f"{what}: nobody admitted it")
    admission = open_admission(signed["admission"], operator, what)
    registration = message(proto.REGISTRATION, signed["registration"], what)
    said = b"lockstone v1 registration\0" + signed["registration"]
    verify(admission["admission_key"], signed["admission_signature"], said, what)
    verify(registration["signing_key"], signed["server_signature"], said, what)
    name = registration["name"]
    printable = not any(unicodedata.category(letter) == "Cc" for letter in name)
    require(1 <= len(name.encode()) <= 255 and printable, f"{what}: an impossible name")
    require(len(registration["machine"]) in (0, 16), f"{what}: a machine's name of another length")
    for record in (admission, registration):
        require(record["version"] == 1 and record["vault_id"] == vault_id, f"{what}: it is another vault's")
    require(in_time(admission, registration["registered_s"]), f"{what}: it was made outside the admission's time")
    fits = (registration["server_id"], registration["domain_id"], admission["region"]) == (server_id, domain, 1)
    require(fits, f"{what}: it is another server's or domain's")
    return registration["signing_key"], registration["name"], admission["credential_id"]


def is_tenant(text):
    return len(text.encode()) <= 255 and not any(unicodedata.category(letter) == "Cc" for letter in text)


# The seconds of the years -9999 to 9999, with a day of room for time zones at both ends.
TIMES = range(-377705023201, 253402207201)
# By kind of order: the fields that it uses beside those that every order has.
ORDER_FIELDS = {
    1: {"server_id", "domain_id", "last_entry"},
    2: {"credential_id", "servers"},
    3: {"tenant"},
}
ORDER_HEAD = {"version", "vault_id", "number", "time_s", "kind", "reason"}


def open_order(data, operator, vault_id, number):
    """What the operator ordered, at `orders/<number>`."""
    what = f"order {number}"
    signed = message(proto.SIGNED_ORDER, data, what)
    verify(operator, signed["signature"], b"lockstone v1 order\0" + signed["order"], what)
    try:
        version, kind = proto.look(signed["order"], 1, 0), proto.look(signed["order"], 5, 0)
    except proto.Malformed as error:
        raise Damaged(f"{what}: {error}") from None
    if version > 1:
        raise Refused(f"{what}: its version {version} is newer than this reader")
    order = message(proto.ORDER, signed["order"], what)
    require(version == 1, f"{what}: an impossible version")
    fits = (order["vault_id"], order["number"]) == (vault_id, number)
    require(fits and order["time_s"] in TIMES, f"{what}: it belongs elsewhere, or its time is impossible")
    require(len(order["reason"].encode()) <= 1024, f"{what}: its reason is too long")
    require(kind != 0, f"{what}: it has no kind")
    if kind not in ORDER_FIELDS:
        raise Refused(f"{what}: its kind {kind} is newer than this reader")
    foreign = [name for name, value in order.items() if value and name not in ORDER_FIELDS[kind] | ORDER_HEAD]
    require(not foreign, f"{what}: it has {foreign}, which its kind has no use for")
    for name in ("server_id", "domain_id", "credential_id"):
        require(name not in ORDER_FIELDS[kind] or len(order[name]) == 16, f"{what}: {name} of another length")
    require(all(len(server) == 16 for server in order["servers"]), f"{what}: a server's id of another length")
    require(is_tenant(order["tenant"]), f"{what}: an impossible tenant")
    return order


class Orders:
    """Section 11: what the operator ordered, and which entries of a log count."""

    def __init__(self, orders):
        self.ended, self.credentials, self.tenant = {}, {}, None
        for order in orders:
            if order["kind"] == 1:
                which = (order["server_id"], order["domain_id"])
                self.ended[which] = min(order["last_entry"], self.ended.get(which, 2**64))
            elif order["kind"] == 2:
                self.credentials.setdefault(order["credential_id"], order["servers"])
            else:
                self.tenant = order["tenant"]

    def counts(self, server_id, domain, credentials, n):
        """Whether an entry of the server, which was admitted by these credentials, counts at position n."""
        if server_id not in self.credentials.get(credentials, [server_id]):
            return False
        return n <= self.ended.get((server_id, domain), n)


def open_credentials(data):
    """The operator's public key and the admission of a credentials file."""
    what, label = "credentials", "LOCKSTONE VAULT CREDENTIALS"
    lines = [line.strip() for line in data.decode().splitlines()]
    begin, end = f"-----BEGIN {label}-----", f"-----END {label}-----"
    require(begin in lines and end in lines[lines.index(begin) :], f"{what}: it has no line that begins or ends it")
    start = lines.index(begin) + 1
    try:
        encoded = base64.b64decode("".join(lines[start : lines.index(end, start)]), validate=True)
    except ValueError as error:
        raise Damaged(f"{what}: {error}") from None
    record = message(proto.CREDENTIALS, encoded, what)
    require(record["admission"] and len(record["operator_key"]) == 32, f"{what}: nobody admitted them")
    admission = open_admission(record["admission"], record["operator_key"], what)
    require(len(record["admission_secret"]) == 32, f"{what}: a secret of another length")
    secret = Ed25519PrivateKey.from_private_bytes(record["admission_secret"])
    require(secret.public_key().public_bytes_raw() == admission["admission_key"], f"{what}: the secret of another key")
    return record["operator_key"], admission


# ---- 12. Job records -----------------------------------------------------------------------------------------------


def open_job_record(data, vault_id, operator, author, server_key, job_id, number):
    """The record in the object jobs/<author>/<job>/<number>. Credentials have no server's key."""
    what = f"record {number} of job {job_id.hex()}"
    signed = message(proto.SIGNED_JOB_RECORD, data, what)
    record = message(proto.JOB_RECORD, signed["record"], what)
    key = server_key
    if server_key is None:
        admission = open_admission(message(proto.SIGNED_ADMISSION, signed["admission"], what), operator, what)
        key, ids = admission["admission_key"], (admission["vault_id"], admission["credential_id"])
        require(ids == (vault_id, author), f"{what}: other credentials admitted it")
        require(in_time(admission, record["started_s"]), f"{what}: it began outside the admission's time")
        require(len(record["server_id"]) == 16 and record["credential_id"] == author, f"{what}: it belongs elsewhere")
    else:
        bare = record["server_id"] == author and not record["credential_id"] and not signed["admission"]
        require(bare, f"{what}: it belongs elsewhere")
    verify(key, signed["signature"], b"lockstone v1 job\0" + signed["record"], what)
    found = tuple(record[name] for name in ("version", "vault_id", "job_id", "number"))
    require(found == (1, vault_id, job_id, number), f"{what}: it belongs elsewhere")
    require(record["kind"] in (1, 2, 3, 4) and record["state"] <= 6, f"{what}: an unknown kind or state")
    require(len(record["point_id"]) in (0, 16), f"{what}: a point of another length")
    times = (record["started_s"], record["ended_s"])
    require(all(time in TIMES for time in times), f"{what}: an impossible time")
    return record
