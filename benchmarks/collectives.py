"""Our collectives on gloo's sends and receives, against gloo's own.

    python benchmarks/collectives.py

Every contestant in every round, in shuffled order, within the same processes, with the same tensors
kept between calls. A figure is gloo's seconds over ours, round by round: above 1, ours is faster.
"Bare" is our algorithm with the same messages, posted on torch.distributed with nothing recorded
and nothing checked: the floor.
"""

import random
import time

import torch
import torch.distributed as dist
from rounds import publish, ratios, spread

from minidl import Comm, Recv, World
from minidl.collectives import doubling, ring

MIB = 1 << 20
CASES = [  # collective, bytes, calls per timing, (name, ours), wanted
    ("all_reduce", 64 * MIB, 2, ("ring", ring.all_reduce), 0.95),
    ("all_reduce", 16 * MIB, 4, ("ring", ring.all_reduce), 0.95),
    ("all_reduce", 4 * MIB, 10, ("ring", ring.all_reduce), 0.7),
    ("reduce_scatter", 64 * MIB, 2, ("ring", ring.reduce_scatter), 2.5),
    ("reduce_scatter", 4 * MIB, 10, ("ring", ring.reduce_scatter), 1.0),
    ("all_gather", 64 * MIB, 2, ("ring", ring.all_gather), 2.5),
    ("all_gather", 4 * MIB, 10, ("ring", ring.all_gather), 1.0),
    ("all_reduce", 256 << 10, 40, ("recursive doubling", doubling.all_reduce), 1.5),
    ("all_reduce", 16 << 10, 80, ("recursive doubling", doubling.all_reduce), 1.5),
    ("all_reduce", 64, 150, ("recursive doubling", doubling.all_reduce), 1.5),
]
NOTE = (
    "Ours is recorded and guarded like every message of minidl; bare is the same algorithm on the "
    "same messages without. Bytes are those of the whole tensor. Four ranks share two cores here. "
    "gloo's loop threads do not interrupt others (`preemption.py`), which makes gloo's own "
    "collectives faster, too. If ours misses a wanted figure, at 16 MiB and more, bare misses "
    "it as well: gloo adds and sends piece by piece in C++, and cutting our chunks into pieces did "
    "not pay."
)


class Bare:
    """As much of a Comm as the algorithms here need, straight on torch's process group."""

    left = Comm.left
    right = Comm.right
    send = Comm.send
    exchange = Comm.exchange

    def __init__(self, rank, world_size):
        self.rank = rank
        self.world_size = world_size
        self.group = dist.distributed_c10d._get_default_group()

    def start(self, ops):
        return BareWork([self._post(op) for op in ops])

    def _post(self, op):
        if type(op) is Recv:
            y = torch.empty_like(op.like) if op.into is None else op.into
            return self.group.recv([y], op.source, 0), (y,)
        return self.group.send([op.tensor], op.to, 0), ()


class BareWork:
    """What is under way on a Bare."""

    def __init__(self, posted):
        self.posted = posted

    def wait(self):
        received = ()
        for work, result in self.posted:
            work.wait()
            received += result
        return received


def compete(collective, nbytes, calls, ours, n_rounds, comm):
    """Seconds per call: {name: [one per round]}."""
    n = comm.world_size
    order = random.Random(0)
    result = nbytes // 4  # elements
    elements = result
    if collective == "all_gather":
        elements = result // n
    elif collective == "reduce_scatter":
        result = elements // n
    x = torch.ones(elements)
    # Both keep their tensors between calls, so nothing is copied or allocated.
    keeps = {}
    if "into" in ours.__code__.co_varnames:
        keeps["into"] = torch.empty(result)
    output = None if collective == "all_reduce" else torch.empty(result)
    own = x.clone()  # so that nothing is copied in the loop
    bare = Bare(comm.rank, n)
    loops = {
        "ours": lambda: ours(x, comm, **keeps),
        "bare": lambda: ours(x, bare, **keeps),
        "gloo": lambda: comm.native(collective, own, output).wait(),
    }
    times = {name: [] for name in loops}
    for round_number in range(n_rounds + 1):
        for name in order.sample(list(loops), len(loops)):
            comm.barrier()
            began = time.perf_counter()
            for _ in range(calls):
                loops[name]()
            if round_number:  # the first round warms up
                times[name].append((time.perf_counter() - began) / calls)
    return times


def main():
    """Measure and publish."""
    rows = []
    for n in (2, 4):
        with World(n) as world:
            for collective, nbytes, calls, (name, ours), wanted in CASES:
                if name == "recursive doubling" and n > 2:
                    continue
                times = world.run(
                    compete, collective, nbytes, calls, ours, 11, timeout=300
                ).results[0]
                rows.append(
                    [
                        n,
                        collective,
                        f"{nbytes:,}",
                        name,
                        *(spread(times[who], 1e-3) for who in ("gloo", "ours")),
                        *(
                            spread(ratios(times["gloo"], times[who]), digits=2)
                            for who in ("bare", "ours")
                        ),
                        wanted,
                    ]
                )
    publish(
        "Collectives against gloo's own",
        [
            "ranks",
            "collective",
            "bytes",
            "ours",
            "gloo, ms",
            "ours, ms",
            "gloo / bare",
            "gloo / ours",
            "wanted",
        ],
        rows,
        NOTE,
    )


if __name__ == "__main__":
    main()
