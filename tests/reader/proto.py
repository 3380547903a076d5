"""The messages of vault format 1 (docs/format.md) and just enough Protocol Buffers to decode them.

A schema maps field numbers to (name, type): "u" unsigned or enum, "s" zigzag, "b" bytes, "t" text, a schema for a
message; in a list, the field is repeated.
"""


class Malformed(Exception):
    pass


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("a number is cut off or too long")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7


def encode_varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def scalar(kind, value):
    return (value >> 1) ^ -(value & 1) if kind == "s" else value


def decode(schema, data):
    """A dict with every field of the schema; absent fields have their default value, absent messages are None."""
    out = {}
    for name, kind in schema.values():
        if isinstance(kind, list):
            out[name] = []
        else:
            out[name] = {"u": 0, "s": 0, "b": b"", "t": ""}.get(kind) if isinstance(kind, str) else None
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 2:
            length, at = varint(data, at)
            if length > len(data) - at:
                raise Malformed("a field is cut off")
            value, at = data[at : at + length], at + length
        elif wire in (1, 5):
            value, at = None, at + (8 if wire == 1 else 4)
        else:
            raise Malformed(f"wire type {wire}")
        if number not in schema:
            continue
        name, kind = schema[number]
        repeated = isinstance(kind, list)
        kind = kind[0] if repeated else kind
        if kind in ("u", "s"):
            if wire == 0:
                values = [scalar(kind, value)]
            elif wire == 2 and repeated:  # packed
                values, inner = [], 0
                while inner < len(value):
                    one, inner = varint(value, inner)
                    values.append(scalar(kind, one))
            else:
                raise Malformed(f"{name} is no number")
        elif wire != 2:
            raise Malformed(f"{name} has no length")
        elif kind == "b":
            values = [bytes(value)]
        elif kind == "t":
            values = [bytes(value).decode()]
        else:
            values = [decode(kind, value)]
        if repeated:
            out[name].extend(values)
        else:
            out[name] = values[-1]
    return out


KEY_SLOT = {
    1: ("version", "u"),
    2: ("slot_id", "b"),
    3: ("domain_id", "b"),
    4: ("kind", "u"),
    5: ("salt", "b"),
    6: ("argon_memory_kib", "u"),
    7: ("argon_passes", "u"),
    8: ("argon_lanes", "u"),
    9: ("created_s", "s"),
    10: ("server_id", "b"),
    11: ("commitment", "b"),
    12: ("sealed_key", "b"),
}
FRAME = {
    1: ("sealed_len", "u"),
    2: ("raw_len", "u"),
    3: ("codec", "u"),
    4: ("chunk_ids", "b"),
    5: ("chunk_lens", ["u"]),
}
PACK_DIRECTORY = {1: ("frames", [FRAME])}
PACK_ENTRY = {1: ("pack_id", "b"), 2: ("kind", "u"), 3: ("len", "u"), 4: ("directory", PACK_DIRECTORY)}
SEGMENT = {1: ("packs", [PACK_ENTRY])}
XATTR = {1: ("name", "b"), 2: ("value", "b")}
HOLE = {1: ("offset", "u"), 2: ("len", "u")}
CONTENT = {1: ("level", "u"), 2: ("ids", "b"), 3: ("lens", ["u"]), 4: ("holes", [HOLE])}
ENTRY = {
    1: ("name", "b"),
    2: ("kind", "u"),
    3: ("mode", "u"),
    4: ("uid", "u"),
    5: ("gid", "u"),
    6: ("user", "b"),
    7: ("group", "b"),
    8: ("mtime_s", "s"),
    9: ("mtime_ns", "u"),
    10: ("ctime_s", "s"),
    11: ("ctime_ns", "u"),
    12: ("inode", "u"),
    13: ("device", "u"),
    14: ("links", "u"),
    15: ("size", "u"),
    16: ("flags", "u"),
    17: ("xattrs", [XATTR]),
    18: ("link_target", "b"),
    19: ("rdev_major", "u"),
    20: ("rdev_minor", "u"),
    21: ("content", CONTENT),
    22: ("page", "b"),
    23: ("implied", "u"),
    24: ("unsettled", "u"),
}
PAGE_REF = {1: ("id", "b"), 2: ("first", "b")}
PAGE = {1: ("level", "u"), 2: ("entries", [ENTRY]), 3: ("children", [PAGE_REF])}
SIGNED_ENTRY = {1: ("record", "b"), 2: ("signature", "b")}
POINT_SUMMARY = {
    1: ("point_id", "b"),
    2: ("started_s", "s"),
    3: ("started_ns", "u"),
    4: ("status", "u"),
    5: ("consistency", "u"),
    6: ("files", "u"),
    7: ("folders", "u"),
    8: ("bytes", "u"),
    9: ("stored_bytes", "u"),
    10: ("tags", ["t"]),
    11: ("expires_s", "s"),
    12: ("label", "t"),
}
LOG_RECORD = {
    1: ("version", "u"),
    2: ("domain_id", "b"),
    3: ("n", "u"),
    4: ("previous", "b"),
    5: ("time_s", "s"),
    6: ("time_ns", "u"),
    7: ("server_id", "b"),
    8: ("nonce", "b"),
    9: ("kind", "u"),
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
REPACK_BODY = {1: ("old_pack_ids", ["b"]), 2: ("segment_ids", ["b"])}
ADMISSION = {
    1: ("version", "u"),
    2: ("vault_id", "b"),
    3: ("credential_id", "b"),
    4: ("admission_key", "b"),
    5: ("region", "u"),
    6: ("issued_s", "s"),
    7: ("expires_s", "s"),
}
SIGNED_ADMISSION = {1: ("admission", "b"), 2: ("signature", "b")}
REGISTRATION = {
    1: ("version", "u"),
    2: ("vault_id", "b"),
    3: ("server_id", "b"),
    4: ("name", "t"),
    5: ("domain_id", "b"),
    6: ("signing_key", "b"),
    7: ("registered_s", "s"),
}
SIGNED_REGISTRATION = {
    1: ("registration", "b"),
    2: ("admission", SIGNED_ADMISSION),
    3: ("admission_signature", "b"),
    4: ("server_signature", "b"),
}
