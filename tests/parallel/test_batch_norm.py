"""Statistics of the whole batch on every rank, one collective in each pass."""

import copy

import pytest
import torch

from minidl import RankError, VirtualWorld
from minidl.parallel.batch_norm import SyncBatchNorm, synchronised

NEAR = dict(rtol=1e-4, atol=1e-5)  # float32, and sums in another order


def whole(shape=(12, 3, 2, 2)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)) * 2 + 1


def passes(comm, momentum=0.1, parts=None):
    """Output, gradients and running statistics of this rank's rows; uneven parts on purpose."""
    torch.manual_seed(0)
    norm = synchronised(torch.nn.BatchNorm2d(3, momentum=momentum), comm)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
    x = whole().tensor_split(comm.world_size)[comm.rank].clone().requires_grad_()
    with comm.span("forward"):
        y = norm(x)
    with comm.span("backward"):
        (y * torch.arange(y[0].numel()).view(y[0].shape)).sum().backward()
    return y.detach(), x.grad, norm.weight.grad, norm.running_mean, norm.running_var


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("N", [1, 2, 3, 4, 7])
def test_equal_to_one_process_with_the_whole_batch(N, momentum):
    norm, x = torch.nn.BatchNorm2d(3, momentum=momentum), whole().requires_grad_()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
    y = norm(x)
    (y * torch.arange(y[0].numel()).view(y[0].shape)).sum().backward()
    results = VirtualWorld(N).run(passes, momentum).results
    for i, expected in enumerate((y.detach(), x.grad)):
        torch.testing.assert_close(torch.cat([r[i] for r in results]), expected, **NEAR)
    torch.testing.assert_close(sum(r[2] for r in results), norm.weight.grad, **NEAR)
    for r in results:
        torch.testing.assert_close(r[3], norm.running_mean, **NEAR)
        torch.testing.assert_close(r[4], norm.running_var, **NEAR)


def test_one_collective_in_each_pass():
    trace = VirtualWorld(2).run(passes).trace
    for span, elements, itemsize in (
        ("forward", 2 * 3 + 1, 8),
        ("backward", 2 * 3, 4),
    ):  # sums in float64
        sends = [e for e in trace.where(kind="send", rank=0) if e.span == span]
        assert len(sends) == 2 and sum(e.nbytes for e in sends) == itemsize * elements


def far_away(comm):
    """This rank's part of rows around 3000, and what is remembered of all:
    no rows on the last rank.
    """
    norm, x = synchronised(torch.nn.BatchNorm2d(3, momentum=1.0), comm), whole() + 3000
    y = norm(x.tensor_split([5, 12])[comm.rank])
    return y.detach(), norm.running_mean, norm.running_var


def test_a_mean_far_from_zero_leaves_the_variance_right():
    norm, x = torch.nn.BatchNorm2d(3, momentum=1.0), whole() + 3000
    y = norm(x)
    results = VirtualWorld(3).run(far_away).results
    torch.testing.assert_close(
        torch.cat([r[0] for r in results]), y.detach(), rtol=0, atol=1e-3
    )  # 3000 has 2e-4 between floats
    for _, mean, variance in results:
        torch.testing.assert_close(mean, norm.running_mean)
        torch.testing.assert_close(variance, norm.running_var, **NEAR)


def half(comm):
    """A convolution in bfloat16 before the norm, as autocast makes it."""
    model, x = (
        synchronised(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3)), comm),
        whole(),
    )
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x.tensor_split(comm.world_size)[comm.rank])
    (y.float() ** 3).sum().backward()
    return y.detach(), model[0].weight.grad, model[1].running_var


def test_bfloat16_in_and_out_with_statistics_in_float32():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3))
    with torch.autocast("cpu", torch.bfloat16):
        y = model(whole())
    (y.float() ** 3).sum().backward()
    results = VirtualWorld(2).run(lambda comm: torch.manual_seed(0) and half(comm)).results
    found = torch.cat([r[0] for r in results])
    assert found.dtype == y.dtype == torch.bfloat16
    torch.testing.assert_close(found, y.detach(), rtol=0.02, atol=0.02)
    torch.testing.assert_close(sum(r[1] for r in results), model[0].weight.grad, rtol=0.1, atol=1.0)
    torch.testing.assert_close(results[1][2], model[1].running_var, rtol=1e-3, atol=1e-4)


