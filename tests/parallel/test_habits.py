"""What people do around a training loop works as in torch, or is refused in words."""

import copy
import io
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from minidl import RankError, VirtualWorld
from minidl.parallel.data import BucketedDataParallel, DataParallel, NaiveDataParallel
from minidl.parallel.guarded import Guarded
from minidl.parallel.zero import Zero1, Zero2, Zero3

REPLICAS = (NaiveDataParallel, BucketedDataParallel, DataParallel)
SHARDED = (Zero1, Zero2, Zero3)
WAYS = REPLICAS + SHARDED


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def rows():
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(1))


def learn(model, x=None):
    """A backward pass of a loss that has a gradient everywhere."""
    model(rows() if x is None else x).pow(2).mean().backward()


def run(fn, *args, N=2):
    """What each rank returns."""
    return VirtualWorld(N).run(fn, *args).results


def refused(fn, *args, match):
    """On virtual ranks this ends with an error that says this."""
    with pytest.raises(RankError, match=match):
        run(fn, *args)


def assert_same(found, expected, **how):
    assert list(found) == list(expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], **how)


# --- State, in and out ----------------------------------------------------------------------------


@pytest.mark.parametrize("N", [1, 2, 3])
@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_loaded_into_the_wrapper_is_what_is_trained(way, N):
    def work(comm):
        parallel = way(net(), comm, sgd)
        answer = parallel.load_state_dict(net(9).state_dict())
        assert not answer.missing_keys and not answer.unexpected_keys
        (parallel(rows()) * 0).sum().backward()
        parallel.step()
        return parallel.state_dict()

    for state in run(work, N=N):
        assert_same(state, net(9).state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("way", (*REPLICAS, Zero1, Zero2))
def test_a_checkpoint_loaded_into_the_model_is_what_is_trained(way):
    def work(comm):
        parallel = way(net(), comm, sgd)
        parallel.model.load_state_dict(net(9).state_dict())
        (parallel(rows()) * 0).sum().backward()
        parallel.step()
        return parallel.full_state_dict()

    for state in run(work):
        assert_same(state, net(9).state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("way", SHARDED)
def test_a_checkpoint_keeps_its_precision_where_modules_compute_in_bfloat16(way):
    def work(comm):
        zero = way(net(), comm, sgd, compute_dtype=torch.bfloat16)
        zero.load_state_dict(net(9).state_dict())
        output = zero(rows())
        return zero.full_state_dict(), output.float()

    for state, output in run(work):
        assert_same(state, net(9).state_dict(), rtol=0, atol=0)
        torch.testing.assert_close(output, net(9)(rows()), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("way", WAYS)
def test_a_saved_state_loads_into_one_process(way):
    def work(comm):
        parallel = way(net(), comm, sgd)
        learn(parallel)
        parallel.step()
        file = io.BytesIO()
        torch.save(parallel.state_dict(), file)
        return file.getvalue()

    model = net(5)
    model.load_state_dict(torch.load(io.BytesIO(run(work)[1]), weights_only=True))
    assert_same(model.state_dict(), one_step())


@pytest.mark.parametrize("way", SHARDED)
def test_a_checkpoint_of_another_model_is_refused_as_in_torch(way):
    def work(comm):
        way(net(), comm, sgd).load_state_dict({"0.weight": torch.zeros(8, 8)})

    refused(work, match="Missing key")


@pytest.mark.parametrize("way", WAYS)
def test_the_model_can_be_copied_and_the_copy_is_an_ordinary_one(way):
    def work(comm):
        parallel = way(net(), comm, sgd)
        if way is Zero3:
            with parallel.gathered() as model:
                other = copy.deepcopy(model)
                average = torch.optim.swa_utils.AveragedModel(model)
        else:
            other = copy.deepcopy(parallel.model)
            average = torch.optim.swa_utils.AveragedModel(parallel.model)
        learn(parallel)
        parallel.step()
        learn(other)  # without a message
        assert other[0].weight.grad is not None and type(other[0].weight) is nn.Parameter
        return other.state_dict(), average.module.state_dict()

    for other, average in run(work):
        assert_same(other, net().state_dict(), rtol=0, atol=0)
        assert_same(average, net().state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("way", WAYS)
def test_a_wrapper_is_neither_copied_nor_pickled(way):
    refused(lambda comm: copy.deepcopy(way(net(), comm, sgd)), match="cannot be copied.*state_dict")
    refused(lambda comm: torch.save(way(net(), comm, sgd), io.BytesIO()), match="cannot be pickled")


# --- Optimizers and gradients ---------------------------------------------------------------------


def decaying(parameters):
    """Biases do not decay: chosen by the number of dimensions, as nanoGPT does."""
    matrices = [p for p in parameters if p.dim() > 1]
    biases = [p for p in parameters if p.dim() < 2]
    groups = [dict(params=matrices, weight_decay=0.5), dict(params=biases, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=0.1)


def decaying_by_name(parameters):
    """The same, chosen by name."""
    biases = [p for p in parameters if p.full_name.endswith("bias")]
    matrices = [p for p in parameters if not p.full_name.endswith("bias")]
    groups = [dict(params=matrices, weight_decay=0.5), dict(params=biases, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=0.1)


@pytest.mark.parametrize("N", [1, 2, 3])
@pytest.mark.parametrize("make", [decaying, decaying_by_name])
@pytest.mark.parametrize("way", SHARDED)
def test_parameter_groups_are_those_of_one_process(way, make, N):
    def work(comm):
        zero = way(net(), comm, make)
        for _ in range(3):
            learn(zero)
            zero.step()
        return zero.full_state_dict()

    model = net()
    optimizer = decaying(list(model.parameters()))
    for _ in range(3):
        optimizer.zero_grad()
        learn(model)
        optimizer.step()
    for state in run(work, N=N):
        assert_same(state, model.state_dict(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", SHARDED)
def test_an_optimizer_of_the_models_own_parameters_is_refused(way):
    def inside(comm):
        model = net()
        way(model, comm, lambda _: sgd(model.parameters()))

    def outside(comm):
        zero = way(net(), comm, sgd)
        optimizer = sgd(zero.parameters())
        learn(zero)
        optimizer.step()

    refused(inside, match="other parameters than it got")
    refused(outside, match="0.weight is sharded.*give .*make_optimizer")


@pytest.mark.parametrize("way", SHARDED)
def test_torchs_clipping_is_refused_and_told_what_to_call(way):
    def work(comm):
        zero = way(net(), comm, sgd)
        learn(zero)
        nn.utils.clip_grad_norm_(zero.parameters(), 1.0)

    refused(work, match=r"call zero.step\(max_norm=1.0\)")


@pytest.mark.parametrize("N", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_zero_grad_drops_the_gradients_also_those_under_way(way, N):
    def work(comm):
        parallel = way(net(), comm, sgd)
        learn(parallel)
        parallel.zero_grad()
        if way in SHARDED:  # DataParallel refuses a step without gradients, in words
            parallel.step()
        learn(parallel)
        parallel.step()
        return parallel.full_state_dict()

    for state in run(work, N=N):
        assert_same(state, one_step())


# --- A model that changes after it was wrapped ----------------------------------------------------


def differing(comm):
    """Rows that are others on each rank."""
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(comm.rank))


@pytest.mark.parametrize("way", REPLICAS)
def test_a_layer_frozen_unfrozen_or_replaced_is_trained_alike_on_all_ranks(way):
    def work(comm, first, then):
        model = net()
        if first is not None:
            model[0].requires_grad_(first)
        parallel = way(model, comm)
        if then == "replace":
            torch.manual_seed(comm.rank)
            model[2] = nn.Linear(8, 3)
        else:
            model[0].requires_grad_(then)
        optimizer = sgd(model.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            learn(parallel, differing(comm))
            parallel.synchronise()
            optimizer.step()
        return parallel.full_state_dict()

    for first, then in ((False, True), (None, False), (None, "replace")):
        one, two = run(work, first, then)
        assert_same(one, two, rtol=0, atol=0)
        is_still = torch.equal(one["0.weight"], net()[0].weight)
        assert is_still == (then is False)


@pytest.mark.parametrize("way", REPLICAS)
def test_an_optimizer_that_does_not_know_a_layer_is_an_error(way):
    def work(comm):
        model = net()
        parallel = way(model, comm, sgd)
        model[2] = nn.Linear(8, 3)
        learn(parallel)

    refused(work, match="replaced after .* wrap the model once more")


@pytest.mark.parametrize("way", SHARDED)
def test_a_sharded_model_is_not_changed_behind_its_back(way):
    def changed(change):
        def work(comm):
            model = net()
            model[0].requires_grad_(change is not unfreeze)
            zero = way(model, comm, sgd)
            change(zero)
            learn(zero)

        return work

    def freeze(zero):
        zero.model[2].requires_grad_(False)

    def unfreeze(zero):
        zero.model[0].requires_grad_(True)

    def replace(zero):
        zero.model[2] = nn.Linear(8, 3)

    def append(zero):
        zero.model.append(nn.Linear(4, 3))

    def reassign(zero):
        zero.model[2].weight = nn.Parameter(torch.zeros(4, 8))

    def convert(zero):
        zero.double()

    refused(changed(freeze), match="2.weight.*no longer be frozen")
    refused(changed(unfreeze), match="0.weight.*no longer be frozen, unfrozen")
    refused(changed(replace), match="a Linear came into the model")
    refused(changed(append), match="other modules")
    refused(changed(reassign), match="2.weight was replaced")
    refused(changed(convert), match="no longer be moved or converted")


@pytest.mark.parametrize("way", (Zero1, Zero2))
def test_what_is_written_into_a_parameter_stays(way):
    def work(comm, compute_dtype):
        zero = way(net(), comm, sgd, compute_dtype=compute_dtype)
        nn.init.constant_(zero.model[0].weight, 0.25)
        zero.model[2].bias.data.fill_(0.5)
        (zero(rows()) * 0).sum().backward()
        zero.step()
        return zero.full_state_dict()

    expected = net().state_dict()
    expected["0.weight"].fill_(0.25)
    expected["2.bias"].fill_(0.5)
    for compute_dtype in (None, torch.bfloat16):
        for state in run(work, compute_dtype, N=3):
            assert_same(state, expected, rtol=0, atol=0)  # also what was not written, in float32


def test_a_buffer_made_by_expand_is_shared():
    def work(comm):
        model = net()
        model.register_buffer("positions", (torch.arange(8.0) + comm.rank).expand(4, -1))
        return DataParallel(model, comm).full_state_dict()["positions"]

    for positions in run(work):
        assert torch.equal(positions, torch.arange(8.0).expand(4, -1))


@pytest.mark.parametrize("way", REPLICAS)
def test_a_sparse_gradient_is_refused_in_words(way):
    def work(comm):
        parallel = way(nn.Embedding(9, 4, sparse=True), comm)
        parallel(torch.tensor([comm.rank])).sum().backward()
        parallel.synchronise()

    refused(work, match="weight has a sparse gradient.*sparse=False")


# --- Wrapped twice, errors ------------------------------------------------------------------------


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_a_model_is_trained_by_the_last_way_that_wrapped_it(first, second):
    def work(comm):
        model = net()
        old = first(model, comm, sgd)
        learn(old)
        old.step()
        new = second(model, comm, sgd)
        for _ in range(2):
            learn(new)
            new.step()
        state = new.full_state_dict()
        try:
            old(rows())
        except RuntimeError as error:
            return state, str(error)

    model = net()
    optimizer = sgd(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        learn(model)
        optimizer.step()
    for state, words in run(work):
        assert_same(state, model.state_dict())
        assert "wrapped once more: use the new one" in words


def one_step():
    """What one process has after one step."""
    model = net()
    optimizer = sgd(model.parameters())
    learn(model)
    optimizer.step()
    return model.state_dict()


MADE = """
import torch
from tests.parallel.test_habits import assert_same, learn, net, one_step, sgd
from minidl.parallel.data import *
from minidl.parallel.zero import *
parallel = {way}(net(), comm, sgd)
"""
GOES_ON = "learn(parallel); parallel.step(); assert_same(parallel.full_state_dict(), one_step())"
MISTAKES = {
    "a wrong batch on one rank": "learn(parallel, torch.ones(4, 8 if rank == 0 else 9))",
    "an error within the backward pass": """
x = parallel(torch.ones(4, 8, requires_grad=True))
x.register_hook(lambda gradient: 1 / 0 if rank else None)
x.sum().backward()
""",
    "an error between backward and step": "learn(parallel); 1 / 0",
}


@pytest.mark.parametrize("way", (BucketedDataParallel, DataParallel, Zero1, Zero2, Zero3))
def test_after_an_error_within_a_step_a_wrapper_is_as_good_as_new(worlds, way):
    world = worlds(2)
    for mistake in MISTAKES.values():
        world.cell(MADE.format(way=way.__name__))
        with pytest.raises(RankError):
            world.cell(mistake)
        world.cell(GOES_ON)


@pytest.mark.parametrize("way", WAYS)
def test_a_backward_pass_whose_error_was_caught_on_all_ranks_leaves_nothing(way):
    def work(comm):
        parallel = way(net(), comm, sgd)
        x = rows().requires_grad_()
        x.register_hook(lambda gradient: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            learn(parallel, x)
        if way in (NaiveDataParallel, BucketedDataParallel, Zero1):
            parallel.zero_grad()  # as in torch: they do not look into a backward pass
        learn(parallel)
        parallel.step()
        return parallel.full_state_dict()

    for state in run(work):
        assert_same(state, one_step())


@pytest.mark.parametrize("way", (BucketedDataParallel, DataParallel, Zero1, Zero2, Zero3))
def test_ranks_of_which_some_have_made_a_step_are_not_trained_on(worlds, way):
    """If rank 0 made a step that rank 1 did not make, or perhaps not: then their weights differ."""
    world = worlds(2)
    world.cell(MADE.format(way=way.__name__))
    with pytest.raises(RankError):
        world.cell("learn(parallel); parallel.step()\nif rank: parallel.n_synchronised -= 1; 1 / 0")
    with pytest.raises(RankError, match=r"the ranks have made \[1, 0\] steps.*Wrap the model"):
        world.cell("learn(parallel); parallel.step()")
    world.cell(MADE.format(way=way.__name__) + GOES_ON)


# --- Zero3: units that do unusual things ----------------------------------------------------------


@dataclass
class Out:
    """An output that torch does not look into."""

    y: torch.Tensor


class Part(nn.Module):
    """A unit."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.a = nn.Linear(8, 8)
        self.b = nn.Linear(8, 8)

    def forward(self, x):
        self.kept = torch.tanh(self.a(x))
        y = self.b(self.kept)
        if self.kind == "a view":
            return y[:, :4]
        if self.kind == "a dataclass":
            return Out(y)
        return y

    def encode(self, x):
        """Not forward()."""
        return self.b(torch.tanh(self.a(x)))


class Unusual(nn.Module):
    """Three units, one of which is used in an unusual way."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.first = nn.Linear(8, 8)
        self.part = Part(kind)
        self.last = nn.Linear(4 if kind == "a view" else 8, 4)
        if kind == "old weight_norm":
            self.first = nn.utils.weight_norm(self.first)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        if self.kind == "another method":
            return self.last(self.part.encode(x))
        y = self.part(x)
        if self.kind == "a view":
            y += 1
        if self.kind == "a dataclass":
            y = y.y
        if self.kind == "an inner tensor":
            return self.part.kept
        if self.kind == "a weight used by the parent":
            return y @ self.first.weight.T
        if self.kind == "a grandchild called":
            y = self.part.b(y)
        return self.last(y)


KINDS = (
    "plain",
    "a view",
    "an inner tensor",
    "a dataclass",
    "another method",
    "a weight used by the parent",
    "a grandchild called",
    "old weight_norm",
)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", SHARDED)
def test_units_that_do_unusual_things_are_trained_as_in_one_process(way, kind):
    def work(comm):
        zero = way(Unusual(kind), comm, sgd)
        for _ in range(2):
            learn(zero)
            zero.step()
        return zero.full_state_dict()

    model = Unusual(kind)
    optimizer = sgd(model.parameters())
    for _ in range(2):
        optimizer.zero_grad(set_to_none=False)
        learn(model)
        optimizer.step()
    for state in run(work):
        assert_same(state, model.state_dict(), rtol=1e-4, atol=1e-6)


class Body(nn.Module):
    """A unit of a frozen and a trained layer."""

    def __init__(self, first):
        super().__init__()
        self.first = first
        self.second = nn.Linear(8, 8)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def partly_frozen(first, frozen_body):
    """A model with a frozen layer before a trained one, in a unit; or with the whole unit frozen."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), Body(first()), nn.Linear(8, 3))
    frozen = model[1] if frozen_body else model[1].first
    frozen.requires_grad_(False)
    return model


FROZEN = {
    "linear": lambda: nn.Linear(8, 8),
    "norm": lambda: nn.LayerNorm(8),
    "no bias": lambda: nn.Linear(8, 8, bias=False),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 1, 3, padding=1), nn.Flatten()
    ),
}


@pytest.mark.parametrize("frozen_body", [False, True])
@pytest.mark.parametrize("first", FROZEN)
@pytest.mark.parametrize("way", SHARDED)
def test_a_unit_may_be_frozen_or_partly_frozen(way, first, frozen_body):
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))

    def work(comm):
        zero = way(partly_frozen(FROZEN[first], frozen_body), comm, sgd)
        for _ in range(2):
            learn(zero, x)
            zero.step()
        return zero.full_state_dict()

    model = partly_frozen(FROZEN[first], frozen_body)
    optimizer = sgd([p for p in model.parameters() if p.requires_grad])
    for _ in range(2):
        optimizer.zero_grad()
        learn(model, x)
        optimizer.step()
    for state in run(work):
        assert_same(state, model.state_dict())


def test_frozen_units_are_freed_during_the_backward_pass():
    """Twelve layers of which ten are frozen: few are whole at the same time, none at the end."""

    def work(comm):
        layers = [nn.Linear(8, 8) for _ in range(12)]
        for layer in layers[1:11]:
            layer.requires_grad_(False)
        zero = Zero3(nn.Sequential(*layers), comm, sgd)
        whole = []

        def look(*_):
            whole.append(len(zero.life.held()))

        for layer in layers:
            layer.register_full_backward_hook(look)
        for _ in range(2):
            x = torch.ones(2, 8, requires_grad=True)
            zero(x).sum().backward()
        return max(whole), len(zero.life.held())

    for most, at_the_end in run(work):
        assert most <= 3 and at_the_end == 0


def test_the_backward_pass_gathers_a_frozen_layer_once():
    """The trained gradients of a unit may be there before its frozen layer has been used."""

    def work(comm):
        zero = Zero3(partly_frozen(FROZEN["linear"], False), comm, sgd, prefetch=False)
        with comm.span("forward"):
            loss = zero(torch.ones(4, 6)).pow(2).mean()
        with comm.span("backward"):
            loss.backward()

    trace = VirtualWorld(2).run(work).trace
    sent = {
        span: sum(e.nbytes for e in trace.where(kind="send", rank=0) if e.span == span)
        for span in ("forward", "backward")
    }
    body = 4 * (8 * 8 + 8)  # bytes of one layer of it
    other = 4 * (6 * 8 + 8) + 4 * (8 * 3 + 3 + 1)  # with padding
    assert sent["forward"] == (other + 2 * body) / 2
    assert sent["backward"] == (2 * other + 3 * body) / 2  # gathered and reduced; not the frozen


# --- Zero3: parameters between two passes ---------------------------------------------------------

READS = {
    "norm": lambda p: p.norm(),
    "item": lambda p: p[0, 0].item(),
    "tolist": lambda p: p.tolist(),
    "numpy": lambda p: p.detach().numpy(),
    "data": lambda p: p.data + 1,
    "storage": lambda p: p.untyped_storage(),
    "pointer": lambda p: p.data_ptr(),
    "write": lambda p: nn.init.zeros_(p),
    "add": lambda p: torch.ones(8, 8) + p,
    "in a list": lambda p: torch.cat([torch.ones(1), p.reshape(-1)]),
    "foreach": lambda p: torch._foreach_norm([p]),
    "copy": lambda p: copy.deepcopy(p),
    "save": lambda p: torch.save(p, io.BytesIO()),
    "format": lambda p: f"{p.detach()}",
    "dlpack": lambda p: torch.from_dlpack(p),
    "iterate": lambda p: list(p),
    "contains": lambda p: 1.0 in p,
    "to": lambda p: p.to(torch.float64),
    "assign": lambda p: p.__setitem__(0, 1.0),
    "linear": lambda p: nn.functional.linear(torch.ones(1, 8), p),
}


@pytest.mark.parametrize("how", READS)
def test_a_parameter_of_zero3_is_not_read_or_written_between_passes(how):
    def work(comm):
        zero = Zero3(net(), comm, sgd)
        READS[how](zero.model[0].weight)

    refused(work, match="0.weight has no values now.*gathered()")


def test_a_parameter_of_zero3_is_read_and_written_within_gathered():
    def work(comm):
        zero = Zero3(net(), comm, sgd)
        with zero.gathered() as model:
            norm = model[0].weight.norm().item()
            nn.init.constant_(model[2].weight, 0.25)
            kept = model[0].weight.detach()
        assert isinstance(zero.model[0].weight, Guarded)
        return norm, kept, zero.full_state_dict()

    expected = net()
    nn.init.constant_(expected[2].weight, 0.25)
    for norm, kept, state in run(work, N=3):
        assert norm == pytest.approx(expected[0].weight.norm().item())
        assert torch.equal(kept, expected[0].weight)  # its memory is still there
        assert_same(state, expected.state_dict(), rtol=0, atol=0)


def test_a_view_that_was_kept_from_a_pass_has_the_values_of_that_pass():
    def work(comm):
        model = net()
        kept = []
        model[0].register_forward_hook(lambda module, *_: kept.append(module.weight.detach()))
        zero = Zero3(model, comm, sgd)
        before = zero.full_state_dict()["0.weight"]
        for _ in range(2):
            learn(zero)
            zero.step()
        return before, kept[0]

    for before, kept in run(work):
        assert torch.equal(before, kept)


def test_a_sharded_model_prints_and_knows_its_shapes():
    def work(comm):
        zero = Zero3(net(), comm, sgd)
        weight = zero.model[0].weight
        return str(zero), repr(weight), tuple(weight.shape), weight.numel(), weight.requires_grad

    words, weight, shape, numel, trained = run(work)[0]
    assert "Linear(in_features=8" in words
    assert weight == "Parameter 0.weight (8, 8), kept by Zero3"
    assert shape == (8, 8) and numel == 64 and trained
