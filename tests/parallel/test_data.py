"""N ranks end with the model that one process would have, by each of the three ways,
at the cost that theory says.
"""

import pytest
import torch

from minidl import Crash, RankDied, RankError, Span, Uniform, VirtualWorld
from minidl.collectives import doubling, native, ring, tree
from minidl.parallel.data import BucketedDataParallel, DataParallel, NaiveDataParallel, weighted
from minidl.plans.buckets import buckets

WAYS = (NaiveDataParallel, BucketedDataParallel, DataParallel)
NEAR = dict(rtol=1e-5, atol=1e-6)  # float32 sums in another order


class Net(torch.nn.Module):
    """Three layers; the second is used twice, the first has a frozen bias,
    and one more is never used.
    """

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.twice, self.last = (
            torch.nn.Linear(6, 5),
            torch.nn.Linear(5, 5),
            torch.nn.Linear(5, 3),
        )
        self.never = torch.nn.Linear(2, 2)
        self.first.bias.requires_grad_(False)
        self.register_buffer("scale", torch.ones(5))

    def forward(self, x):
        return self.last(torch.tanh(self.twice(torch.tanh(self.twice(self.first(x) * self.scale)))))


def batch(rows=12):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(rows, 6, generator=generator), torch.randint(3, (rows,), generator=generator)


def loss_of(model, x, y):
    return torch.nn.functional.cross_entropy(model(x), y)


def alone(steps=3, rows=12):
    """What one process does with the whole batch:
    the weights after some steps of SGD with momentum.
    """
    model, (x, y) = Net(), batch(rows)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        optimizer.step()
    return state(model)


