#!/usr/bin/env python3
"""Compares Lockstone with other backup programs: the same data, the same machine, in turn, in the same run.

Each round does the same for each program in turn: a new repository, a first backup, one with nothing changed, one with
1 % changed, and a restore to an empty folder. The restored tree is compared with the source. For some data, a second
copy of the tree is backed up under another name. The medians of the rounds are printed, and Lockstone's divided by the
others'. "limits" are the machine's own tools: tar | zstd, find -printf, zstd -d | tar x.

    compare.py --install --data linux,random        what `make compare` does
    compare.py --tree /srv/www --rounds 3           a copy of an existing tree
    compare.py --data tiny --scale 0.1              a tenth of the data set
    compare.py --data kernel --programs lockstone,vykar --variant 'one-thread=--threads 1'
    compare.py --data kernel --programs lockstone --variant 'before=/tmp/before/lockstone'

Data and repositories are in a scratch folder in /dev/shm, where the disk does not disturb the measurement, or where
--work says. It needs about three times the size of the data, and is removed at the end. Only Python's standard library
is needed.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import datasets
import install
import measure
import programs
import report
import trees
from measure import Failed

# File times have a coarse clock: a file that was written just before a backup may be read again by the next one.
SETTLE_S = 1.5
# At most this many differences between two trees are counted.
MAX_DIFFERENCES = 100_000


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, action="append", default=[], help="back up a copy of this tree")
    parser.add_argument("--data", default="", help="data sets to generate, with commas: "
                        + ", ".join(f"{name} ({data.what})" for name, data in datasets.ALL.items()) + "; or all")
    parser.add_argument("--scale", type=float, default=1.0, help="how large generated data is, 1 is as described")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", default=",".join(program.name for program in programs.ALL),
                        help="with commas; those that are not installed are left out [%(default)s]")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=[PATH] [OPTIONS]",
                        help="Lockstone once more, with other options of backup or another binary")
    parser.add_argument("--lockstone", default=str(Path(__file__).resolve().parents[2] / "target/release/lockstone"))
    parser.add_argument("--install", action="store_true", help="install restic, borg, zstd and rustic where missing")
    parser.add_argument("--verify", choices=["every", "first", "never"], default="every",
                        help="which rounds' restored trees are compared with the source [%(default)s]")
    parser.add_argument("--work", type=Path, help="make the scratch folder in here [/dev/shm]")
    parser.add_argument("--json", type=Path, help="write all figures to this file, too")
    return parser.parse_args()


def chosen(asked):
    """The programs to compare. Lockstone's variants come after the others."""
    programs.Lockstone.path = asked.lockstone
    wanted = asked.programs.split(",")
    unknown = set(wanted) - {program.name for program in programs.ALL}
    if unknown:
        sys.exit(f"no such program: {', '.join(sorted(unknown))}")
    found = []
    for program in [*(p for p in programs.ALL if p.name in wanted), *map(programs.variant, asked.variant)]:
        if program.binary():
            found.append(program)
        elif issubclass(program, programs.Lockstone):
            sys.exit(f"{program.path} does not exist: `make build` makes it")
        else:
            print(f"{program.name}: not on the PATH; left out")
    return found


def data_sets(asked):
    """The chosen data sets by name."""
    names = list(datasets.ALL) if asked.data == "all" else [name for name in asked.data.split(",") if name]
    unknown = set(names) - set(datasets.ALL)
    if unknown:
        sys.exit(f"no such data set: {', '.join(sorted(unknown))}; choose from {', '.join(datasets.ALL)}")
    found = {name: datasets.ALL[name] for name in names}
    found.update({tree.resolve().name: datasets.of_tree(tree.resolve()) for tree in asked.tree})
    return found or sys.exit("nothing to back up: give --tree or --data")


def size_of(tree):
    """Files and bytes of a tree."""
    files = total = 0
    for folder, _, names in os.walk(tree):
        files += len(names)
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)
    return files, total


