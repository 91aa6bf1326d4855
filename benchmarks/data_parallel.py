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
from minidl.collectives import native
from minidl.parallel.data import BucketedDataParallel, DataParallel, NaiveDataParallel
from minidl.parallel.protocol import OneProcess
from minidl.parallel.zero import Zero1, Zero2, Zero3
from minidl.zoo.models import GPT, next_token_loss

RATE = 1e-3
ROUNDS = 11
CASES = [(8, 128, 2), (1, 32, 8)]  # sequences a rank, tokens in each, steps a timing


def adam(parameters):
    return torch.optim.AdamW(list(parameters), lr=RATE)


def is_block(name, module):
    """The units of the sharded contestants: the blocks of the GPT."""
    return name.startswith("blocks.") and name.count(".") == 1


def ours(way, **how):
    """comm -> the GPT, trained by one of our classes; all of them follow one protocol."""
    return lambda comm: way(GPT().to(comm.device), comm, make_optimizer=adam, **how)


class Torchs:
    """A model of torch's, with its optimizer."""

    def __init__(self, model):
        self.model = model
        self.optimizer = adam(model.parameters())

    def __call__(self, tokens):
        return self.model(tokens)

    def step(self):
        self.optimizer.step()
        self.optimizer.zero_grad()


def torch_ddp(comm):
    """torch's DistributedDataParallel."""
    return Torchs(torch.nn.parallel.DistributedDataParallel(GPT().to(comm.device)))


def torch_fully_shard(comm):
    """torch's fully_shard, with the units of our sharded contestants."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(comm.device.type, (comm.world_size,))
    model = GPT().to(comm.device)
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return Torchs(model)


CONTESTANTS = {
    "no communication": ours(OneProcess),
    "torch DDP": torch_ddp,
    "torch fully_shard": torch_fully_shard,
    "naive": ours(NaiveDataParallel),
    "bucketed": ours(BucketedDataParallel),
    "overlapped, ring": ours(DataParallel),
    "overlapped, native": ours(DataParallel, all_reduce=native.all_reduce),
    "Zero1": ours(Zero1, is_unit=is_block),
    "Zero2": ours(Zero2, is_unit=is_block),
    "Zero3": ours(Zero3, is_unit=is_block),
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
                next_token_loss(trainers[name], windows).backward()
                trainers[name].step()
            if comm.device.type == "cuda":
                torch.cuda.synchronize()
            # Alone, the two ranks do not wait for each other: the slower one counts.
            if name == "no communication":
                comm.barrier()
            # The first round warms up.
            if round_number > 0:
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


COLUMNS = [
    "contestant",
    "against",
    "contestant, ms a step",
    "against, ms a step",
    "against / contestant",
    "wanted",
]


def main(only=()):
    """Measure and publish, a table a case. only: (sequences, tokens) of one case."""
    for case, (B, T, steps) in enumerate(CASES):
        if only and only != (B, T):
            continue
        with World(2) as world:
            times = world.run(compete, B, T, steps, ROUNDS, timeout=580).results[0]
            backend = world.backend
        rows = []
        for (against, name), wanted in WANTED.items():
            ratio = spread(ratios(times[against], times[name]), digits=2)
            milliseconds = spread(times[name], 1e-3)
            theirs = spread(times[against], 1e-3)
            rows.append([name, against, milliseconds, theirs, ratio, wanted[case]])
        note = (
            f"GPT of 4 layers, width 256, 3.7 M parameters, AdamW; {backend}, one thread a rank. "
            'Every message of ours is recorded and guarded. Against "no communication" is weak '
            "scaling from 1 to 2 ranks. " + NOTES.get((B, T), "")
        )
        publish(f"Training on 2 ranks, batch {B} x {T} a rank", COLUMNS, rows, note)


NOTES = {  # of (sequences, tokens)
    (1, 32): (
        "Two cores hold two ranks, so a background thread takes its time from the computation: "
        "overlap hides waiting, and here there is little of it. In a trial of 11 rounds, "
        "overlapped with buckets of 4 MiB and fresh memory for the mean reached 0.92, without "
        "fresh memory 0.94, with buckets of 8 MiB 0.97."
    ),
    (8, 128): (
        "Wanted of weak scaling: within 8 %, which is 0.93. Ours has missed it by two to three "
        "points, torch DDP by none or one: adding and copying 15 MB is work for both cores."
    ),
}


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])))
