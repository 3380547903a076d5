"""The trees that are backed up: a copy of an existing tree, or generated ones. The same scale gives the same tree.

Each data set is a function that fills a folder, and a way to change about 1 % of it. A change can be taken back, so
that every program gets the same tree.
"""

import bisect
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

MIB = 2**20


class Unavailable(Exception):
    """This data set cannot be made on this machine."""


@dataclass
class DataSet:
    """How a tree is made, and how it is changed."""

    what: str
    fill: Callable  # (tree, scale)
    change: Callable  # (tree) → a function that takes the change back
    changed: str = "1 % changed"
    # Whether the backup of a second copy is measured.
    copied: bool = False


def kernel(tree, scale):
    """Text files like the Linux source: about 80,000 of 16 KiB on average, 1.2 GiB, and about as compressible."""
    source = random.Random(1)
    lines, weights = source_lines(source, 60_000)
    for number in range(max(20, int(80_000 * scale))):
        folder = tree / f"part{number // 4000:02}" / f"module{number // 20 % 200:03}"
        if number % 20 == 0:
            folder.mkdir(parents=True, exist_ok=True)
        wanted = min(int(source.lognormvariate(8.7, 1.25)), 2 * MIB)
        text = b"".join(source.choices(lines, cum_weights=weights, k=max(1, wanted // 30)))
        (folder / f"file{number:06}.c").write_bytes(b"/* %d */\n" % number + text)


def source_lines(source, count):
    """Lines of C and their cumulative weights. A few lines are common, most are rare."""
    words = [f"{source.choice(['dev', 'buf', 'page', 'net', 'irq', 'ctx', 'reg', 'clk'])}_"
             f"{source.randbytes(source.randrange(1, 4)).hex()}" for _ in range(6000)]
    shapes = ["\t{} = {}({}, {});\n", "\tif ({} < {})\n", "\t\treturn -{};\n", "}}\n\n",
              "static int {}(struct {} *{})\n{{\n", "#define {}\t0x{:04x}\n", "\t{}->{} |= {};\n",
              " * {} the {} of {}\n", "\n", "\tmutex_unlock(&{}->lock);\n"]
    lines = []
    for _ in range(count):
        shape = source.choice(shapes)
        picked = [source.randrange(65536) if "04x" in shape and n == 1 else source.choice(words) for n in range(4)]
        lines.append(shape.format(*picked).encode())
    return lines, list(accumulate(1 / (rank + 400) for rank in range(count)))


def linux(tree, scale):
    """The source of Linux as Debian packs it, installed with apt-get if it is missing. Below scale 1, a part of its
    files.
    """
    archives = sorted(Path("/usr/src").glob("linux-source-*.tar.xz"))
    if not archives and shutil.which("apt-get"):
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*sudo, "apt-get", "install", "-y", "-q", "--no-install-recommends", "linux-source"],
                       stdout=subprocess.DEVNULL, check=False)
        archives = sorted(Path("/usr/src").glob("linux-source-*.tar.xz"))
    if not archives:
        raise Unavailable("no /usr/src/linux-source-*.tar.xz (Debian's package linux-source)")
    subprocess.run(["tar", "-xJf", archives[-1], "-C", tree, "--strip-components=1"], check=True)
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(tree) for name in names)
    every = max(1, round(1 / scale))
    for number, path in enumerate(files):
        if number % every:
            os.unlink(path)


def noise(tree, scale):
    """Four files of 512 MiB of random bytes."""
    source = random.Random(2)
    for number in range(4):
        with open(tree / f"random-{number}", "wb") as out:
            for _ in range(max(1, int(512 * scale))):
                out.write(source.randbytes(MIB))


def tiny(tree, scale):
    """A million files of 0 to 4 KiB in 10,000 folders."""
    source = random.Random(3)
    for number in range(max(100, int(1_000_000 * scale))):
        folder = f"{tree}/{number // 10_000:02}/{number // 100:06}"
        if number % 100 == 0:
            os.makedirs(folder)
        with open(f"{folder}/{number:08}", "wb", buffering=0) as out:
            out.write(source.randbytes(source.randrange(4097)))


