"""Runs a command and measures it: wall and CPU seconds and peak memory, as the operating system counts them.

The command is started by a small process of its own (this file, run as a program). A process begins with the peak
memory of the one it was forked from, and that of the comparison grows with the trees it compares; the starter's is
always the same, and smaller than any program's.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Figures:
    """One run: elapsed seconds, processor seconds of all its processes, and MiB of the largest of them."""

    wall_s: float
    cpu_s: float
    peak_mib: float


class Failed(Exception):
    """A command failed."""


def run(command, env=None, cwd=None, ok=(0,)):
    """Runs a command to its end."""
    os.sync()
    job = {"command": [str(word) for word in command], "env": env or {}, "cwd": str(cwd) if cwd else None}
    starter = subprocess.run([sys.executable, "-I", "-S", __file__], input=json.dumps(job).encode(),
                             capture_output=True, check=False)
    if starter.returncode != 0:
        raise Failed(f"cannot run {job['command'][0]}: {starter.stderr.decode(errors='replace')}")
    ended = json.loads(starter.stdout)
    if ended["exit"] not in ok:
        raise Failed(f"{' '.join(job['command'])}\nexit {ended['exit']}\n{ended['said']}")
    return Figures(ended["wall_s"], ended["cpu_s"], ended["peak_mib"])


def touch_memory(folder, size):
    """Takes as much memory as a step may need, and gives it back, where the folder is a tmpfs. A virtual machine hands
    memory that was not used for a while back to its host, and the first to touch it again pays for it: which of the
    programs that is would be a matter of luck, and it costs more than the step does.
    """
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False)
    if kind.stdout.strip() != "tmpfs":
        return
    room = os.statvfs(folder)
    left = min(size + (512 << 20), room.f_bavail * room.f_frsize // 2)
    block = bytes(16 << 20)
    with tempfile.TemporaryFile(dir=folder) as file:
        while left > 0:
            left -= file.write(block)


def median(runs):
    """The medians of several runs, each figure on its own."""
    return Figures(*(statistics.median(getattr(figures, name) for figures in runs)
                     for name in ("wall_s", "cpu_s", "peak_mib")))


def start():
    """The starter: reads one command from stdin and writes its figures to stdout."""
    job = json.load(sys.stdin)
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        # Errors go to a file, because a pipe would have to be read while the command runs.
        process = subprocess.Popen(job["command"], env={**os.environ, **job["env"]}, cwd=job["cwd"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(max(0, said.seek(0, os.SEEK_END) - 4000))
        json.dump({"exit": process.returncode, "wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime,
                   "peak_mib": usage.ru_maxrss / 1024, "said": said.read().decode(errors="replace")}, sys.stdout)


def stored_mib(folder):
    """MiB in the files of a repository."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 2**20


if __name__ == "__main__":
    start()
