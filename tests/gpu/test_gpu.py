"""The same functions on GPUs: NCCL between them, the GPU's own clock, deadlocks and deaths. Skipped
where there is none.
"""

import os
import signal

import pytest
import torch

from minidl import DeadlockError, RankDied, World
from minidl.collectives import doubling, naive, native, ring, tree
from minidl.parallel.data import DataParallel
from minidl.zoo.models import GPT, next_token_loss
from tests.deadlines import generous


def test_a_rank_has_the_gpu_of_its_number_and_results_come_back_in_memory(gpus):
    world = gpus(1)
    assert repr(world) == "World(1 rank, nccl)"
    run = world.run(
        lambda x, comm: (
            str(comm.device),
            str((x.to(comm.device) + 1).device),
            x.to(comm.device) + 1,
        ),
        torch.zeros(2),
    )
    ((device, there, back),) = run.results
    assert device == there == "cuda:0" and back.device.type == "cpu" and back.tolist() == [1, 1]


def test_a_span_is_as_long_as_the_gpu_needed(gpus):
    def train(comm):
        x = torch.randn(4096, 4096, device=comm.device)
        x @ x
        torch.cuda.synchronize()
        with comm.span("work"):
            for _ in range(20):
                x = x @ x
        return comm.now()

    world = gpus(1)
    (span,) = world.run(train).trace.where(kind="span")
    assert span.done - span.posted > 20 * 2 * 4096**3 / 2e15  # no GPU makes 2 PFLOP/s of these
    assert 0 < span.posted < span.done


def test_two_ranks_on_one_gpu_stay_on_gloo(gpus):
    gpus(1)
    with World(torch.cuda.device_count() + 1) as world:
        assert (
            "gloo" in repr(world) and world.run(lambda comm: comm.device.type).results[0] == "cpu"
        )
    with pytest.raises(ValueError, match="two ranks on one"):
        World(torch.cuda.device_count() + 1, backend="nccl")


def sums(comm):
    x = torch.arange(1000.0, device=comm.device) + comm.rank
    job = comm.background(ring.all_reduce, x, comm)
    totals = [
        way(x, comm)
        for way in (
            ring.all_reduce,
            tree.all_reduce,
            naive.all_reduce,
            doubling.all_reduce,
            native.all_reduce,
        )
    ]
    comm.barrier()  # in memory, over gloo
    return [*totals, job.wait(), ring.all_reduce(x.cpu(), comm)], all(
        total.device == comm.device for total in totals
    )


def test_collectives_between_gpus_equal_those_in_memory(gpus):
    for totals, all_there in gpus(2).run(sums).results:
        assert all_there and all(
            torch.equal(total, 2 * torch.arange(1000.0) + 1) for total in totals
        )


def test_receives_may_be_posted_long_before_and_both_sides_may_send_first(gpus):
    def both_send(comm):
        x = torch.full((1 << 22,), float(comm.rank), device=comm.device)
        return comm.exchange(x, to=comm.right, source=comm.left)[0].item()

    assert gpus(2).run(both_send).results == [1.0, 0.0]


def test_a_deadlock_between_gpus_is_told_and_the_ranks_work_on(gpus):
    world = gpus(2)
    with pytest.raises(DeadlockError, match="on a GPU"):
        world.run(lambda comm: comm.recv(torch.ones(3, device=comm.device), source=comm.left))
    assert world.run(sums).results[0][1]


def test_a_death_in_the_middle_of_a_collective_of_torch_ends_the_others(gpus):
    def die(comm):
        x = torch.ones(4, device=comm.device)
        torch.distributed.all_reduce(x)
        if comm.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        torch.distributed.all_reduce(x)
        return x.sum().item()  # waits for the GPU, and that for rank 1

    world = gpus(2)
    with pytest.raises(RankDied, match="rank 1"):
        world.run(die)
    assert world.run(sums).results[0][1]


def test_data_parallel_on_gpus_follows_torchs(gpus):
    def train(way, comm):
        torch.manual_seed(0)
        model = GPT().to(comm.device)
        model = way(model, comm)
        windows = torch.randint(
            1024, (2, 33), generator=torch.Generator().manual_seed(comm.rank)
        ).to(comm.device)
        next_token_loss(model, windows).backward()
        getattr(model, "synchronise", lambda: None)()
        return [p.grad.cpu() for p in model.parameters()]

    world = gpus(2)
    ours = world.run(train, DataParallel, timeout=generous(120)).results[0]
    torchs = world.run(
        train,
        lambda model, comm: torch.nn.parallel.DistributedDataParallel(model),
        timeout=generous(120),
    ).results[0]
    for a, b in zip(ours, torchs):  # sums in another order
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