def state(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def train(way, comm, steps=3, rows=12, all_reduce=ring.all_reduce, **kwargs):
    """The same on N ranks, each with its part of the batch;
    rank 0 has other weights than the rest at first.
    """
    model, (x, y) = Net(), batch(rows)
    if comm.rank > 0:
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.mul_(3)
    parallel = way(model, comm, all_reduce=all_reduce, unused=True, **kwargs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    own = torch.arange(rows).tensor_split(comm.world_size)[comm.rank]
    for _ in range(steps):
        optimizer.zero_grad()
        loss = weighted(loss_of(parallel, x[own], y[own]), len(own), comm)
        loss.backward()
        parallel.synchronise()
        optimizer.step()
    return state(model), model.never.weight.grad


@pytest.mark.parametrize("N", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("way", WAYS)
def test_every_rank_has_the_weights_of_one_process(way, N):
    for weights, unused in VirtualWorld(N).run(train, way).results:
        torch.testing.assert_close(weights, alone(), **NEAR)
        assert unused is None


@pytest.mark.parametrize("all_reduce", [tree.all_reduce, doubling.all_reduce, ring.all_reduce])
def test_any_all_reduce_will_do_and_all_ranks_have_the_same_bits(all_reduce):
    results = VirtualWorld(3).run(train, DataParallel, all_reduce=all_reduce, capacity=64).results
    assert all(torch.equal(weights, results[0][0]) for weights, _ in results)
    torch.testing.assert_close(results[0][0], alone(), **NEAR)


@pytest.mark.parametrize("all_reduce", [ring.all_reduce, native.all_reduce])
@pytest.mark.parametrize("way", WAYS)
def test_on_real_processes(worlds, way, all_reduce):
    kwargs = {} if way is NaiveDataParallel else {"capacity": 64}
    for weights, _ in worlds(3).run(train, way, all_reduce=all_reduce, **kwargs).results:
        torch.testing.assert_close(weights, alone(), **NEAR)


def one_step(way, capacity, comm):
    """Only the gradients' all-reduce, in a span of its own."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    parallel = way(model, comm, **({} if way is NaiveDataParallel else {"capacity": capacity}))
    with comm.span("step"):
        parallel(torch.ones(2, 8)).sum().backward()
        parallel.synchronise()


@pytest.mark.parametrize(
    "way, calls", [(NaiveDataParallel, 4), (BucketedDataParallel, 2), (DataParallel, 2)]
)
def test_it_costs_one_all_reduce_a_parameter_or_a_bucket(way, calls):
    sizes = [4 * n for n in (64, 8, 32, 4)]
    assert len(buckets(sizes, 288)) == 2
    trace = VirtualWorld(4).run(one_step, way, 288).trace
    sends = [e for e in trace.where(kind="send") if e.span == "step"]
    assert len(sends) == 4 * calls * 2 * (4 - 1)
    assert sum(e.nbytes for e in sends) == 2 * (4 - 1) * sum(sizes)


class Slow(torch.autograd.Function):
    """A layer whose backward pass takes ten virtual milliseconds."""

    @staticmethod
    def forward(ctx, x, comm):
        ctx.comm = comm
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        ctx.comm.compute(0.01)
        return dy, None


def slow_step(way, comm):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(8, 8) for _ in range(4)]
    parallel = way(torch.nn.Sequential(*layers), comm, capacity=4 * 72)
    x = torch.ones(2, 8)
    for layer in layers:
        x = Slow.apply(layer(x), comm)
    began = comm.now()
    x.sum().backward()
    parallel.synchronise()
    return comm.now() - began, [p.grad.clone() for p in parallel.parameters()]


def test_communication_hides_behind_the_backward_pass_and_the_gradients_are_the_same():
    world = VirtualWorld(2, network=Uniform(2e-3, 0.0))  # an all-reduce of two ranks: 2 steps, 4 ms
    late, soon = (
        world.run(slow_step, way).results[0] for way in (BucketedDataParallel, DataParallel)
    )
    assert late[0] == pytest.approx(0.040 + 4 * 0.004) and soon[0] == pytest.approx(0.040 + 0.004)
    assert all(torch.equal(a, b) for a, b in zip(late[1], soon[1]))


def accumulate(way, comm):
    model, (x, y) = Net(), batch()
    parallel = way(model, comm, unused=True)
    own = torch.arange(12).chunk(comm.world_size)[comm.rank].chunk(3)
    with comm.span("inside"), parallel.no_sync():
        for rows in own[:2]:
            (loss_of(parallel, x[rows], y[rows]) / 3).backward()
            parallel.synchronise()
    with comm.span("last"):
        (loss_of(parallel, x[own[2]], y[own[2]]) / 3).backward()
        parallel.synchronise()
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize("way", WAYS)
def test_accumulated_gradients_travel_once(way):
    run = VirtualWorld(2).run(accumulate, way)
    assert not [e for e in run.trace.where(kind="send") if e.span == "inside"]
    model, (x, y) = Net(), batch()
    loss_of(model, x, y).backward()
    for ours, parameter in zip(run.results[1], model.parameters()):
        assert (ours is None) == (parameter.grad is None)
        if ours is not None:
            torch.testing.assert_close(ours, parameter.grad, **NEAR)


def clipped(comm):
    model, (x, y) = Net(), batch()
    parallel = DataParallel(model, comm, unused=True)
    own = torch.arange(12).chunk(comm.world_size)[comm.rank]
    loss_of(parallel, x[own], y[own]).backward()
    parallel.synchronise()
    return torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01), state_of_gradients(model)


def state_of_gradients(model):
    return torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])


def test_clipping_by_the_global_norm_needs_no_message():
    norm, gradients = VirtualWorld(3).run(clipped).results[2]
    model, (x, y) = Net(), batch()
    loss_of(model, x, y).backward()
    torch.testing.assert_close(
        norm, torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01), **NEAR
    )
    torch.testing.assert_close(gradients, state_of_gradients(model), **NEAR)


def test_gradients_in_bfloat16_halve_the_bytes_and_stay_near():
    def nbytes(**kwargs):
        run = VirtualWorld(2).run(train, DataParallel, steps=1, **kwargs)
        return run.results[0][0], sum(run.trace.sent("nbytes"))

    (full, whole), (half, less) = nbytes(), nbytes(wire_dtype=torch.bfloat16)
    state_bytes = sum(t.nbytes for t in (*Net().parameters(), *Net().buffers()))
    counts = 2 * (2 - 1) * 4  # weighted(): an all-reduce of one number
    assert less - state_bytes - counts == (whole - state_bytes - counts) / 2
    assert 0 < (half - full).abs().max() < 1e-2


def mixed(comm):
    model, (x, y) = Net(), batch()
    parallel = DataParallel(model, comm, unused=True)
    own = torch.arange(12).chunk(comm.world_size)[comm.rank]
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(parallel, x[own], y[own])
    loss.backward()
    parallel.synchronise()
    return state_of_gradients(model)


def test_autocast_keeps_float32_gradients_near_those_of_float32():
    model, (x, y) = Net(), batch()
    loss_of(model, x, y).backward()
    gradients = VirtualWorld(2).run(mixed).results[0]
    assert gradients.dtype == torch.float32
    torch.testing.assert_close(
        gradients, state_of_gradients(model), rtol=0.1, atol=0.02
    )  # bfloat16 has 8 bits


def test_a_parameter_without_a_gradient_is_an_error_that_names_it():
    def forgotten(comm):
        model, (x, y) = Net(), batch()
        parallel = DataParallel(model, comm)
        loss_of(parallel, x, y).backward()
        parallel.synchronise()

    words = r"never.bias got no gradient on rank 0: if a parameter may be unused, say unused=True"
    with pytest.raises(RankError, match=words):
        VirtualWorld(2).run(forgotten)


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_is_all_frozen_still_starts_alike_and_sends_no_gradient(way):
    def frozen(comm):
        parallel = way(torch.nn.Linear(2, 2).requires_grad_(False), comm)
        with comm.span("step"):
            parallel.synchronise()
        return state(parallel)

    run = VirtualWorld(2).run(frozen)
    assert torch.equal(*run.results) and not [
        e for e in run.trace.where(kind="send") if e.span == "step"
    ]


def test_two_backward_passes_without_no_sync_are_an_error():
    def twice(comm):
        parallel = DataParallel(torch.nn.Linear(2, 2), comm)
        for _ in range(2):
            parallel(torch.ones(1, 2)).sum().backward()

    with pytest.raises(RankError, match="no_sync"):
        VirtualWorld(2).run(twice)


def test_a_rank_that_dies_in_the_backward_pass_ends_the_run_in_words():
    def spanned(comm):
        with comm.span("training"):
            return train(DataParallel, comm)

    with pytest.raises(RankDied, match="Rank 1 was killed by the fault Crash"):
        VirtualWorld(3).run(spanned, faults=[Crash(rank=1, at=Span("training"))])


def ddp(comm):
    """torch's own, on the ranks' own process group."""
    model, (x, y) = Net(), batch()
    wrapped = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    own = torch.arange(12).chunk(comm.world_size)[comm.rank]
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(wrapped, x[own], y[own])
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return state(model), losses


def ours(comm):
    model, (x, y) = Net(), batch()
    parallel = DataParallel(model, comm, unused=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    own = torch.arange(12).chunk(comm.world_size)[comm.rank]
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(parallel, x[own], y[own])
        loss.backward()
        losses.append(loss.item())
        parallel.synchronise()
        optimizer.step()
    return state(model), losses


def test_the_same_losses_and_weights_as_torchs_ddp(worlds):
    for (theirs, losses), (mine, own) in zip(
        worlds(2).run(ddp).results, worlds(2).run(ours).results
    ):
        torch.testing.assert_close(mine, theirs, **NEAR)
        assert own == pytest.approx(losses, rel=1e-5)


def large_gradients(comm):
    model = torch.nn.Linear(1, 1, bias=False)
    parallel = DataParallel(model, comm, wire_dtype=torch.float16)
    (parallel(torch.full((1, 1), 40_000.0)) * 1.5).sum().backward()
    parallel.synchronise()
    return model.weight.grad.item()


def test_gradients_whose_sum_float16_cannot_hold_have_their_mean():
    assert VirtualWorld(3).run(large_gradients).results == [pytest.approx(60_000, rel=1e-3)] * 3


def test_a_batch_without_rows_is_refused_in_words():
    with pytest.raises(RankError, match="no rank has a row"):
        VirtualWorld(2).run(lambda comm: weighted(torch.tensor(0.0), 0, comm))
