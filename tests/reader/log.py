"""Section 9 of docs/format.md: the log."""

from blake3 import blake3

import proto
from core import TIMES, Damaged, Refused, check_entry, message, require, unseal, verify

LOG_BODIES = {
    1: proto.SEGMENTS_BODY,
    2: proto.COMMIT_BODY,
    3: proto.FORGET_BODY,
    4: {},
    5: proto.CONDEMN_BODY,
    6: proto.REPACK_BODY,
    7: proto.FOLD_BODY,
    8: proto.HOLD_BODY,
    9: {},
    10: proto.REPAIR_BODY,
}
# By kind: whether the record has a point, and whether it has points (None: it may have some).
LOG_NAMES = {
    1: (0, 0),
    2: (1, 0),
    3: (0, 1),
    4: (0, 1),
    5: (0, None),
    6: (0, 0),
    7: (0, 0),
    8: (0, 1),
    9: (0, 1),
    10: (0, None),
}


def open_log_entry(keys, n, previous, data, server_key):
    """The record and the opened body. `server_key` gives the signing key of a registered server.

    Without `previous`, what the entry names as the one before it is not looked at.
    """
    what = f"log entry {n}"
    require(len(data) <= 16 << 20, f"{what}: it is too long")
    signed = message(proto.SIGNED_ENTRY, data, what)
    # Which version it has, and who signed it, can be read from records of any version.
    try:
        version, server = proto.look(signed["record"], 1, 0), proto.look(signed["record"], 7, b"")
    except proto.Malformed as error:
        raise Damaged(f"{what}: {error}") from None
    verify(server_key(server), signed["signature"], b"lockstone v1 log entry\0" + signed["record"], what)
    if version > 1:
        raise Refused(f"{what}: its version {version} is newer than this reader")
    record = message(proto.LOG_RECORD, signed["record"], what)
    fits = (record["version"], record["domain_id"], record["n"]) == (1, keys.domain, n)
    require(fits and len(record["nonce"]) == 16 and record["kind"] in LOG_BODIES, f"{what}: a field is wrong")
    require(len(record["previous"]) == 32 and len(record["needs"]) <= 64, f"{what}: a field is wrong")
    follows = previous is None or record["previous"] in (previous, bytes(32))
    require(follows, f"{what}: it does not follow the entry before it")
    tail = b"\x6a" + proto.encode_varint(len(record["sealed"])) + record["sealed"]
    require(signed["record"].endswith(tail), f"{what}: it is not encoded canonically")
    aad = signed["record"][: -len(tail)]
    has_point, has_points = LOG_NAMES[record["kind"]]
    named = (record["point"] is not None) == has_point and has_points in (None, len(record["points"]) > 0)
    require(named, f"{what}: it names points where its kind has none, or none")
    require(record["time_ns"] < 10**9 and record["time_s"] in TIMES, f"{what}: an impossible time")
    require(all(len(point) == 16 for point in record["points"]), f"{what}: a point's id of another length")
    if record["point"]:
        check_summary(record["point"], what)
    plain = unseal(keys.log_body_key(n, record["nonce"]), 0, aad, record["sealed"], what)
    if record["needs"]:
        raise Refused(f"{what} needs {record['needs'][0]}, which this reader does not know")
    require(plain == b"" or record["kind"] not in (4, 9), f"{what}: its body has fields")
    body = message(LOG_BODIES[record["kind"]], plain, what)
    check_body(record, body, what)
    return record, body


def check_summary(point, what):
    known = point["status"] in (1, 2) and point["consistency"] in (1, 2) and len(point["point_id"]) == 16
    require(known, f"{what}: its point's status, consistency or id")
    in_time = point["started_ns"] < 10**9 and point["started_s"] in TIMES and point["expires_s"] in TIMES
    require(in_time, f"{what}: its point's times")
    require(len(point["tags"]) <= 32, f"{what}: it has too many tags")
    texts = [*point["tags"], point["label"]]
    require(all(len(text.encode()) <= 1024 for text in texts), f"{what}: a tag or label is too long")


LISTED_IDS = [
    ("segment_ids", 32),
    ("pack_ids", 32),
    ("old_pack_ids", 32),
    ("parents", 16),
    ("lost_segment_ids", 32),
    ("bad_pack_ids", 32),
    ("whole_pack_ids", 32),
    ("unneeded_pack_ids", 32),
]


def check_body(record, body, what):
    for name, length in LISTED_IDS:
        ids = body.get(name, [])
        require(all(len(one) == length for one in ids), f"{what}: an id of another length")
        require(len(ids) <= (4096 if name == "parents" else 65536), f"{what}: it lists too much")
    if record["kind"] == 1:
        require(body["segment_ids"], f"{what}: it names no segment")
    elif record["kind"] == 2:
        require(len(body["root"]) in (0, 32) and len(body["sources"]) <= 4096, f"{what}: its root or sources")
        require(body["index_position"] < record["n"], f"{what}: it was read from an entry behind it")
        folder = body["root_folder"]
        if folder is not None:
            placed = folder["name"] or folder["page"] or folder["implied"]
            require(folder["kind"] == 2 and not placed, f"{what}: its root folder")
            check_entry(folder, what)
    elif record["kind"] == 3:
        require(body["reason"] in (0, 1, 2, 3), f"{what}: an unknown reason")
    elif record["kind"] == 8:
        require(1 <= len(body["reason"].encode()) <= 1024, f"{what}: its reason is missing or too long")
        require(body["until_s"] in TIMES, f"{what}: an impossible time")
    elif record["kind"] == 7:
        require(body["through"] < record["n"], f"{what}: it sums up what comes behind it")
    elif record["kind"] == 10:
        require(len(body["positions"]) <= 65536, f"{what}: it lists too much")
        before = all(0 < n < record["n"] for n in body["positions"])
        require(before, f"{what}: it says that what comes behind it is lost")


def void_link(before, data):
    """The link of an object that is no entry; `before` is the link of the position before it."""
    return blake3(b"lockstone v1 void\0" + before + blake3(data).digest()).digest()


class Log:
    """What a reader makes of the objects of a log, which are given by position.

    `are` says of each position that has an object, or that is before such a one, whether it is an "entry", "void",
    "lost" or "beyond" the end. Positions without an object that follow each other are one.
    """

    def __init__(self, keys, positions, read, server_key):
        self.are, self.entries, self.reasons = [], [], []
        self.end, self.link, self.whole = 0, bytes(32), True
        skipped = []
        link, expected = bytes(32), 1
        for n in sorted(positions):
            if n > expected:
                skipped.append((expected, n - 1, None))
                link = None
            expected, data = n + 1, read(n)
            try:
                record, body = open_log_entry(keys, n, None, data, server_key)
            except Damaged as why:
                link = link and void_link(link, data)
                skipped.append((n, n, link))
                self.reasons.append(why)
                continue
            unknown = n > 1 and record["previous"] == bytes(32)
            fits = not skipped if unknown else record["previous"] == link
            self.whole &= fits
            self.are += [(first, last, "void" if fits else "lost") for first, last, _ in skipped]
            self.are.append((n, n, "entry"))
            self.entries.append((record, body))
            link, skipped = blake3(data).digest(), []
            self.end, self.link = n, link
        # Void objects belong to the log up to the first position that has no object.
        for first, last, link in skipped:
            if link and self.end == first - 1:
                self.are.append((first, last, "void"))
                self.end, self.link = last, link
            else:
                self.are.append((first, last, "beyond"))
