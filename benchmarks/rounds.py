"""How the benchmarks measure: each contestant once a round, shuffled, and ratios within a round.

A machine drifts, and gloo's small messages come in two speeds, so single times say little. Quote
the median of the ratios, and the spread (lowest to highest) beside it.
"""

import os
import platform
import random
import re
import statistics
from datetime import date
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "RESULTS.md"


def rounds(contestants, n=9, seed=0):
    """Call each of {name: function} once a round; they, too, return seconds: {name: [seconds]}."""
    times = {name: [] for name in contestants}
    order = random.Random(seed)
    for _ in range(n):
        for name in order.sample(list(contestants), len(contestants)):
            times[name].append(contestants[name]())
    return times


def spread(values, unit=1.0, digits=3):
    """ "median (lowest to highest)" of the values, each divided by `unit`."""
    low, mid, high = (
        f"{value / unit:.{digits}g}"
        for value in (min(values), statistics.median(values), max(values))
    )
    return f"{mid} ({low} to {high})"


def ratios(ours, theirs):
    """Ours over theirs, round by round."""
    return [a / b for a, b in zip(ours, theirs)]


def machine():
    """The machine in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*: *(.*)", cpuinfo.read_text(), re.M)
        model = found[1] if found else model
    import torch

    return (
        f"{os.cpu_count()} cores ({model}), "
        f"{platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def publish(title, columns, rows, note=""):
    """Print a table and put it into RESULTS.md, in place of an older one of the same title."""
    lines = [
        f"## {title}",
        "",
        f"{date.today()}, {machine()}",
        "",
        f"| {' | '.join(columns)} |",
        f"| {' | '.join('---' for _ in columns)} |",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]
    lines += ["", note] if note else []
    print("\n".join(lines))
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    head, *sections = text.split("\n## ") if text else [""]
    kept = [s for s in sections if not s.startswith(title + "\n")]
    body = sorted([*kept, "\n".join(lines)[3:] + "\n"])
    PAGE.write_text("\n## ".join([head.rstrip("\n") + "\n", *body]), encoding="utf-8")
