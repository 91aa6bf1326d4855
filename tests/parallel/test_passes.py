"""Forward and backward passes as people write them: each trains what one process trains."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from minidl import VirtualWorld
from minidl.parallel.data import DataParallel
from minidl.parallel.zero import Zero1, Zero2, Zero3
from tests.parallel.test_habits import assert_same, learn, net, one_step, rows, sgd

WAYS = (DataParallel, Zero1, Zero2, Zero3)


class Block(nn.Module):
    """A residual block, whose inner part may be recomputed."""

    def __init__(self, recompute):
        super().__init__()
        self.up = nn.Linear(8, 8)
        self.down = nn.Linear(8, 8)
        self.recompute = recompute

    def inner(self, x):
        """What is added to x."""
        return self.down(torch.tanh(self.up(x)))

    def forward(self, x):
        if self.recompute == "inside":
            return x + checkpoint(self.inner, x, use_reentrant=False)
        if self.recompute == "inside, reentrant":
            return x + checkpoint(self.inner, x, use_reentrant=True)
        return x + self.inner(x)


class Net(nn.Module):
    """Three blocks; `recompute` says what is recomputed and how."""

    def __init__(self, recompute=None):
        super().__init__()
        torch.manual_seed(0)
        self.recompute = recompute
        self.first = nn.Linear(8, 8)
        self.blocks = nn.ModuleList(Block(recompute) for _ in range(3))
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            if self.recompute == "units":
                x = checkpoint(block, x, use_reentrant=False)
            elif self.recompute == "units, reentrant":
                x = checkpoint(block, x, use_reentrant=True)
            else:
                x = block(x)
        return self.last(x)


def loss_of(model, x):
    return model(x).pow(2).mean()


def plain(model):
    loss_of(model, rows()).backward()


def two_graphs(model):
    one = loss_of(model, rows())
    two = loss_of(model, 2 * rows())
    one.backward()
    two.backward()


def twice_through_one_graph(model):
    loss = loss_of(model, rows())
    loss.backward(retain_graph=True)
    loss.backward()


def in_bfloat16(model):
    with torch.autocast("cpu", torch.bfloat16):
        y = model(rows())
    y.float().pow(2).mean().backward()


def a_gradient_of_a_gradient(model):
    x = rows().requires_grad_()
    y = model(x).pow(2).sum()
    (gradient,) = torch.autograd.grad(y, x, create_graph=True)
    (gradient.pow(2).mean() + 0 * y).backward()


def an_evaluation_in_between(model):
    loss = loss_of(model, rows())
    with torch.no_grad():
        model(rows())
    loss.backward()


def a_graph_that_is_dropped(model):
    model(3 * rows())
    plain(model)


def saved_tensors_with_hooks_of_their_own(model):
    with torch.autograd.graph.save_on_cpu():
        loss = loss_of(model, rows())
    loss.backward()


PASSES = (
    plain,
    two_graphs,
    twice_through_one_graph,
    in_bfloat16,
    a_gradient_of_a_gradient,
    an_evaluation_in_between,
    a_graph_that_is_dropped,
    saved_tensors_with_hooks_of_their_own,
)
RECOMPUTED = ("inside", "inside, reentrant", "units", "units, reentrant")


def train(way, passes, recompute, comm):
    parallel = way(Net(recompute), comm, sgd)
    for _ in range(2):
        # As DataParallel asks for it where there is more than one backward pass.
        with parallel.no_sync():
            passes(parallel)
        parallel.step()
    return parallel.full_state_dict()


def one_process(passes, recompute):
    model = Net(recompute)
    optimizer = sgd(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        passes(model)
        optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("way", WAYS)
def test_passes_of_many_kinds(way, passes):
    for state in VirtualWorld(2).run(train, way, passes, None).results:
        assert_same(state, one_process(passes, None))


@pytest.mark.parametrize("recompute", RECOMPUTED)
@pytest.mark.parametrize("way", WAYS)
def test_parts_that_are_recomputed(way, recompute):
    def without_no_sync(comm):
        parallel = way(Net(recompute), comm, sgd)
        for _ in range(2):
            plain(parallel)
            parallel.step()
        return parallel.full_state_dict()

    for state in VirtualWorld(2).run(without_no_sync).results:
        assert_same(state, one_process(plain, recompute))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compiled", ["the model", "a unit"])
@pytest.mark.parametrize("way", WAYS)
def test_a_compiled_model_is_trained_alike(way, compiled):
    def work(comm):
        model = net()
        if compiled == "the model":
            model = torch.compile(model, backend="aot_eager")
        else:
            model[0] = torch.compile(model[0], backend="aot_eager")
        parallel = way(model, comm, sgd)
        learn(parallel)
        parallel.step()
        return list(parallel.full_state_dict().values())

    for values in VirtualWorld(2).run(work).results:
        for found, expected in zip(values, one_step().values()):
            torch.testing.assert_close(found, expected)
