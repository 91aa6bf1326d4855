"""All-reduce between GPUs: NCCL's own against a ring of single messages over NCCL.

    python benchmarks/gpus.py

Needs two GPUs, and says so where there are fewer. Both are timed by events on the GPU, as the spans
of a record are: from the moment when the GPU comes to the operation to the moment when it may go
on. A figure is NCCL's seconds over the ring's, round by round. Every message of the ring waits
until both sides have posted it, and for the program to notice that the GPU is through: what that
costs is what small tensors show.
"""

import random

import torch
from rounds import publish, ratios, spread

from minidl import World
from minidl.collectives import native, ring
from minidl.runtime.processes.backend import choose, look

ROUNDS, REPEATS = 11, 5
SIZES = [1 << 12, 1 << 20, 1 << 24, 1 << 28]  # bytes
WAYS = {"NCCL": native.all_reduce, "ring": ring.all_reduce}


def compete(nbytes, comm):
    """All-reduces in shuffled order, each in a span of its name."""
    x, order = torch.ones(nbytes // 4, device=comm.device), random.Random(0)
    for _ in range(ROUNDS + 1):
        for name in order.sample(list(WAYS), len(WAYS)):
            comm.barrier()
            with comm.span(name):
                for _ in range(REPEATS):
                    WAYS[name](x, comm)


def seconds(trace, name):
    """Seconds of an all-reduce, one figure a round; the first round warms up."""
    spans = [event for event in trace.where(rank=0, kind="span") if event.span == name]
    return [(event.done - event.posted) / REPEATS for event in spans][1:]


def main():
    """Measure and publish, or say why not."""
    if choose(2, look()) != "nccl":
        print(f"skipped: it needs 2 GPUs and a torch with NCCL, and this machine has {look().gpus}")
        return
    rows = []
    with World(2) as world:
        for nbytes in SIZES:
            trace = world.run(compete, nbytes, timeout=300).trace
            times = {name: seconds(trace, name) for name in WAYS}
            rows.append(
                [
                    f"{nbytes:,}",
                    *(spread(times[name], 1e-3) for name in WAYS),
                    spread(ratios(times["NCCL"], times["ring"]), digits=2),
                ]
            )
    publish(
        f"All-reduce between 2 GPUs ({torch.cuda.get_device_name(0)})",
        ["bytes", "NCCL, ms", "ring, ms", "NCCL / ring"],
        rows,
        "Timed by events on the GPU. Every message is recorded and guarded.",
    )


if __name__ == "__main__":
    main()
