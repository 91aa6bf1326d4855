"""How fast is the virtual world?

python benchmarks/virtual.py            python benchmarks/virtual.py --full     also the ring of
1,024 ranks
"""

import sys
import time

import torch
from rounds import publish, spread

from minidl import VirtualWorld
from minidl.collectives import doubling, ring


def seconds_of(fn, n, times):
    """(seconds of each run, messages of one) of an all-reduce of n numbers on n virtual ranks."""
    world, taken = VirtualWorld(n), []
    for _ in range(times):
        began = time.perf_counter()
        run = world.run(fn, torch.ones(n), timeout=None)
        taken.append(time.perf_counter() - began)
    return taken, sum(run.trace.sent())


def main():
    """Measure and publish."""
    cases = [
        ("ring, textbook", ring.textbook_all_reduce, 256, 3, "2 s, 15 us"),
        ("ring", ring.all_reduce, 256, 3, ""),
        ("recursive doubling", doubling.all_reduce, 1024, 5, "1 s"),
    ]
    if "--full" in sys.argv:
        cases.append(("ring, textbook", ring.textbook_all_reduce, 1024, 1, "30 s"))
    rows = []
    for name, fn, n, times, wanted in cases:
        taken, messages = seconds_of(fn, n, times)
        rows.append(
            [
                name,
                n,
                f"{messages:,}",
                spread(taken),
                spread([t / messages for t in taken], 1e-6),
                wanted,
            ]
        )
    publish(
        "The virtual world: an all-reduce of as many numbers as ranks",
        ["algorithm", "ranks", "messages", "seconds", "us a message", "wanted"],
        rows,
    )


if __name__ == "__main__":
    main()
