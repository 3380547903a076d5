"""Compares a restored tree with its source: type, content, size, mode, owner, modification time, link target."""

import os
import stat

PIECE = 4 * 2**20


def differences(source, restored):
    """Every difference, as (what, path) with the path below the source. A generator: the caller may stop early."""
    # A list instead of recursion, because a tree may be deeper than Python's stack.
    waiting = [""]
    yield from compare(source, restored, "")
    while waiting:
        folder = waiting.pop()
        ours = names(os.path.join(source, folder))
        theirs = names(os.path.join(restored, folder))
        for name in sorted(theirs.keys() - ours.keys()):
            yield "added", os.path.join(folder, name)
        for name, entry in ours.items():
            path = os.path.join(folder, name)
            if name not in theirs:
                yield "missing", path
                continue
            yield from compare(source, restored, path)
            if entry.is_dir(follow_symlinks=False) and theirs[name].is_dir(follow_symlinks=False):
                waiting.append(path)


def names(folder):
    """The entries of a folder by name."""
    with os.scandir(folder) as entries:
        return {entry.name: entry for entry in entries}


def compare(source, restored, path):
    """The differences of one entry."""
    a_path, b_path = os.path.join(source, path), os.path.join(restored, path)
    a, b = os.lstat(a_path), os.lstat(b_path)
    if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
        yield "type", path
        return
    if a.st_mode != b.st_mode:
        yield "mode", path
    if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid):
        yield "owner", path
    if a.st_mtime_ns != b.st_mtime_ns:
        # Some formats store only microseconds.
        yield "mtime" if abs(a.st_mtime_ns - b.st_mtime_ns) >= 1000 else "mtime below 1 µs", path
    if stat.S_ISLNK(a.st_mode):
        if os.readlink(a_path) != os.readlink(b_path):
            yield "link target", path
    elif stat.S_ISREG(a.st_mode):
        if a.st_size != b.st_size:
            yield "size", path
        elif a.st_size and not same_content(a_path, b_path, a.st_size):
            yield "content", path


def same_content(a_path, b_path, size):
    """Whether two files of the same size have the same bytes. Where both have a hole, nothing is read."""
    with open(a_path, "rb", buffering=0) as a, open(b_path, "rb", buffering=0) as b:
        if size <= PIECE:
            return a.read(size) == b.read(size)
        at = 0
        while at < size:
            start = min(next_data(a, at, size), next_data(b, at, size))
            at = min(start + PIECE, size)
            if os.pread(a.fileno(), at - start, start) != os.pread(b.fileno(), at - start, start):
                return False
        return True


def next_data(file, at, size):
    """Where data begins, at or after an offset."""
    try:
        return os.lseek(file.fileno(), at, os.SEEK_DATA)
    except OSError:
        # There is no data after the offset.
        return size
