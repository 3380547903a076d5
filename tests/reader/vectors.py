"""Checks docs/vectors.json against core.py: every step of docs/format.md from the keys to a page.

Then docs/cases.json beside it: what a reader must accept, and what it must refuse.
"""

import json
from pathlib import Path

import proto
from blake3 import blake3
from core import DATA, MIB, TREE, Damaged, Keys, Pack, Refused, check_directory, check_list, check_pack_header
from core import (
    check_child,
    check_page,
    file_parts,
    keyed,
    message,
    open_credentials,
    open_descriptor,
    open_job_record,
    open_order,
    open_registration,
    open_segment,
    open_slot,
)
from core import padme, read_recovery_key, require, u32, unzstd
from log import LOG_BODIES, Log, open_log_entry

# By kind of the slot.
READ_SECRET = {1: str.encode, 2: bytes.fromhex, 3: read_recovery_key}


def check(path):
    vectors = json.loads(Path(path).read_text())
    count = 0

    def same(found, wanted, what):
        nonlocal count
        assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"
        count += 1

    def raw(text):
        return bytes.fromhex(text)

    same(vectors["format"], 1, "format")
    master, domain = raw(vectors["master_key"]), raw(vectors["domain_id"])
    keys = Keys(master, domain)
    for name, value in vectors["subkeys"].items():
        same(keys.sub[name].hex(), value, f"subkey {name}")
    table = keyed(keys.sub["chunker_table"], b"gear table", 2048)
    gear = [f"{int.from_bytes(table[at : at + 8], 'little'):016x}" for at in range(0, 2048, 8)]
    same(gear[:4] + gear[255:], vectors["gear_table"]["first"] + [vectors["gear_table"]["last"]], "gear table")
    same(blake3(table).hexdigest(), vectors["gear_table"]["blake3"], "gear table")
    for chunk in vectors["chunk_ids"]:
        same(keys.chunk_id(DATA, raw(chunk["raw"])).hex(), chunk["data"], "data chunk id")
        same(keys.chunk_id(TREE, raw(chunk["raw"])).hex(), chunk["tree"], "tree chunk id")
    for length, padded in vectors["padme"]:
        same(padme(length), padded, f"padme {length}")

    slots = vectors["slots"]
    for kind, name in enumerate(["passphrase", "machine", "recovery"], 1):
        data = raw(slots[name]["object"])
        slot = message(proto.KEY_SLOT, data[:-32], name)
        secret = READ_SECRET[kind](slots[name]["secret"])
        same(open_slot(data, slot["slot_id"].hex(), domain, {kind: secret}), master, f"{name} slot")
        same(open_slot(data, slot["slot_id"].hex(), domain, {kind: bytes(32)}), None, f"{name} slot, wrong secret")

    pack, data = vectors["pack"], raw(vectors["pack"]["object"])
    reader = Pack(keys, raw(pack["id"]), pack["kind"])
    same((reader.key.hex(), reader.commitment.hex()), (pack["key"], pack["commitment"]), "pack key")
    check_pack_header(data[:80], pack["kind"], reader.id, reader.commitment, "pack")
    same(padme(len(data)), len(data), "pack length")
    frames_end = len(data) - 4 - int.from_bytes(data[-4:], "little")
    same(frames_end, pack["frames_end"], "where the frames end")
    directory = reader.open_directory(data[frames_end:-4], frames_end)
    same(directory, message(proto.PACK_DIRECTORY, raw(pack["directory"]), "directory"), "directory")
    at = 80
    for ordinal, (frame, shown) in enumerate(zip(directory["frames"], pack["frames"], strict=True)):
        sealed, at = data[at : at + frame["sealed_len"]], at + frame["sealed_len"]
        same(sealed.hex(), shown["sealed"], f"frame {ordinal}")
        chunks = reader.open_frame(ordinal, frame, sealed)
        same(b"".join(chunks.values()).hex(), shown["raw"], f"frame {ordinal}, opened")
        same([key.hex() for key in chunks], [chunk["id"] for chunk in shown["chunks"]], f"frame {ordinal}, ids")
        if shown["codec"] == 1:
            same(unzstd(raw(shown["payload"]), frame["raw_len"], "payload").hex(), shown["raw"], "payload")

    segment = vectors["segment"]
    segment_key = keys.object_key("segment", raw(segment["id"]))
    same((segment_key[0].hex(), segment_key[1].hex()), (segment["key"], segment["commitment"]), "segment key")
    opened = open_segment(keys, raw(segment["id"]), raw(segment["object"]))
    same(opened, message(proto.SEGMENT, raw(segment["raw"]), "segment"), "segment")
    same(opened["packs"][0]["directory"], directory, "the segment's directory")
    check_directory(opened["packs"][0]["directory"], frames_end, "segment")

    page_raw = raw(vectors["page"]["raw"])
    same(keys.chunk_id(TREE, page_raw).hex(), vectors["page"]["id"], "page id")
    page = message(proto.PAGE, page_raw, "page")
    same([name.hex() for name in check_page(page, "page")], vectors["page"]["names"], "page names")
    file = page["entries"][0]
    parts = [(offset, length, bool(chunk)) for offset, length, chunk in file_parts(file["content"], 0, None, "file")]
    wanted = [(0, 5000, True), (5000, 4096, False), (9096, 13, True), (9109, 300, True), (9409, 591, False)]
    same(parts, wanted, "a file's parts")
    same((file["mode"], file["mtime_s"], file["mtime_ns"]), (0o4755, -2, 999999999), "a file's mode and time")
    for end in vectors["page_ends"]:
        hashed = keyed(keys.sub["page_ends"], u32(end["level"]) + end["name"].encode())
        same(int.from_bytes(hashed[:4], "little"), end["end"], "page end")

    entry = vectors["log_entry"]
    data = raw(entry["object"])
    record, body = open_log_entry(keys, entry["n"], bytes(32), data, lambda server: raw(entry["server_key"]))
    same(keys.log_body_key(entry["n"], record["nonce"]).hex(), entry["body_key"], "log body key")
    same(body, message(proto.COMMIT_BODY, raw(entry["body"]), "body"), "log body")
    same(blake3(data).hexdigest(), entry["hash"], "hash of a log entry")
    who = vectors["registration"]
    found = open_registration(
        raw(who["object"]), raw(who["operator_key"]), raw(who["vault_id"]), raw(who["server_id"]), domain
    )
    same(found[:2], (raw(entry["server_key"]), who["name"]), "registration")

    top = message(proto.CONTENT, raw(vectors["content"]["top"]), "content")
    same((top["level"], sum(top["lens"])), (1, 5000), "nested content")
    same(
        [top["ids"][at : at + 32].hex() for at in range(0, len(top["ids"]), 32)],
        [entry["id"] for entry in vectors["content"]["lists"]],
        "nested content",
    )
    check_nested(keys, top, vectors["content"]["lists"], same)
    print(f"{count} vectors agree")
    check_cases(Path(path).with_name("cases.json"))


