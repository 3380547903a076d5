#!/usr/bin/env python3
"""A reader of Lockstone vaults, written from docs/format.md alone; sections below are that page's.

It proves that the page is complete, and gives files back without Lockstone. It reads a vault in a folder and never
writes to it.

    reader.py VAULT --passphrase-file FILE points
    reader.py VAULT --passphrase-file FILE ls POINT
    reader.py VAULT --passphrase-file FILE cat POINT PATH
    reader.py VAULT --passphrase-file FILE restore POINT FOLDER
    reader.py --vectors docs/vectors.json

POINT is an id, a prefix of one, or "latest". Exit codes: 0 done, 5 wrong passphrase, 6 damaged, 1 anything else. Needs
Python 3.11 and, from PyPI, cryptography, argon2-cffi, blake3 and zstandard.
"""

import argparse
import datetime
import os
import sys
from pathlib import Path

import proto
import vectors
from core import DATA, MIB, TREE, Damaged, Keys, Pack, Refused, check_child, check_page, file_parts, message
from core import Orders, open_descriptor, open_order, open_registration, open_segment, open_slot, require
from log import Log

STATUS = {1: "Completed", 2: "CompletedWithWarnings"}
CONSISTENCY = {1: "live", 2: "snapshot"}


class Vault:
    """Sections 2, 10 and 11: the objects, the descriptor, the servers' keys, the operator's orders."""

    def __init__(self, root):
        self.root = Path(root)
        self.operator, self.id, _ = open_descriptor(self.get("lockstone.json", MIB))
        self.orders = Orders(self.read_orders())

    def read_orders(self):
        for name in filter(is_position, self.names("orders")):
            try:
                yield open_order(self.get(f"orders/{name}", MIB), self.operator, self.id, int(name, 16))
            except Damaged as why:
                print(why, file=sys.stderr)

    def get(self, name, limit):
        try:
            with open(self.root / name, "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise Damaged(f"{name} is missing") from None
        require(len(data) <= limit, f"{name} is too long")
        return data

    def get_range(self, name, offset, length):
        try:
            with open(self.root / name, "rb") as file:
                file.seek(offset)
                data = file.read(length)
        except FileNotFoundError:
            raise Damaged(f"{name} is missing") from None
        require(len(data) == length, f"{name} is cut off")
        return data

    def names(self, folder):
        try:
            return sorted(os.listdir(self.root / folder))
        except FileNotFoundError:
            return []

    def server(self, server_id, domain):
        """The signing key, the name and the credentials of a server that is registered in the domain."""
        name = f"servers/{server_id.hex()}/registration"
        return open_registration(self.get(name, MIB), self.operator, self.id, server_id, domain)


def is_position(name):
    return len(name) == 16 and set(name) <= set("0123456789abcdef") and 0 < int(name, 16) < 2**64 - 1


class Domain:
    """Sections 9 and 13: the log of a domain whose master key is known, and what follows from it."""

    def __init__(self, vault, domain_id, master):
        self.vault, self.id, self.folder = vault, domain_id, f"domains/{domain_id.hex()}"
        self.keys = Keys(master, domain_id)
        self.points, self.index, self.servers = [], {}, {}
        self.opened = {}
        segments, condemned, forgotten, known, held = [], set(), set(), set(), set()
        gone, doubtful, lost = set(), set(), set()
        for record, body in self.entries():
            segments += body.get("segment_ids", [])
            server = record["server_id"]
            if not vault.orders.counts(server, domain_id, self.servers[server][2], record["n"]):
                doubtful.update(body.get("segment_ids", []))
                continue
            condemned.update(body.get("pack_ids", []) + body.get("old_pack_ids", []))
            lost.update(body.get("lost_segment_ids", []))
            if record["kind"] == 2:
                summary = record["point"]
                require(summary and len(body["root"]) in (0, 32), f"log entry {record['n']}: a Commit without point")
                if summary["point_id"] not in known:
                    known.add(summary["point_id"])
                    self.points.append({**summary, "server": record["server_id"], "body": body})
            elif record["kind"] == 3:
                forgotten.update(known.intersection(record["points"]) - held)
            elif record["kind"] == 4:
                forgotten.difference_update(set(record["points"]) - gone)
            elif record["kind"] == 5:
                gone.update(forgotten.intersection(record["points"]))
            elif record["kind"] == 8:
                held.update(known.intersection(record["points"]) - forgotten)
            elif record["kind"] == 9:
                held.difference_update(record["points"])
        self.points = [point for point in self.points if point["point_id"] not in gone]
        for point in self.points:
            point["forgotten"], point["held"] = point["point_id"] in forgotten, point["point_id"] in held
        for segment_id in segments:
            require(len(segment_id) == 32, "a segment's id is cut off")
            late = segment_id in doubtful
            try:
                data = vault.get(f"{self.folder}/segments/{segment_id.hex()}", 256 * MIB)
                segment = open_segment(self.keys, segment_id, data)
            except Damaged:
                if late or segment_id in lost:
                    continue
                raise
            for entry in segment["packs"]:
                self.add_pack(entry, late or entry["pack_id"] in condemned)

    def entries(self):
        """The entries of the log; this reader refuses a log that is not whole, or that ends with a damaged object.

        What a Repair says is lost is passed over.
        """
        names = [name for name in self.vault.names(f"{self.folder}/log") if is_position(name)]
        log = Log(self.keys, [int(name, 16) for name in names], self.log_object, self.server_key)
        accounted = {n for _, body in log.entries for n in body.get("positions", [])}
        for first, _, what in log.are:
            require(what != "lost" or first in accounted, f"log entry {first} is damaged or missing")
        require(log.whole or accounted, "an entry of the log does not follow the one before it")
        if log.are and [what for _, _, what in log.are if what != "beyond"][-1:] == ["void"]:
            raise log.reasons[-1]
        return log.entries

    def log_object(self, n):
        return self.vault.get(f"{self.folder}/log/{n:016x}", 16 * MIB)

    def server_key(self, server_id):
        if server_id not in self.servers:
            self.servers[server_id] = self.vault.server(server_id, self.id)
        return self.servers[server_id][0]

    def add_pack(self, entry, condemned):
        """Notes where each chunk lies: packs that are condemned behind all others."""
        offset = 80
        for ordinal, frame in enumerate(entry["directory"]["frames"]):
            place = (entry["pack_id"], entry["kind"], ordinal, frame, offset)
            for at in range(0, len(frame["chunk_ids"]), 32):
                good, bad = self.index.setdefault((entry["kind"], frame["chunk_ids"][at : at + 32]), ([], []))
                (bad if condemned else good).append(place)
            offset += frame["sealed_len"]

    def chunk(self, kind, chunk_id):
        good, bad = self.index.get((kind, chunk_id), ([], []))
        damaged = Damaged(f"chunk {chunk_id.hex()} is not in the index")
        for place in good + bad:
            try:
                return self.chunk_at(chunk_id, *place)
            except Damaged as error:
                damaged = error
        raise damaged

    def chunk_at(self, chunk_id, pack_id, kind, ordinal, frame, offset):
        if (pack_id, ordinal) not in self.opened:
            name = f"{self.folder}/packs/{pack_id.hex()[:2]}/{pack_id.hex()}"
            sealed = self.vault.get_range(name, offset, frame["sealed_len"])
            if len(self.opened) >= 64:
                self.opened.pop(next(iter(self.opened)))
            self.opened[pack_id, ordinal] = Pack(self.keys, pack_id, kind).open_frame(ordinal, frame, sealed)
        return self.opened[pack_id, ordinal][chunk_id]

    def folder_entries(self, page_id, level=None, first=None):
        """A folder's entries in order, from its top page down."""
        what = f"page {page_id.hex()}"
        page = message(proto.PAGE, self.chunk(TREE, page_id), what)
        names = check_page(page, what)
        promised = level in (None, page["level"]) and first in (None, names[0])
        require(promised, f"{what}: it is not what its parent promises")
        yield from page["entries"]
        for index, child in enumerate(page["children"]):
            for entry in self.folder_entries(child["id"], page["level"] - 1, child["first"]):
                check_child(page, index, page["level"] - 1, child["first"], entry["name"], what)
                yield entry

    def walk(self, page_id, prefix=b""):
        """(path, entry) of everything below a folder; each folder comes before its content."""
        if not page_id:
            return
        for entry in self.folder_entries(page_id):
            path = prefix + b"/" + entry["name"]
            yield path, entry
            if entry["kind"] == 2:
                yield from self.walk(entry["page"], path)

    def find(self, point, path):
        page, entry = point["body"]["root"], None
        for name in filter(None, path.split(b"/")):
            found = (entry for entry in self.folder_entries(page) if entry["name"] == name) if page else iter(())
            entry = next(found, None)
            if entry is None:
                raise Refused(f"{os.fsdecode(path)} is not in this point")
            page = entry["page"]
        return entry

    def parts(self, entry):
        """The file's bytes as (offset, bytes). Ranges that are left out are zeros."""
        what = f"file {entry['name']!r}"
        if entry["content"]:
            parts = file_parts(entry["content"], 0, lambda chunk_id: self.chunk(TREE, chunk_id), what)
            for offset, length, chunk_id in parts:
                require(offset + length <= entry["size"], f"{what}: it has content beyond its size")
                if chunk_id:
                    chunk = self.chunk(DATA, chunk_id)
                    require(len(chunk) == length, f"{what}: a chunk of another length")
                    yield offset, chunk


def open_domains(vault, passphrase):
    """Every domain that the passphrase opens."""
    domains, damaged = [], None
    for name in vault.names("domains"):
        domain = bytes.fromhex(name)
        for slot in vault.names(f"domains/{name}/keys"):
            try:
                data = vault.get(f"domains/{name}/keys/{slot}", MIB)
                master = open_slot(data, slot, domain, {1: passphrase})
            except Damaged as error:
                damaged = error
                continue
            if master:
                domains.append(Domain(vault, domain, master))
                break
    if not domains:
        raise damaged or Refused("the passphrase opens no domain of this vault")
    return domains


def choose(domains, wanted):
    points = [(domain, point) for domain in domains for point in domain.points if not point["forgotten"]]
    if wanted == "latest":
        if len({domain.id for domain, _ in points}) > 1:
            raise Refused("the passphrase opens several domains; name the point by its id")
        found = points[-1:]
    else:
        found = [pair for pair in points if pair[1]["point_id"].hex().startswith(wanted)]
    if len(found) != 1:
        raise Refused(f"{len(found)} recovery points are called {wanted}")
    return found[0]


def when(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def show_points(domains):
    for domain in domains:
        for point in domain.points:
            words = [point["point_id"].hex(), when(point["started_s"]), domain.servers[point["server"]][1]]
            words += [STATUS.get(point["status"], "?"), CONSISTENCY.get(point["consistency"], "?")]
            words += [f"{point['files']} files", f"{point['bytes']} bytes"]
            words += [os.fsdecode(source) for source in point["body"]["sources"]]
            print("  ".join(words + ["deleted"] * point["forgotten"] + ["held"] * point["held"]))


def show_entries(domain, point):
    for path, entry in domain.walk(point["body"]["root"]):
        kind = {2: "d", 3: "l", 4: "p", 5: "c", 6: "b"}.get(entry["kind"], "-")
        target = b" -> " + entry["link_target"] if entry["link_target"] else b""
        line = f"{kind}{entry['mode']:04o} {entry['uid']:5} {entry['gid']:5} {entry['size']:12} "
        line += f"{when(entry['mtime_s'])} "
        sys.stdout.buffer.write(line.encode() + path + target + b"\n")


def write_file(domain, entry, out):
    for offset, chunk in domain.parts(entry):
        out.seek(offset)
        out.write(chunk)
    out.truncate(entry["size"])


def cat(domain, entry):
    if entry is None or entry["kind"] != 1:
        raise Refused("that is no file")
    out, at = sys.stdout.buffer, 0
    for offset, chunk in domain.parts(entry):
        zeros(out, offset - at)
        out.write(chunk)
        at = offset + len(chunk)
    zeros(out, entry["size"] - at)


def zeros(out, count):
    while count > 0:
        step = min(count, MIB)
        out.write(bytes(step))
        count -= step


def restore(domain, point, target):
    """Restores a folder. Names are single components and links are made last, so nothing escapes the target."""
    target = os.fsencode(target)
    os.makedirs(target, exist_ok=True)
    links, folders, seen, damaged = [], [], {}, []
    for path, entry in domain.walk(point["body"]["root"]):
        place, kind = target + path, entry["kind"]
        if kind == 3:
            links.append((place, entry))
        elif kind == 2:
            os.makedirs(place, 0o700, exist_ok=True)
            folders.append((place, entry))
        elif entry["links"] and link_key(entry) in seen:
            os.link(seen[link_key(entry)], place)
        else:
            if kind == 1:
                try:
                    with open(place, "xb") as out:
                        write_file(domain, entry, out)
                except Damaged as error:
                    os.unlink(place)
                    print(f"left out, damaged: {os.fsdecode(path)}: {error}", file=sys.stderr)
                    damaged.append(path)
                    continue
            elif kind == 4:
                os.mkfifo(place)
            else:
                try:
                    node = 0o020000 if kind == 5 else 0o060000
                    os.mknod(place, node | 0o600, os.makedev(entry["rdev_major"], entry["rdev_minor"]))
                except PermissionError:
                    print(f"left out, devices need root: {os.fsdecode(path)}", file=sys.stderr)
                    continue
            seen[link_key(entry)] = place
            apply(place, entry)
    for place, entry in links:
        os.symlink(entry["link_target"], place)
        apply(place, entry)
    for place, entry in reversed(folders):
        apply(place, entry)
    require(not damaged, f"{len(damaged)} files could not be restored")


def link_key(entry):
    """Entries of one point with the same key are names of one file."""
    same = ("device", "inode", "kind", "size", "mtime_s", "mtime_ns", "ctime_s", "ctime_ns")
    return (*(entry[field] for field in same), repr(entry["content"]))


def apply(place, entry):
    """Sets owner, mode, attributes and times, in this order. Does not set inode flags."""
    link = entry["kind"] == 3
    if os.geteuid() == 0:
        os.lchown(place, entry["uid"], entry["gid"])
    if not link:
        os.chmod(place, entry["mode"])
    for xattr in entry["xattrs"]:
        try:
            os.setxattr(place, xattr["name"], xattr["value"], follow_symlinks=False)
        except OSError as error:
            print(f"{os.fsdecode(place)}: {os.fsdecode(xattr['name'])}: {error.strerror}", file=sys.stderr)
    mtime = entry["mtime_s"] * 10**9 + entry["mtime_ns"]
    os.utime(place, ns=(mtime, mtime), follow_symlinks=False)


def main():
    parser = argparse.ArgumentParser(description="reads Lockstone vaults of format 1")
    parser.add_argument("words", nargs="*", metavar="VAULT points | ls POINT | cat POINT PATH | restore POINT FOLDER")
    parser.add_argument("--passphrase-file")
    parser.add_argument("--vectors", help="check the test vectors in this file")
    options = parser.parse_intermixed_args()
    if options.vectors:
        return vectors.check(options.vectors)
    vault, command, *words = options.words + [None] * (2 - len(options.words))
    wanted = {"points": 0, "ls": 1, "cat": 2, "restore": 2}
    if not options.passphrase_file or wanted.get(command) != len(words):
        parser.error("a vault, a command with its arguments, and --passphrase-file are needed")
    passphrase = Path(options.passphrase_file).read_bytes().rstrip(b"\r\n")
    domains = open_domains(Vault(vault), passphrase)
    if command == "points":
        return show_points(domains)
    domain, point = choose(domains, words[0])
    if command == "ls":
        show_entries(domain, point)
    elif command == "cat":
        cat(domain, domain.find(point, os.fsencode(words[1])))
    else:
        restore(domain, point, words[1])


if __name__ == "__main__":
    try:
        main()
    except Refused as error:
        print(f"reader: {error}", file=sys.stderr)
        sys.exit(5 if "passphrase" in str(error) else 1)
    except Damaged as error:
        print(f"reader: damaged: {error}", file=sys.stderr)
        sys.exit(6)
    except BrokenPipeError:
        sys.exit(1)