def test_averaging_the_ranks_own_statistics_is_something_else():
    parts = whole().tensor_split(2)
    pooled = whole().var((0, 2, 3), unbiased=False)
    averaged = sum(part.var((0, 2, 3), unbiased=False) for part in parts) / 2
    assert (pooled - averaged).abs().max() > 1e-3


def test_on_real_processes(worlds):
    for virtual, real in zip(VirtualWorld(3).run(passes).results, worlds(3).run(passes).results):
        for a, b in zip(virtual, real):
            torch.testing.assert_close(a, b, **NEAR)


def test_in_eval_mode_nothing_is_sent():
    def evaluate(comm):
        model = synchronised(
            torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3)), comm
        ).eval()
        assert isinstance(model[1], SyncBatchNorm)
        return model(whole()).shape

    run = VirtualWorld(2).run(evaluate)
    assert run.results[0] == (12, 3, 2, 2) and sum(run.trace.sent()) == 0


def test_one_value_has_no_variance():
    with pytest.raises(RankError, match="more than one value per channel"):
        VirtualWorld(1).run(
            lambda comm: synchronised(torch.nn.BatchNorm1d(2), comm)(torch.ones(1, 2))
        )


class NormAndReLU(torch.nn.BatchNorm1d):
    """A subclass that adds something."""

    def forward(self, x):
        return torch.relu(super().forward(x))


class OwnNorm(torch.nn.BatchNorm1d):
    """A subclass that does without its base class."""

    def forward(self, x):
        return torch.nn.functional.batch_norm(x, None, None, training=True)


def rows(comm):
    """This rank's part of eight rows."""
    return whole((8, 4)).chunk(comm.world_size)[comm.rank]


def test_a_subclass_keeps_what_it_adds():
    def work(comm):
        norm = synchronised(NormAndReLU(4), comm)
        return norm(rows(comm)), norm.eval()(whole((8, 4)))

    one = NormAndReLU(4)
    expected = one(whole((8, 4)))
    results = VirtualWorld(2).run(work).results
    torch.testing.assert_close(torch.cat([y for y, _ in results]), expected, **NEAR)
    for _, y in results:
        torch.testing.assert_close(y, one.eval()(whole((8, 4))), **NEAR)


def test_a_subclass_that_normalises_by_itself_is_refused_in_words():
    with pytest.raises(RankError, match="OwnNorm.forward.* let it call super"):
        VirtualWorld(2).run(lambda comm: synchronised(OwnNorm(4), comm)(rows(comm)))


def test_a_norm_at_two_places_at_the_root_and_called_twice():
    def work(comm):
        norm = torch.nn.BatchNorm1d(4)
        model = torch.nn.Sequential(norm, torch.nn.ReLU(), norm)
        before = model.state_dict()
        for _ in range(2):
            model = synchronised(model, comm)
        assert isinstance(model[0], SyncBatchNorm) and model[0] is model[2]
        assert model.load_state_dict(before).missing_keys == []
        root = synchronised(torch.nn.BatchNorm1d(4), comm)
        return model(rows(comm)), root(rows(comm)), list(model.state_dict()) == list(before)

    norm = torch.nn.BatchNorm1d(4)
    twice = norm(torch.relu(norm(whole((8, 4)))))
    once = torch.nn.BatchNorm1d(4)(whole((8, 4)))
    models, roots, same = zip(*VirtualWorld(2).run(work).results)
    torch.testing.assert_close(torch.cat(models), twice, **NEAR)
    torch.testing.assert_close(torch.cat(roots), once, **NEAR)
    assert all(same)


def test_a_copy_of_a_model_is_synchronised_too():
    def work(comm):
        model = copy.deepcopy(synchronised(torch.nn.Sequential(torch.nn.BatchNorm1d(4)), comm))
        return model(rows(comm))

    found = torch.cat(VirtualWorld(2).run(work).results)
    torch.testing.assert_close(found, torch.nn.BatchNorm1d(4)(whole((8, 4))), **NEAR)


@pytest.mark.parametrize("kind", [torch.nn.SyncBatchNorm, torch.nn.LazyBatchNorm1d])
def test_a_norm_that_cannot_be_made_one_is_refused_in_words(kind):
    def work(comm):
        args = () if kind is torch.nn.LazyBatchNorm1d else (4,)
        synchronised(torch.nn.Sequential(kind(*args)), comm)

    with pytest.raises(RankError, match=f"0 is a {kind.__name__}: give synchronised"):
        VirtualWorld(2).run(work)