def check_cases(path):
    """What must be accepted, and what must be refused."""
    table = json.loads(path.read_text())
    keys = Keys(bytes.fromhex(table["master_key"]), bytes.fromhex(table["domain_id"]))
    wrong = []
    for case in table["cases"]:
        accepted = stops = False
        try:
            check_case(table, keys, case, bytes.fromhex(case["bytes"]))
            accepted = True
        except Damaged:
            pass
        except Refused:
            stops = True
        if (accepted, stops) != (case["accepted"], case.get("stops", False)):
            wrong.append(f"{case['what']}: {case['why']}")
    for log in table["logs"]:
        found = walk(table, keys, log["objects"])
        if any(log[name] != value for name, value in found.items()):
            wrong.append(f"log: {log['why']}: {found}")
    assert not wrong, "\n".join(["decided otherwise:", *wrong])
    files = [blake3(b"lockstone cuts").digest(length=8 * MIB), bytes(5 * MIB)]
    for data, shown in zip(files, table["chunk_cuts"], strict=True):
        assert (len(data), cut(keys, data)) == (shown["size"], shown["lens"]), f"chunk cuts: {shown['data']}"
    print(f"{len(table['cases'])} cases and {len(table['logs'])} logs agree")


def server_keys(table):
    def key(server):
        require(server.hex() == table["server_id"], "a server that is not registered")
        return bytes.fromhex(table["server_key"])

    return key


