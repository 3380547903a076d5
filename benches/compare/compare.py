#!/usr/bin/env python3
"""Compares Lockstone with other backup programs on the same data, the same machine, in the same run.

For each program in turn: a first backup, one with nothing changed, one with 1 % of the files changed, and a restore that
is then compared with the source. Wall and CPU seconds and peak memory are the operating system's own accounting of the
finished process; "stored" is the size of the repository. Data and repositories belong in a tmpfs (--work), where the
disk makes no noise. Medians of --runs; ratios are Lockstone's figure over the other's.

    benches/compare/compare.py --tree /path/to/linux-source-6.1          a tree that is there
    benches/compare/compare.py --data random --size 2048                 generated, MiB
    benches/compare/compare.py --data tiny --count 100000

Programs: lockstone (this checkout's release binary, or --lockstone), restic, borg, rustic: those on the PATH.
"""

import argparse
import filecmp
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

PASSPHRASE = "correct horse battery staple"


def run(command, env=None, cwd=None, ok=(0,)):
    """Runs a command; returns (wall seconds, cpu seconds, peak MiB)."""
    start = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    # Drained first, so that the child never waits for us; then reaped with its own accounting.
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    if process.returncode not in ok:
        sys.exit(f"{' '.join(map(str, command))}\nexit {process.returncode}\n{errors.decode(errors='replace')}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


class Program:
    def __init__(self, work):
        self.repo = work / "repo"
        self.home = work / "home"

    def env(self):
        return {}

    def stored(self):
        return sum(f.stat().st_size for f in self.repo.rglob("*") if f.is_file()) / 2**20


class Lockstone(Program):
    name = "lockstone"
    binary = None

    def env(self):
        return {"LOCKSTONE_HOME": str(self.home), "LOCKSTONE_PASSPHRASE": PASSPHRASE}

    def setup(self):
        credentials = self.home.parent / "bench.vaultcredentials"
        for arguments in (["vault", "create", str(self.repo)],
                          ["vault", "credentials", str(self.repo), "--out", str(credentials)],
                          ["register", "--credentials", str(credentials)]):
            run([self.binary, *arguments], self.env())

    def backup(self, tree):
        return run([self.binary, "backup", "-q", str(tree)], self.env())

    def restore(self, target):
        return run([self.binary, "restore", "-q", "latest", "--target", str(target)], self.env())


class Restic(Program):
    name = "restic"

    def env(self):
        return {"RESTIC_PASSWORD": PASSPHRASE, "RESTIC_REPOSITORY": str(self.repo),
                "RESTIC_CACHE_DIR": str(self.home)}

    def setup(self):
        run(["restic", "init", "-q"], self.env())

    def backup(self, tree):
        return run(["restic", "backup", "-q", str(tree)], self.env())

    def restore(self, target):
        return run(["restic", "restore", "-q", "latest", "--target", str(target)], self.env())


class Rustic(Restic):
    name = "rustic"

    def env(self):
        return {"RUSTIC_PASSWORD": PASSPHRASE, "RUSTIC_REPOSITORY": str(self.repo), "RUSTIC_CACHE_DIR": str(self.home),
                "RUSTIC_NO_PROGRESS": "true"}

    def setup(self):
        run(["rustic", "init"], self.env())

    def backup(self, tree):
        return run(["rustic", "backup", str(tree)], self.env())

    def restore(self, target):
        return run(["rustic", "restore", "latest", str(target)], self.env())


class Borg(Program):
    name = "borg"

    def env(self):
        return {"BORG_PASSPHRASE": PASSPHRASE, "BORG_REPO": str(self.repo), "BORG_BASE_DIR": str(self.home)}

    def setup(self):
        self.home.mkdir(parents=True, exist_ok=True)
        self.count = 0
        run(["borg", "init", "-e", "repokey-blake2"], self.env())

    def backup(self, tree):
        self.count += 1
        return run(["borg", "create", "-C", "zstd,3", f"::a{self.count}", str(tree)], self.env(), ok=(0, 1))

    def restore(self, target):
        target.mkdir(parents=True, exist_ok=True)
        return run(["borg", "extract", f"::a{self.count}"], self.env(), cwd=target)


def generate(kind, tree, size, count):
    """Makes a data set; the same one for the same arguments."""
    source = random.Random(1)
    tree.mkdir(parents=True)
    if kind == "random":
        for n in range(4):
            with open(tree / f"random-{n}", "wb") as out:
                for _ in range(size // 4):
                    out.write(source.randbytes(2**20))
    elif kind == "tiny":
        for n in range(count):
            folder = tree / f"{n // 100:06}"
            if n % 100 == 0:
                folder.mkdir()
            (folder / f"{n:08}").write_bytes(source.randbytes(source.randrange(4096)))
    elif kind == "sparse":
        with open(tree / "sparse", "wb") as out:
            out.truncate(size * 2**20)
            for _ in range(256):
                out.seek(source.randrange(size) * 2**20)
                out.write(source.randbytes(2**20))
    elif kind == "log":
        words = [source.randbytes(6).hex() for _ in range(500)]
        with open(tree / "growing.log", "w") as out:
            while out.tell() < size * 2**20:
                out.writelines(f"{source.random():.9f} {' '.join(source.choices(words, k=12))}\n" for _ in range(10000))


def change(tree):
    """Rewrites a few bytes in 1 % of the files."""
    source = random.Random(2)
    files = sorted(f for f in tree.rglob("*") if f.is_file() and not f.is_symlink())
    for file in source.sample(files, max(1, len(files) // 100)):
        with open(file, "r+b") as out:
            out.seek(0, 2)
            out.write(b"changed\n")


def same(a, b):
    compared = filecmp.dircmp(a, b)
    if compared.left_only or compared.right_only or compared.funny_files:
        return False
    _, differ, errors = filecmp.cmpfiles(a, b, compared.common_files, shallow=False)
    return not differ and not [e for e in errors if not os.path.islink(Path(a) / e)] and \
        all(same(Path(a) / sub, Path(b) / sub) for sub in compared.common_dirs if not os.path.islink(Path(a) / sub))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, help="a tree to back up; it is copied first")
    parser.add_argument("--data", choices=["random", "tiny", "sparse", "log"], help="a data set to generate instead")
    parser.add_argument("--size", type=int, default=2048, help="MiB of generated data")
    parser.add_argument("--count", type=int, default=100_000, help="files of the tiny data set")
    parser.add_argument("--work", type=Path, default=Path("/dev/shm/lockstone-compare"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--programs", default="lockstone,restic,borg,rustic")
    parser.add_argument("--lockstone", default=str(Path(__file__).resolve().parents[2] / "target/release/lockstone"))
    parser.add_argument("--json", type=Path, help="also write the medians here")
    arguments = parser.parse_args()
    Lockstone.binary = arguments.lockstone
    # Trees deeper than the interpreter's default would stop the comparison of a restored tree.
    sys.setrecursionlimit(10_000)
    wanted = arguments.programs.split(",")
    programs = [p for p in (Lockstone, Restic, Borg, Rustic)
                if p.name in wanted and shutil.which(p.binary if p is Lockstone else p.name)]
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    tree = arguments.work / "tree"
    figures = {p.name: {} for p in programs}
    for _ in range(arguments.runs):
        for program_class in programs:
            shutil.rmtree(tree, ignore_errors=True)
            if arguments.tree:
                subprocess.run(["cp", "-a", str(arguments.tree), str(tree)], check=True)
            else:
                generate(arguments.data or "random", tree, arguments.size, arguments.count)
            work = arguments.work / program_class.name
            work.mkdir()
            program = program_class(work)
            program.setup()
            measured = figures[program.name]
            measured.setdefault("first", []).append(program.backup(tree))
            measured.setdefault("stored", []).append(program.stored())
            measured.setdefault("unchanged", []).append(program.backup(tree))
            change(tree)
            measured.setdefault("changed", []).append(program.backup(tree))
            target = work / "restored"
            measured.setdefault("restore", []).append(program.restore(target))
            restored = target if program.name == "rustic" else target / tree.relative_to("/")
            if not same(tree, restored):
                sys.exit(f"{program.name}: the restored tree differs")
            shutil.rmtree(work)
    report(figures, arguments)
    shutil.rmtree(arguments.work)


def report(figures, arguments):
    medians = {}
    for name, measured in figures.items():
        medians[name] = {"stored_mib": statistics.median(measured["stored"])}
        for phase in ("first", "unchanged", "changed", "restore"):
            for n, what in enumerate(("wall_s", "cpu_s", "peak_mib")):
                medians[name][f"{phase}_{what}"] = statistics.median(run[n] for run in measured[phase])
    print(f"medians of {arguments.runs}: wall s / cpu s / peak MiB\n")
    print(f"| {'':10} | first | unchanged | 1 % changed | restore | stored MiB |")
    print("|---|---|---|---|---|---|")
    for name, m in medians.items():
        cells = [f"{m[p + '_wall_s']:.2f} / {m[p + '_cpu_s']:.2f} / {m[p + '_peak_mib']:.0f}"
                 for p in ("first", "unchanged", "changed", "restore")]
        print(f"| {name:10} | {' | '.join(cells)} | {m['stored_mib']:.0f} |")
    ours = medians.get("lockstone")
    if ours and len(medians) > 1:
        print("\nwall time, Lockstone's over the other's\n")
        for name, m in medians.items():
            if name != "lockstone":
                ratios = ", ".join(f"{p} {ours[p + '_wall_s'] / m[p + '_wall_s']:.2f}"
                                   for p in ("first", "unchanged", "changed", "restore"))
                print(f"* {name}: {ratios}, stored {ours['stored_mib'] / m['stored_mib']:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(medians, indent=1))


if __name__ == "__main__":
    main()