def image(tree, scale):
    """A virtual machine's disk image, 2 GiB: a quarter random, a quarter empty but not sparse, the rest like text."""
    source = random.Random(4)
    lines, weights = source_lines(source, 20_000)
    with open(tree / "disk.img", "wb") as out:
        for _ in range(max(4, int(2048 * scale))):
            part = source.randrange(4)
            if part == 0:
                out.write(source.randbytes(MIB))
            elif part == 1:
                out.write(bytes(MIB))
            else:
                text = b"".join(source.choices(lines, cum_weights=weights, k=MIB // 15))
                out.write((text + bytes(MIB))[:MIB])


def sparse(tree, scale):
    """One file of 32 GiB with 256 MiB of data in it."""
    source = random.Random(5)
    size = max(256, int(32 * 1024 * scale))
    with open(tree / "sparse", "wb") as out:
        out.truncate(size * MIB)
        for at in sorted(source.sample(range(size), max(2, int(256 * scale)))):
            out.seek(at * MIB)
            out.write(source.randbytes(MIB))


def log(tree, scale):
    """A log of 1 GiB that grows."""
    with open(tree / "growing.log", "wb") as out:
        write_log(out, max(4, int(1024 * scale)), 6)


def write_log(out, mib, seed):
    """Writes lines of a log, about `mib` MiB."""
    source = random.Random(seed)
    words = [source.randbytes(6).hex() for _ in range(500)]
    until = out.tell() + mib * MIB
    while out.tell() < until:
        out.write("".join(f"{source.random():.9f} {' '.join(source.choices(words, k=12))}\n"
                          for _ in range(5000)).encode())


def single(tree, scale):
    """One file of 512 MiB of random bytes."""
    source = random.Random(7)
    with open(tree / "single", "wb") as out:
        for _ in range(max(4, int(512 * scale))):
            out.write(source.randbytes(MIB))


def change_files(tree):
    """Appends a few bytes to 1 % of the files."""
    source = random.Random(8)
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(tree) for name in names
                   if not os.path.islink(os.path.join(folder, name)))
    undo = []
    for path in source.sample(files, max(1, len(files) // 100)):
        before = os.stat(path)
        with open(path, "ab") as out:
            out.write(b"changed\n")
        undo.append((path, before))

    def take_back():
        for path, before in undo:
            os.truncate(path, before.st_size)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return take_back


def change_blocks(tree):
    """Overwrites runs of 64 KiB, 1 % of the data of the only file, like a running machine changes its image."""
    source = random.Random(9)
    path = next(tree.iterdir())
    before = os.stat(path)
    run = 64 * 1024
    data = [at for at in range(0, before.st_size, run) if has_data(path, at)]
    undo = []
    with open(path, "r+b", buffering=0) as out:
        for at in source.sample(data, max(1, len(data) // 100)):
            undo.append((at, os.pread(out.fileno(), run, at)))
            os.pwrite(out.fileno(), source.randbytes(len(undo[-1][1])), at)

    def take_back():
        with open(path, "r+b", buffering=0) as out:
            for at, was in undo:
                os.pwrite(out.fileno(), was, at)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return take_back


EXTENTS = {}


def has_data(path, at):
    """Whether the file has data at this offset. Its runs of data are looked up once."""
    if path not in EXTENTS:
        starts, ends, here = [], [], 0
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            while here < size:
                try:
                    starts.append(os.lseek(file.fileno(), here, os.SEEK_DATA))
                except OSError:
                    break
                here = os.lseek(file.fileno(), starts[-1], os.SEEK_HOLE)
                ends.append(here)
        EXTENTS[path] = starts, ends
    starts, ends = EXTENTS[path]
    run = bisect.bisect_right(starts, at) - 1
    return run >= 0 and at < ends[run]


def grow(tree):
    """Makes the log 1 % longer."""
    path = next(tree.iterdir())
    before = os.stat(path)
    with open(path, "ab") as out:
        write_log(out, max(1, before.st_size // MIB // 100), 10)

    def take_back():
        os.truncate(path, before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return take_back


def insert(tree):
    """Inserts one byte at the start of the file."""
    path = next(tree.iterdir())
    before = os.stat(path)
    kept = path.read_bytes()
    path.write_bytes(b"!" + kept)

    def take_back():
        path.write_bytes(kept)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return take_back


ALL = {
    "kernel": DataSet("generated text like the Linux source", kernel, change_files, copied=True),
    "linux": DataSet("the source of Linux, as Debian packs it", linux, change_files, copied=True),
    "random": DataSet("four random files of 512 MiB", noise, change_files),
    "tiny": DataSet("1,000,000 files of 0 to 4 KiB in 10,000 folders", tiny, change_files),
    "image": DataSet("the disk image of a virtual machine", image, change_blocks),
    "sparse": DataSet("a file of 32 GiB with 256 MiB of data", sparse, change_blocks),
    "log": DataSet("a log of 1 GiB that grows", log, grow, "1 % longer"),
    "insert": DataSet("a file of 512 MiB, then with one more byte at its start", single, insert, "1 byte inserted"),
}


def of_tree(source):
    """A copy of an existing tree with all its attributes."""

    def fill(tree, _scale):
        subprocess.run(["cp", "-a", "--sparse=always", f"{source}/.", tree], check=True)

    return DataSet(str(source), fill, change_files, copied=True)
