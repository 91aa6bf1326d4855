"""The textbook versions equal one process and the full versions, in values and in bytes."""

import pytest
import torch

from minidl import VirtualWorld
from minidl.collectives import ring
from minidl.parallel.data import (
    DataParallel,
    NaiveDataParallel,
    textbook_average_gradients,
    textbook_overlapped_backward,
)
from minidl.parallel.protocol import OneProcess
from minidl.parallel.zero1 import Zero1, textbook_zero1_step
from minidl.parallel.zero2 import Zero2, textbook_zero2_step
from minidl.parallel.zero3 import Zero3, textbook_zero3_linear
from tests.deadlines import generous

N_FEATURES = 12
LAYERS = 3
NEAR = dict(rtol=1e-5, atol=1e-6)  # float32 sums in another order


def net():
    """Linear layers without biases, whose parameters split over 1, 2, 3 and 4 ranks."""
    torch.manual_seed(0)
    modules = []
    for _ in range(LAYERS):
        modules += [torch.nn.Linear(N_FEATURES, N_FEATURES, bias=False), torch.nn.Tanh()]
    return torch.nn.Sequential(*modules)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.5, momentum=0.9)


def part_of_batch(rank=0, world_size=1):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, N_FEATURES, generator=generator)
    y = torch.randn(12, N_FEATURES, generator=generator)
    return x.chunk(world_size)[rank], y.chunk(world_size)[rank]


def loss_of(model, x, y):
    return ((model(x) - y) ** 2).mean()


def own_shard(vector, comm):
    return torch.nn.Parameter(vector.detach().chunk(comm.world_size)[comm.rank].clone())


def data_parallel(comm):
    model, (x, y) = net(), part_of_batch(comm.rank, comm.world_size)
    optimizer = sgd(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        with comm.span("messages"):
            textbook_average_gradients(model, comm)
        optimizer.step()
    return model.state_dict()


def overlapped(comm):
    model, (x, y) = net(), part_of_batch(comm.rank, comm.world_size)
    optimizer = sgd(model.parameters())
    buckets = [[parameter] for parameter in reversed(list(model.parameters()))]
    for _ in range(2):
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        with comm.span("messages"):
            textbook_overlapped_backward(loss, buckets, comm)
        optimizer.step()
    return model.state_dict()


def zero1(comm):
    model, (x, y) = net(), part_of_batch(comm.rank, comm.world_size)
    shard = own_shard(torch.nn.utils.parameters_to_vector(model.parameters()), comm)
    optimizer = sgd([shard])
    for _ in range(2):
        model.zero_grad()
        loss_of(model, x, y).backward()
        with comm.span("messages"):
            textbook_zero1_step(model, shard, optimizer, comm)
    return model.state_dict()


def zero2(comm):
    model, (x, y) = net(), part_of_batch(comm.rank, comm.world_size)
    shard_of = {p: own_shard(p.flatten(), comm) for p in model.parameters()}
    optimizer = sgd(shard_of.values())
    for _ in range(2):
        loss = loss_of(model, x, y)
        with comm.span("messages"):
            textbook_zero2_step(loss, shard_of, optimizer, comm)
        assert all(p.grad is None for p in model.parameters())
    return model.state_dict()


def zero3(comm):
    model, (x, y) = net(), part_of_batch(comm.rank, comm.world_size)
    shards = [own_shard(p.T.flatten(), comm) for p in model.parameters()]
    optimizer = sgd(shards)

    def forward(x):
        for shard in shards:
            x = torch.tanh(textbook_zero3_linear(x, shard, comm))
        return x

    for _ in range(2):
        optimizer.zero_grad()
        with comm.span("messages"):
            loss_of(forward, x, y).backward()
        optimizer.step()
    state = {}
    for name, shard in zip(model.state_dict(), shards):
        whole = ring.all_gather(shard, comm)
        state[name] = whole.view(N_FEATURES, N_FEATURES).T
    return state


FULL = {
    data_parallel: NaiveDataParallel,
    overlapped: lambda *args, **how: DataParallel(*args, capacity=1, **how),
    zero1: Zero1,
    zero2: Zero2,
    zero3: Zero3,
}


def full(way, comm):
    """The same with the version that has options, through the protocol of all ways."""
    parallel, (x, y) = (
        way(net(), comm, make_optimizer=sgd),
        part_of_batch(comm.rank, comm.world_size),
    )
    for _ in range(2):
        with comm.span("messages"):
            loss_of(parallel, x, y).backward()
            parallel.step()
    return parallel.full_state_dict()


def one_process():
    alone, (x, y) = OneProcess(net(), make_optimizer=sgd), part_of_batch()
    for _ in range(2):
        loss_of(alone, x, y).backward()
        alone.step()
    return alone.full_state_dict()


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], **NEAR)


@pytest.mark.parametrize("N", [1, 2, 3, 4])
@pytest.mark.parametrize("textbook", FULL)
def test_equal_to_one_process_and_to_the_full_version_and_as_cheap(textbook, N):
    run = VirtualWorld(N).run(textbook)
    reference = VirtualWorld(N).run(full, FULL[textbook])
    for found, wanted in zip(run.results, reference.results):
        assert_same(found, one_process())
        assert_same(found, wanted)
    sent, expected = (
        sum(e.nbytes for e in r.trace.where(kind="send") if e.span == "messages")
        for r in (run, reference)
    )
    assert sent == expected


@pytest.mark.parametrize("textbook", FULL)
def test_on_real_processes(worlds, textbook):
    for found in worlds(3).run(textbook, timeout=generous(20)).results:
        assert_same(found, one_process())
