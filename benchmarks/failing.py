"""How soon is a failure reported, and how soon can all ranks be used again?

python benchmarks/failing.py
"""

import os
import signal
import time

import torch
from rounds import publish, spread

from minidl import MinidlError, World
from minidl.runtime.world import World as _World


def deadlock(comm):
    """Every rank waits for its left neighbour."""
    comm.recv(torch.ones(1), comm.left)


def death(comm):
    """Rank 1 is killed."""
    if comm.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    comm.barrier()


def main():
    """Measure and publish."""
    repaired = []
    repair = _World._repair

    def timed_repair(self, facts):
        began = time.perf_counter()
        repair(self, facts)
        repaired.append(time.perf_counter() - began)

    _World._repair = timed_repair
    rows = []
    with World(4) as world:
        for name, program, wanted in (("a deadlock", deadlock, 0.5), ("a killed rank", death, 0.5)):
            reported = []
            again = []
            repaired.clear()
            for _ in range(21):
                began = time.perf_counter()
                try:
                    world.run(program)
                except MinidlError:
                    reported.append(time.perf_counter() - began - repaired[-1])
                began = time.perf_counter()
                world.run(lambda comm: comm.barrier())
                again.append(time.perf_counter() - began + repaired[-1])
            rows += [
                [f"{name}: reported", spread(reported), wanted],
                [f"{name}: all ranks usable again", spread(again), 0.2],
            ]
    publish(
        "Failures on 4 ranks",
        ["", "seconds", "wanted"],
        rows,
        "Reported: from the call of run to the error, without the repair. Usable again: the repair "
        "and a barrier on all ranks. 21 rounds.",
    )


if __name__ == "__main__":
    main()
