"""The messages of vault format 1 (docs/format.md) and just enough Protocol Buffers to decode them.

A schema maps field numbers to (name, type): "w" uint32 or enum, "u" uint64, "f" a bool, "s" zigzag, "b" bytes,
"t" text, a schema for a message; in a list, the field is repeated.
"""


class Malformed(Exception):
    pass


def varint(data, at):
    value, start = 0, at
    while True:
        if at >= len(data) or at - start > 9:
            raise Malformed("a number is cut off or too long")
        byte = data[at]
        value |= (byte & 0x7F) << 7 * (at - start)
        at += 1
        if byte < 0x80:
            break
    if value >= 2**64 or (byte == 0 and at - start > 1):
        raise Malformed("a number is not written in the shortest way, or too large")
    return value, at


def encode_varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def scalar(kind, value):
    if value > LARGEST[kind]:
        raise Malformed("a number is too large for its field")
    return (value >> 1) ^ -(value & 1) if kind == "s" else value


def field(data, at):
    """The number, the wire type and the value of the next field, and where it ends."""
    key, at = varint(data, at)
    wire = key & 7
    if wire == 0:
        value, at = varint(data, at)
        return key >> 3, wire, value, at
    if wire == 2:
        length, at = varint(data, at)
    elif wire in (1, 5):
        length = 8 if wire == 1 else 4
    else:
        raise Malformed(f"wire type {wire}")
    if length > len(data) - at:
        raise Malformed("a field is cut off")
    return key >> 3, wire, bytes(data[at : at + length]), at + length


def look(data, number, default):
    """The value of a field of a message that may have fields that this reader does not know."""
    at = 0
    while at < len(data):
        found, _, value, at = field(data, at)
        if found == number and type(value) is type(default):
            default = value
    return default


def packed(kind, value):
    values, at = [], 0
    while at < len(value):
        one, at = varint(value, at)
        values.append(scalar(kind, one))
    return values


def decode(schema, data):
    """A dict with every field of the schema; absent fields have their default value, absent messages are None.

    Refuses every encoding but the canonical one. Unknown fields from number 128 on are skipped, but not in a message
    that is closed.
    """
    out = {}
    for name, kind in schema.values():
        if isinstance(kind, list):
            out[name] = []
        else:
            out[name] = {"b": b"", "t": "", "f": False}.get(kind, 0) if isinstance(kind, str) else None
    at = last = 0
    while at < len(data):
        number, wire, value, at = field(data, at)
        name, kind = schema.get(number, (None, None))
        repeated = isinstance(kind, list)
        kind = kind[0] if repeated else kind
        numeric = isinstance(kind, str) and kind in LARGEST
        again = number == last and (name is None or (repeated and not numeric))
        if number < last or (number == last and not again):
            raise Malformed("fields are out of order, or one is there twice")
        last = number
        if name is None:
            if number < IGNORABLE_FROM or any(schema is closed for closed in CLOSED):
                raise Malformed(f"it has a field {number} that this reader does not know")
            continue
        if wire != (0 if numeric and not repeated else 2):
            raise Malformed(f"{name} is of another type")
        if not repeated and not isinstance(kind, dict) and not value:
            raise Malformed(f"{name} has its default value written out")
        if repeated and numeric:
            out[name] = packed(kind, value)
            if not value:
                raise Malformed(f"{name} is written though it is empty")
            continue
        if numeric:
            value = scalar(kind, value)
        elif kind == "t":
            value = value.decode()
        elif isinstance(kind, dict):
            value = decode(kind, value)
        if repeated:
            out[name].append(value)
        else:
            out[name] = value
    return out


LARGEST = {"w": 2**32 - 1, "u": 2**64 - 1, "s": 2**64 - 1, "f": 1}
IGNORABLE_FROM = 128