class Comparison:
    """One data set, all programs, all rounds."""

    def __init__(self, data, tree, size, work, asked):
        self.data, self.tree, self.bytes, self.work, self.asked = data, tree, size, work, asked
        self.measured = {}

    def run(self, chosen_programs):
        """Every round, every program in turn."""
        for number in range(self.asked.rounds):
            for program in chosen_programs:
                print(f"  round {number + 1}, {program.name}", file=sys.stderr, flush=True)
                work = self.work / "program"
                work.mkdir()
                measured = self.measured.setdefault(program.name, report.Measured(program))
                self.once(program(work), measured, number)
                shutil.rmtree(work)

    def once(self, program, measured, number):
        """One program, one round."""
        program.setup()
        time.sleep(SETTLE_S)
        self.backup("first", program, measured, self.tree)
        self.backup("unchanged", program, measured, self.tree)
        if "changed" in program.phases:
            take_back = self.data.change(self.tree)
            time.sleep(SETTLE_S)
            self.backup("changed", program, measured, self.tree)
            self.restore(program, measured, number)
            take_back()
        else:
            self.restore(program, measured, number)
        if self.data.copied and "copy" in program.phases:
            copy = self.tree.with_name("copy-of-" + self.tree.name)
            subprocess.run(["cp", "-a", self.tree, copy], check=True)
            time.sleep(SETTLE_S)
            self.backup("copy", program, measured, copy)
            shutil.rmtree(copy)

    def backup(self, phase, program, measured, tree):
        """One backup."""
        measure.touch_memory(self.work, self.bytes)
        before = program.stored() if phase != "first" else 0
        figures = program.backup(tree)
        measured.add(phase, figures, program.stored() - before)

    def restore(self, program, measured, number):
        """One restore. The restored tree is compared with the source if --verify asks for it."""
        files = [name.stat() for name in self.tree.iterdir() if name.is_file()]
        holes = any(file.st_blocks * 512 < file.st_size // 2 for file in files)
        if holes and not program.restores_holes:
            measured.note("cannot restore a sparse file as one, so nothing was restored")
            return
        target = program.work / "target"
        measure.touch_memory(self.work, self.bytes)
        measured.add("restore", program.restore(self.tree, target), 0)
        if self.asked.verify == "every" or (self.asked.verify == "first" and number == 0):
            self.verify(program, measured, program.restored(self.tree, target))
        shutil.rmtree(target)

    def verify(self, program, measured, restored):
        """Compares the restored tree with the source. Differences fail; other programs may differ in attributes."""
        seen = Counter()
        examples = {}
        for what, path in islice(trees.differences(self.tree, restored), MAX_DIFFERENCES):
            seen[what] += 1
            examples.setdefault(what, path)
        for what, times in seen.items():
            entries = "1 entry" if times == 1 else f"{times:,} entries"
            message = f"restored with a difference in {what}: {entries}, such as {examples[what] or 'the top folder'}"
            if what in ("mode", "owner", "mtime", "mtime below 1 µs") and not isinstance(program, programs.Lockstone):
                measured.note(message)
            else:
                raise Failed(f"{program.name}: {message}")


def main():
    """The program."""
    asked = arguments()
    install.find_installed()
    if asked.install:
        install.install()
    chosen_programs = chosen(asked)
    sets = data_sets(asked)
    # A signal ends the program like an error, so that the scratch folder is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    versions = {program.name: program.version() for program in chosen_programs}
    print("\n" + report.head(asked, versions), flush=True)
    document = {"machine": report.machine(), "command": report.command(), "date": time.strftime("%Y-%m-%d"),
                "scale": asked.scale, "versions": versions, "data": {}}
    within = asked.work or Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="lockstone-compare-", dir=within) as scratch:
        for name, data in sets.items():
            tree = Path(scratch) / name
            tree.mkdir()
            print(f"{name}: preparing", file=sys.stderr, flush=True)
            try:
                data.fill(tree, asked.scale)
            except datasets.Unavailable as missing:
                print(f"{name}: left out: {missing}")
                continue
            size = size_of(tree)
            comparison = Comparison(data, tree, size[1], Path(scratch), asked)
            comparison.run(chosen_programs)
            shutil.rmtree(tree)
            print(report.tables(name, data, size, comparison.measured), flush=True)
            document["data"][name] = {"files": size[0], "bytes": size[1], "programs": {
                program: measured.document() for program, measured in comparison.measured.items()}}
            if asked.json:
                asked.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"error: {failed}")
    except KeyboardInterrupt:
        sys.exit(130)
