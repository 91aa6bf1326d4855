"""What does minidl add to the import of torch, and what do four idle ranks weigh?

python benchmarks/footprint.py          memory is read from /proc, so on Linux only
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from rounds import publish, rounds, spread

from minidl import World
from minidl.runtime.processes.launch import launcher


def imports(modules):
    """A function that starts Python, imports, and returns the seconds."""
    code = f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter() - t)"

    def once():
        command = [sys.executable, "-c", code]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return once


def pss(pid):
    """The proportional set size of a process in MiB: processes divide the pages that they share."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = re.findall(r"^Pss:\s+(\d+)", text, re.M)
    return sum(map(int, kilobytes)) / 1024


def main():
    """Measure and publish."""
    seconds = rounds(
        {"torch": imports("torch, numpy"), "minidl": imports("torch, numpy, minidl")}, n=11
    )
    extra = [a - b for a, b in zip(seconds["minidl"], seconds["torch"])]
    rows = [
        ["import torch, numpy", f"{spread(seconds['torch'])} s", ""],
        ["import minidl as well", f"{spread(seconds['minidl'])} s", ""],
        ["the difference", f"{spread(extra, digits=2)} s", "0.1 s"],
    ]
    with World(4) as world:
        pids = [*world.run(os.getpid).results, launcher("fork").process.pid]
        time.sleep(1)  # let the ranks come to rest
        rows.append(
            ["four idle ranks and the zygote, PSS", f"{sum(map(pss, pids)):.0f} MiB", "400 MiB"]
        )
    publish("Import and memory", ["", "measured", "wanted"], rows)


if __name__ == "__main__":
    main()