KEY_SLOT = {
    1: ("version", "w"),
    2: ("slot_id", "b"),
    3: ("domain_id", "b"),
    4: ("kind", "w"),
    5: ("salt", "b"),
    6: ("argon_memory_kib", "w"),
    7: ("argon_passes", "w"),
    8: ("argon_lanes", "w"),
    9: ("created_s", "s"),
    10: ("server_id", "b"),
    11: ("commitment", "b"),
    12: ("sealed_key", "b"),
}
FRAME = {
    1: ("sealed_len", "w"),
    2: ("raw_len", "w"),
    3: ("codec", "w"),
    4: ("chunk_ids", "b"),
    5: ("chunk_lens", ["w"]),
}
PACK_DIRECTORY = {1: ("frames", [FRAME])}
PACK_ENTRY = {1: ("pack_id", "b"), 2: ("kind", "w"), 3: ("len", "u"), 4: ("directory", PACK_DIRECTORY)}
SEGMENT = {1: ("packs", [PACK_ENTRY])}
XATTR = {1: ("name", "b"), 2: ("value", "b")}
HOLE = {1: ("offset", "u"), 2: ("len", "u")}
CONTENT = {1: ("level", "w"), 2: ("ids", "b"), 3: ("lens", ["u"]), 4: ("holes", [HOLE])}
ENTRY = {
    1: ("name", "b"),
    2: ("kind", "w"),
    3: ("mode", "w"),
    4: ("uid", "w"),
    5: ("gid", "w"),
    6: ("user", "b"),
    7: ("group", "b"),
    8: ("mtime_s", "s"),
    9: ("mtime_ns", "w"),
    10: ("ctime_s", "s"),
    11: ("ctime_ns", "w"),
    12: ("inode", "u"),
    13: ("device", "u"),
    14: ("links", "u"),
    15: ("size", "u"),
    16: ("flags", "w"),
    17: ("xattrs", [XATTR]),
    18: ("link_target", "b"),
    19: ("rdev_major", "w"),
    20: ("rdev_minor", "w"),
    21: ("content", CONTENT),
    22: ("page", "b"),
    23: ("implied", "f"),
    24: ("unsettled", "f"),
}
PAGE_REF = {1: ("id", "b"), 2: ("first", "b")}
PAGE = {1: ("level", "w"), 2: ("entries", [ENTRY]), 3: ("children", [PAGE_REF])}
SIGNED_ENTRY = {1: ("record", "b"), 2: ("signature", "b")}
POINT_SUMMARY = {
    1: ("point_id", "b"),
    2: ("started_s", "s"),
    3: ("started_ns", "w"),
    4: ("status", "w"),
    5: ("consistency", "w"),
    6: ("files", "u"),
    7: ("folders", "u"),
    8: ("bytes", "u"),
    9: ("stored_bytes", "u"),
    10: ("tags", ["t"]),
    11: ("expires_s", "s"),
    12: ("label", "t"),
}
LOG_RECORD = {
    1: ("version", "w"),
    2: ("domain_id", "b"),
    3: ("n", "u"),
    4: ("previous", "b"),
    5: ("time_s", "s"),
    6: ("time_ns", "w"),
    7: ("server_id", "b"),
    8: ("nonce", "b"),
    9: ("kind", "w"),
    10: ("point", POINT_SUMMARY),
    11: ("points", ["b"]),
    12: ("needs", ["t"]),
    13: ("sealed", "b"),
}
SEGMENTS_BODY = {1: ("segment_ids", ["b"])}
COMMIT_BODY = {
    1: ("segment_ids", ["b"]),
    2: ("root", "b"),
    3: ("sources", ["b"]),
    4: ("index_position", "u"),
    5: ("parents", ["b"]),
    6: ("warnings", "u"),
    7: ("root_folder", ENTRY),
}
CONDEMN_BODY = {1: ("pack_ids", ["b"]), 2: ("delete_after_s", "s")}
FORGET_BODY = {1: ("reason", "w")}
HOLD_BODY = {1: ("reason", "t"), 2: ("until_s", "s")}
REPAIR_BODY = {
    1: ("segment_ids", ["b"]),
    2: ("lost_segment_ids", ["b"]),
    3: ("positions", ["u"]),
    4: ("bad_pack_ids", ["b"]),
    5: ("whole_pack_ids", ["b"]),
    6: ("unneeded_pack_ids", ["b"]),
}
FOLD_POINT = {
    1: ("summary", POINT_SUMMARY),
    2: ("body", COMMIT_BODY),
    3: ("server_id", "b"),
    4: ("forgotten_s", "s"),
    5: ("hold", HOLD_BODY),
    6: ("forget_reason", "w"),
    7: ("forgotten_by", "b"),
}
FOLD_BODY = {
    1: ("through", "u"),
    2: ("segment_ids", ["b"]),
    3: ("points", [FOLD_POINT]),
    4: ("condemned", ["b"]),
}
REPACK_BODY = {1: ("old_pack_ids", ["b"]), 2: ("segment_ids", ["b"]), 3: ("delete_after_s", "s")}
ADMISSION = {
    1: ("version", "w"),
    2: ("vault_id", "b"),
    3: ("credential_id", "b"),
    4: ("admission_key", "b"),
    5: ("region", "w"),
    6: ("issued_s", "s"),
    7: ("expires_s", "s"),
    8: ("tenant", "t"),
    9: ("least_version", "t"),
}
SIGNED_ADMISSION = {1: ("admission", "b"), 2: ("signature", "b")}
REGISTRATION = {
    1: ("version", "w"),
    2: ("vault_id", "b"),
    3: ("server_id", "b"),
    4: ("name", "t"),
    5: ("domain_id", "b"),
    6: ("signing_key", "b"),
    7: ("registered_s", "s"),
    8: ("machine", "b"),
}
SIGNED_REGISTRATION = {
    1: ("registration", "b"),
    2: ("admission", SIGNED_ADMISSION),
    3: ("admission_signature", "b"),
    4: ("server_signature", "b"),
}
CREDENTIALS = {
    1: ("url", "t"),
    2: ("operator_key", "b"),
    3: ("admission", SIGNED_ADMISSION),
    4: ("admission_secret", "b"),
    5: ("secondary_url", "t"),
}
JOB_RECORD = {
    1: ("version", "w"),
    2: ("vault_id", "b"),
    3: ("server_id", "b"),
    4: ("job_id", "b"),
    5: ("number", "w"),
    6: ("kind", "w"),
    7: ("state", "w"),
    8: ("started_s", "s"),
    9: ("ended_s", "s"),
    10: ("files", "u"),
    11: ("bytes", "u"),
    12: ("stored_bytes", "u"),
    13: ("warnings", "u"),
    14: ("restarts", "w"),
    15: ("point_id", "b"),
    16: ("error_code", "t"),
    17: ("credential_id", "b"),
}
SIGNED_JOB_RECORD = {1: ("record", "b"), 2: ("signature", "b"), 3: ("admission", "b")}
ORDER = {
    1: ("version", "w"),
    2: ("vault_id", "b"),
    3: ("number", "u"),
    4: ("time_s", "s"),
    5: ("kind", "w"),
    6: ("reason", "t"),
    7: ("server_id", "b"),
    8: ("domain_id", "b"),
    9: ("last_entry", "u"),
    10: ("credential_id", "b"),
    11: ("servers", ["b"]),
    12: ("tenant", "t"),
}
SIGNED_ORDER = {1: ("order", "b"), 2: ("signature", "b")}
# Messages without room for other fields.
CLOSED = [
    KEY_SLOT,
    SIGNED_ENTRY,
    LOG_RECORD,
    POINT_SUMMARY,
    ADMISSION,
    SIGNED_ADMISSION,
    REGISTRATION,
    SIGNED_REGISTRATION,
    CREDENTIALS,
    JOB_RECORD,
    SIGNED_JOB_RECORD,
    ORDER,
    SIGNED_ORDER,
]
