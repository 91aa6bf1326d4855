"""Our data parallel and sharded training against torch's, step by step.

    python benchmarks/data_parallel.py              all cases; about five minutes
    python benchmarks/data_parallel.py 1 32         one of them

Two ranks with one thread each train the zoo's GPT (4 layers, width 256, 3.7 M parameters). Every
contestant takes a few steps in every round, in shuffled order, in the same two processes; a figure
is torch's seconds over ours, round by round: above 1, ours is faster. "no communication" is the
same loop on each rank alone: what weak scaling is measured against. On a machine with two GPUs the
ranks take those, NCCL carries the messages, and the page says so.
"""

import random
import sys
import time

import torch
from rounds import publish, ratios, spread

from minidl import World
from minidl.collectives import native, ring
from minidl.parallel.data import BucketedDataParallel, DataParallel, NaiveDataParallel
from minidl.parallel.zero import Zero1, Zero2, Zero3
from minidl.zoo.models import GPT, next_token_loss

RATE = 1e-3
ROUNDS = 11
CASES = [(8, 128, 2), (1, 32, 8)]  # sequences a rank, tokens in each, steps a timing


def adam(parameters):
    return torch.optim.AdamW(list(parameters), lr=RATE)


class Alone:
    """One rank, no communication."""

    def __init__(self, comm):
        self.model = GPT().to(comm.device)
        self.optimizer = adam(self.model.parameters())

    def step(self, windows):
        next_token_loss(self.model, windows).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


class Ours(Alone):
    """One of our data parallel classes."""

    def __init__(self, comm, way, **how):
        super().__init__(comm)
        self.parallel = way(self.model, comm, **how)

    def step(self, windows):
        next_token_loss(self.parallel, windows).backward()
        self.parallel.synchronise()
        self.optimizer.step()
        self.optimizer.zero_grad()


class Torchs(Alone):
    """torch's DistributedDataParallel."""

    def __init__(self, comm):
        super().__init__(comm)
        self.model = torch.nn.parallel.DistributedDataParallel(self.model)


class Sharded:
    """One of our ZeRO classes; a unit is a block of the GPT."""

    def __init__(self, comm, way):
        self.zero = way(
            GPT().to(comm.device),
            comm,
            adam,
            is_unit=lambda name, module: name.startswith("blocks.") and name.count(".") == 1,
        )

    def step(self, windows):
        next_token_loss(self.zero, windows).backward()
        self.zero.step()


class FullySharded(Alone):
    """torch's fully_shard, with the same units."""

    def __init__(self, comm):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(comm.device.type, (comm.world_size,))
        self.model = GPT().to(comm.device)
        for block in self.model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self.optimizer = adam(self.model.parameters())


CONTESTANTS = {
    "no communication": Alone,
    "torch DDP": Torchs,
    "torch fully_shard": FullySharded,
    "naive": lambda comm: Ours(comm, NaiveDataParallel, all_reduce=ring.all_reduce),
    "bucketed": lambda comm: Ours(comm, BucketedDataParallel, all_reduce=ring.all_reduce),
    "overlapped, ring": lambda comm: Ours(comm, DataParallel, all_reduce=ring.all_reduce),
    "overlapped, native": lambda comm: Ours(comm, DataParallel, all_reduce=native.all_reduce),
    "Zero1": lambda comm: Sharded(comm, Zero1),
    "Zero2": lambda comm: Sharded(comm, Zero2),
    "Zero3": lambda comm: Sharded(comm, Zero3),
}


def compete(B, T, steps, n_rounds, comm):
    """Seconds a step: {name: [one per round]}."""
    generator = torch.Generator().manual_seed(comm.rank)
    windows = torch.randint(1024, (B, T + 1), generator=generator).to(comm.device)
    trainers = {name: make(comm) for name, make in CONTESTANTS.items()}
    order = random.Random(0)
    times = {name: [] for name in trainers}
    for round_number in range(n_rounds + 1):
        for name in order.sample(list(trainers), len(trainers)):
            comm.barrier()
            began = time.perf_counter()
            for _ in range(steps):
                trainers[name].step(windows)
            if comm.device.type == "cuda":
                torch.cuda.synchronize()
            if name == "no communication":
                comm.barrier()  # the slower of the two
            if round_number:  # the first round warms up
                times[name].append((time.perf_counter() - began) / steps)
    return times


WANTED = {  # (against, contestant): for the two cases
    ("torch DDP", "overlapped, ring"): ("not slower", "0.95"),
    ("torch DDP", "overlapped, native"): ("", ""),
    ("torch DDP", "bucketed"): ("", ""),
    ("torch DDP", "naive"): ("", ""),
    ("torch DDP", "Zero1"): ("not slower", "0.85"),
    ("torch DDP", "Zero2"): ("", ""),
    ("torch fully_shard", "Zero3"): ("0.9", "0.75"),
    ("torch DDP", "torch fully_shard"): ("", ""),
    ("no communication", "overlapped, ring"): ("0.93", ""),
    ("no communication", "torch DDP"): ("", ""),
}


def main(only=()):
    """Measure and publish, a table a case. only: (sequences, tokens) of one case."""
    for case, (B, T, steps) in enumerate(CASES):
        if only and only != (B, T):
            continue
        with World(2) as world:
            times = world.run(compete, B, T, steps, ROUNDS, timeout=580).results[0]
            backend = world.backend
        rows = [
            [
                name,
                against,
                spread(times[name], 1e-3),
                spread(times[against], 1e-3),
                spread(ratios(times[against], times[name]), digits=2),
                wanted[case],
            ]
            for (against, name), wanted in WANTED.items()
        ]
        publish(
            f"Training on 2 ranks, batch {B} x {T} a rank",
            [
                "contestant",
                "against",
                "contestant, ms a step",
                "against, ms a step",
                "against / contestant",
                "wanted",
            ],
            rows,
            f"GPT of 4 layers, width 256, 3.7 M parameters, AdamW; {backend}, one thread a rank. "
            "Every message of ours is recorded and guarded. "
            'Against "no communication" is weak scaling from 1 to 2 ranks. ' + NOTES[B, T],
        )


NOTES = {
    (1, 32): (
        "Two cores hold two ranks, so a background thread takes its time from the computation: "
        "overlap hides waiting, and here there is little of it. In a trial of 11 rounds, "
        "overlapped with buckets of 4 MiB and fresh memory for the mean reached 0.92, without "
        "fresh memory 0.94, with buckets of 8 MiB 0.97."
    ),
    (8, 128): (
        "Wanted of weak scaling: within 8 %, which is 0.93. Ours has missed it by two to three "
        "points, torch DDP by none or one: adding and copying 15 MB is work for the same two cores."
    ),
}


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])))
