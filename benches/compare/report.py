"""The report of a comparison: Markdown tables for people, and a document for programs."""

import datetime
import os
import platform
import shlex
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

from measure import median

PHASES = ("first", "unchanged", "changed", "restore", "copy")


def machine():
    """This machine in one line."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GiB, Linux {platform.release()}"


def command():
    """The command line of this program, so that the run can be repeated."""
    return "benches/compare/compare.py " + shlex.join(sys.argv[1:])


class Measured:
    """Everything measured of one program with one data set."""

    def __init__(self, program):
        self.is_peer = program.is_peer
        self.runs = {}  # phase → figures of each round
        self.grown = {}  # phase → MiB stored by it, of each round
        self.notes = []

    def add(self, phase, figures, grown):
        """One run."""
        self.runs.setdefault(phase, []).append(figures)
        self.grown.setdefault(phase, []).append(grown)

    def note(self, text):
        """Adds a note about the program, once."""
        if text not in self.notes:
            self.notes.append(text)

    def median(self, phase):
        """The medians of a phase, if it ran."""
        return median(self.runs[phase]) if phase in self.runs else None

    def stored(self, phase="first"):
        """The median of MiB stored by a phase, if it ran."""
        return statistics.median(self.grown[phase]) if phase in self.grown else None

    def peak(self):
        """The most memory in any phase, in MiB."""
        return max(self.median(phase).peak_mib for phase in self.runs)

    def document(self):
        """The figures for other programs."""
        phases = {phase: {"median": asdict(self.median(phase)), "stored_mib": self.stored(phase),
                          "runs": [asdict(figures) for figures in runs]} for phase, runs in self.runs.items()}
        return {"phases": phases, "notes": self.notes}


def head(arguments, versions):
    """What was measured, when, where, with what."""
    lines = [f"{datetime.date.today()}, {machine()}, `{command()}`; medians of {arguments.rounds}, data at scale "
             f"{arguments.scale:g}."]
    lines += [f"* {name}: {version}" for name, version in versions.items()]
    return "\n".join(lines) + "\n"


def tables(name, data, size, measured):
    """The tables of one data set. `measured`: by the programs' names, Lockstone first."""
    titles = {"first": "first", "unchanged": "unchanged", "changed": data.changed, "restore": "restore",
              "copy": "a second copy"}
    phases = [phase for phase in PHASES if any(phase in m.runs for m in measured.values())]
    lines = [f"## {name}: {data.what}",
             f"{size[0]:,} files, {size[1] / 2**20:,.0f} MiB. Wall s / CPU s / peak MiB.", "",
             f"| | {' | '.join(titles[phase] for phase in phases)} | stored MiB | … by changes | … by the copy |",
             "|---|" + "---|" * (len(phases) + 3)]
    for program, m in measured.items():
        cells = [cell(m.median(phase)) for phase in phases]
        cells += [number(m.stored(phase)) for phase in ("first", "changed", "copy")]
        lines.append(f"| {program} | {' | '.join(cells)} |")
    lines += ["", *ratios(phases, titles, measured)]
    lines += [f"* {program}: {note}" for program, m in measured.items() for note in m.notes]
    return "\n".join(lines) + "\n"


def cell(figures):
    """The figures of a phase in a cell."""
    return f"{figures.wall_s:.2f} / {figures.cpu_s:.2f} / {figures.peak_mib:.0f}" if figures else "–"


def number(value):
    """MiB in a cell, below 10 with a fraction."""
    return "–" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def ratios(phases, titles, measured):
    """Lockstone's wall time divided by each other program's, and by that of the best of them."""
    ours = measured.get("lockstone")
    others = {name: m for name, m in measured.items() if name != "lockstone"}
    if not ours or not others:
        return []
    lines = ["Lockstone's wall time divided by the other's, and its stored MiB:", "",
             f"| | {' | '.join(titles[phase] for phase in phases)} | stored |", "|---|" + "---|" * (len(phases) + 1)]
    for name, m in others.items():
        cells = [ratio(wall(ours, phase), wall(m, phase)) for phase in phases]
        lines.append(f"| {name} | {' | '.join(cells)} | {ratio(ours.stored(), m.stored())} |")
    peers = [m for m in others.values() if m.is_peer]
    if peers:
        best = [min((w for w in (wall(m, phase) for m in peers) if w), default=None) for phase in phases]
        stored = min((s for s in (m.stored() for m in peers) if s), default=None)
        cells = [ratio(wall(ours, phase), least) for phase, least in zip(phases, best, strict=True)]
        lines.append(f"| the best of the other programs | {' | '.join(cells)} | {ratio(ours.stored(), stored)} |")
    lines += ["", f"Lockstone's peak memory: {ours.peak():.0f} MiB.", ""]
    return lines


def wall(measured, phase):
    """The wall time of a phase, if it ran."""
    figures = measured.median(phase)
    return figures.wall_s if figures else None


def ratio(ours, other):
    """The ratio of two values in a cell."""
    return f"{ours / other:.2f}" if ours and other else "–"