def walk(table, keys, objects):
    """What this reader makes of a log."""
    there = {n: bytes.fromhex(data) for n, data in enumerate(objects, 1) if data is not None}
    log = Log(keys, there, there.get, server_keys(table))
    are = [what for first, last, what in log.are for _ in range(first, last + 1)]
    return {"are": are, "end": log.end, "link": log.link.hex(), "whole": log.whole}


def check_case(table, keys, case, raw):
    what, ident = case["what"], bytes.fromhex(case.get("id", ""))
    if what == "page":
        require(len(raw) <= MIB, "too long")
        check_page(message(proto.PAGE, raw, what), what)
    elif what == "child":
        child, parent = message(proto.PAGE, raw, what), message(proto.PAGE, bytes.fromhex(case["parent"]), what)
        check_page(parent, what)
        names = check_page(child, what)
        check_child(parent, case["index"], child["level"], names[0], names[-1], what)
    elif what == "content":
        content = message(proto.CONTENT, raw, what)
        check_list(content, what)
        if content["level"] == 0:
            for _ in file_parts(content, case["base"], None, what):
                pass
        covered = sum(content["lens"]) + sum(hole["len"] for hole in content["holes"])
        require((content["level"], covered) == (case["level"], case["len"]), "another list")
    elif what == "zstd":
        unzstd(raw, case["raw_len"], what)
    elif what == "slot":
        open_slot(raw, case["id"], keys.domain, {})
    elif what == "secret":
        secret = READ_SECRET[case["kind"]](case["secret"])
        require(open_slot(raw, case["id"], keys.domain, {case["kind"]: secret}) is not None, "another secret")
    elif what == "pack header":
        check_pack_header(raw, case["kind"], ident, keys.object_key("pack", ident)[1], what)
    elif what == "segment":
        open_segment(keys, ident, raw)
    elif what == "log entry":
        previous = bytes.fromhex(case["previous"])
        record, body = open_log_entry(keys, case["n"], previous, raw, server_keys(table))
        shown = message(LOG_BODIES[record["kind"]], bytes.fromhex(case["body"]), what)
        assert body == shown, f"{what}: {case['why']}"
    elif what == "registration":
        operator, vault, server = (bytes.fromhex(table[name]) for name in ("operator_key", "vault_id", "server_id"))
        open_registration(raw, operator, vault, server, keys.domain)
    elif what == "job record":
        vault, operator, author, key = (
            bytes.fromhex(table[name]) for name in ("vault_id", "operator_key", "server_id", "server_key")
        )
        if "credentials" in case:
            author, key = bytes.fromhex(case["credentials"]), None
        open_job_record(raw, vault, operator, author, key, ident, case["number"])
    elif what == "credentials":
        open_credentials(raw)
    elif what == "order":
        open_order(raw, *(bytes.fromhex(table[name]) for name in ("operator_key", "vault_id")), case["n"])
    elif what == "descriptor":
        assert open_descriptor(raw)[2] == case["writable"], f"{what}: {case['why']}"
    else:
        raise AssertionError(f"cases of {what} are not known")


def cut(keys, data):
    """Where writers cut a file."""
    lens, start = [], 0
    table = keyed(keys.sub["chunker_table"], b"gear table", 2048)
    gear = [int.from_bytes(table[at : at + 8], "little") for at in range(0, 2048, 8)]
    while start < len(data):
        end, hashed = min(len(data), start + 4 * MIB), 0
        for at in range(start + MIB // 4 - 64, end):
            hashed = (hashed << 1) + gear[data[at]] & 2**64 - 1
            if at + 1 - start >= MIB // 4 and hashed >> 44 == 0:
                end = at + 1
                break
        lens.append(end - start)
        start = end
    return lens


def check_nested(keys, top, lists, same):
    """Makes the lists again by their rule: chunk n is the data chunk of n as u32."""
    at = 0
    for length, shown in zip(top["lens"], lists, strict=True):
        ids = b"".join(keys.chunk_id(DATA, u32(n)) for n in range(at, at + length))
        encoded = b"\x12" + proto.encode_varint(len(ids)) + ids
        encoded += b"\x1a" + proto.encode_varint(length) + b"\x01" * length
        same((keys.chunk_id(TREE, encoded).hex(), len(encoded)), (shown["id"], shown["len"]), "a content list")
        at += length
