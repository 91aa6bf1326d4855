"""Every way to train follows one protocol, so that a loop does not know which one it runs."""

import pytest
import torch

from minidl import RankError, VirtualWorld
from minidl.parallel.data import BucketedDataParallel, DataParallel, NaiveDataParallel
from minidl.parallel.protocol import OneProcess, ParallelModel
from minidl.parallel.zero import Zero1, Zero2, Zero3

WAYS = (NaiveDataParallel, BucketedDataParallel, DataParallel, Zero1, Zero2, Zero3)


def train(way, comm, max_norm=None):
    """Two steps of two microbatches; what one process would say and end with."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
    parallel = way(model, comm, make_optimizer=torch.optim.Adam)
    assert isinstance(parallel, ParallelModel)
    x = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
    own = x if way is OneProcess else x.chunk(comm.world_size)[comm.rank]
    norms = []
    for _ in range(2):
        first, last = own.chunk(2)
        with parallel.no_sync():
            (parallel(first) ** 2).mean().div(2).backward()
        (parallel(last) ** 2).mean().div(2).backward()
        norms.append(parallel.step(max_norm))
    return norms, parallel.full_state_dict()


@pytest.mark.parametrize("max_norm", [None, 0.05])
@pytest.mark.parametrize("way", WAYS)
def test_one_loop_trains_by_every_way_what_one_process_trains(way, max_norm):
    ((norms, expected),) = VirtualWorld(1).run(train, OneProcess, max_norm).results
    for found_norms, found in VirtualWorld(3).run(train, way, max_norm).results:
        assert found_norms == pytest.approx(norms) if max_norm else found_norms == [None, None]
        assert list(found) == list(expected)
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


def on_a_mesh(outer, inner):
    """A way of training on N ranks, an even number: rows of two ranks, columns of N / 2."""

    def way(model, comm, make_optimizer):
        ranks = list(range(comm.world_size))
        row = comm.group(ranks[comm.rank // 2 * 2 :][:2])
        column = comm.group(ranks[comm.rank % 2 :: 2])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + comm.rank)  # only rank 0 has the right weights at first
        return outer(inner(model, row, make_optimizer), column)

    return way


@pytest.mark.parametrize("N", [2, 4, 6])
@pytest.mark.parametrize("inner", WAYS)
@pytest.mark.parametrize("outer", WAYS[:3])
def test_ways_compose_on_a_mesh_of_rows_and_columns(outer, inner, N):
    ((norms, expected),) = VirtualWorld(1).run(train, OneProcess, 0.05).results
    way = on_a_mesh(outer, inner)
    for found_norms, found in VirtualWorld(N).run(train, way, 0.05).results:
        assert found_norms == pytest.approx(norms)
        assert list(found) == list(expected)
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


def test_a_mesh_on_real_processes(worlds):
    ((_, expected),) = VirtualWorld(1).run(train, OneProcess).results
    for _, found in worlds(4).run(train, on_a_mesh(DataParallel, Zero2)).results:
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


def test_a_frozen_layer_is_alike_on_all_rows_of_a_mesh():
    def work(comm, inner):
        torch.manual_seed(comm.rank)
        model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
        model[0].requires_grad_(False)
        way = on_a_mesh(DataParallel, inner)
        parallel = way(model, comm, torch.optim.SGD)
        return parallel(torch.ones(1, 3)).detach(), parallel.full_state_dict()["0.weight"]

    for inner in WAYS:
        outputs, weights = zip(*VirtualWorld(4).run(work, inner).results)
        assert all(torch.equal(output, outputs[0]) for output in outputs)
        assert all(torch.equal(weight, weights[0]) for weight in weights)


def test_a_mesh_sends_what_both_axes_send():
    """The model within rows, the shards of gradients within columns, in bytes per rank."""

    def work(comm):
        model = torch.nn.Linear(4, 4, bias=False)
        way = on_a_mesh(DataParallel, Zero1)
        parallel = way(model, comm, torch.optim.SGD)
        parallel(torch.ones(1, 4)).sum().backward()
        with comm.span("step"):
            parallel.step()

    n = 4 * 4 * 4  # bytes of the parameters
    trace = VirtualWorld(4).run(work).trace
    sent = sum(e.nbytes for e in trace.where(kind="send", rank=0) if e.span == "step")
    # Reduce-scatter and all-gather of n bytes over two ranks, all-reduce of n / 2 over two ranks.
    assert sent == n // 2 + n // 2 + n // 2


@pytest.mark.parametrize("outer", [Zero1, Zero2, Zero3])
def test_a_way_that_shards_is_not_put_around_another_one(outer):
    def work(comm):
        outer(DataParallel(torch.nn.Linear(2, 2), comm), comm, torch.optim.SGD)

    with pytest.raises(RankError, match=rf"DataParallel\({outer.__name__}\(model, row"):
        VirtualWorld(2).run(work)


def test_one_process_sends_nothing():
    assert sum(VirtualWorld(3).run(train, OneProcess).trace.sent()) == 0


def test_a_step_without_an_optimizer_is_refused_in_words():
    def forgotten(comm):
        DataParallel(torch.nn.Linear(2, 2), comm).step()

    with pytest.raises(RankError, match="DataParallel has no optimizer for step.*make_optimizer"):
        VirtualWorld(2).run(forgotten)
