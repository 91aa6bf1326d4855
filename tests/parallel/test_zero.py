"""Three ways to shard, one result: that of one process;
and each at the price that theory says, in bytes and in memory.
"""

import pytest
import torch

from minidl import Crash, Op, RankDied, RankError, Uniform, VirtualWorld
from minidl.parallel.guarded import unguarded
from minidl.parallel.sharded_units import units_of
from minidl.parallel.zero import Zero1, Zero2, Zero3, every_child
from minidl.zoo.models import GPT, next_token_loss

WAYS = (Zero1, Zero2, Zero3)
NEAR = dict(rtol=1e-5, atol=1e-6)  # float32 sums in another order


class Block(torch.nn.Module):
    """Two layers and a residual connection; 5 wide, so that nothing splits evenly."""

    def __init__(self):
        super().__init__()
        self.up, self.down = torch.nn.Linear(5, 7), torch.nn.Linear(7, 5)

    def forward(self, x):
        return x + self.down(torch.tanh(self.up(x)))


class Net(torch.nn.Module):
    """An embedding that is tied to the head, three blocks of which one has a frozen bias,
    and a buffer.
    """

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embed, self.head = torch.nn.Embedding(6, 5), torch.nn.Linear(5, 6, bias=False)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(3))
        self.head.weight = self.embed.weight
        self.blocks[1].up.bias.requires_grad_(False)
        self.register_buffer("scale", torch.full((5,), 1.5))

    def forward(self, tokens):
        x = self.embed(tokens) * self.scale
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def adam(parameters):
    return torch.optim.AdamW(parameters, lr=0.05, weight_decay=0.1)


def tokens(rows=12):
    drawn = torch.randint(6, (rows, 2), generator=torch.Generator().manual_seed(2))
    return drawn[:, 0], drawn[:, 1]


def loss_of(model, x, y):
    return torch.nn.functional.cross_entropy(model(x).float(), y)


def alone(steps=3, microbatches=1, max_norm=None):
    """What one process does with the whole batch."""
    model, (x, y) = Net(), tokens()
    optimizer = adam([p for p in model.parameters() if p.requires_grad])
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        if max_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
    return model.state_dict()


def train(way, comm, steps=3, microbatches=1, max_norm=None, prefetch=None, **how):
    """The same on N ranks, sharded; ranks other than 0 have other weights at first."""
    model, (x, y) = Net(), tokens()
    if comm.rank:
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.mul_(3)
    how |= {} if prefetch is None else {"prefetch": prefetch}
    with comm.span("start"):
        zero = way(model, comm, adam, **how)
    for _ in range(steps):
        with comm.span("step"):
            for own in torch.arange(12).chunk(comm.world_size)[comm.rank].chunk(microbatches):
                (loss_of(zero, x[own], y[own]) / microbatches).backward()
            zero.step(max_norm)
    with comm.span("end"):
        return zero.full_state_dict()


def assert_same(found, expected, **near):
    assert set(found) == set(expected)
    for name in expected:
        torch.testing.assert_close(
            found[name],
            expected[name],
            **(near or NEAR),
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("N", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("way", WAYS)
def test_every_rank_ends_with_the_model_of_one_process(way, N):
    for found in VirtualWorld(N).run(train, way).results:
        assert_same(found, alone())


@pytest.mark.parametrize("way", WAYS)
def test_on_real_processes(worlds, way):
    for found in worlds(3).run(train, way).results:
        assert_same(found, alone())


@pytest.mark.parametrize("prefetch", [True, False])
def test_prefetching_changes_nothing_but_the_time(prefetch):
    assert_same(VirtualWorld(2).run(train, Zero3, prefetch=prefetch).results[1], alone())


@pytest.mark.parametrize(
    "is_unit",
    [
        every_child,
        lambda name, module: False,
        lambda name, module: isinstance(module, torch.nn.Linear),
    ],
)
def test_any_policy_of_units_will_do(is_unit):
    assert_same(VirtualWorld(2).run(train, Zero3, is_unit=is_unit).results[0], alone())


def recomputed(way, comm, early_stop, k):
    """Three steps of a GPT that computes k of its blocks twice;
    how often a rank gathered a unit, and the weights.
    """
    from torch.utils.checkpoint import set_checkpoint_early_stop

    model, rows = GPT(20, 8, 16, 4, layers=3, recompute=k), torch.arange(64).reshape(8, 8) % 20
    zero = way(model, comm, adam)
    for _ in range(3):
        with set_checkpoint_early_stop(early_stop), comm.span("step"):
            next_token_loss(zero, rows.chunk(comm.world_size)[comm.rank]).backward()
            zero.step()
    return zero.full_state_dict()


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_recomputed_blocks_change_nothing_and_are_gathered_no_more_often(way, early_stop):
    plain, twice = (VirtualWorld(2).run(recomputed, way, early_stop, k) for k in (0, 3))
    assert_same(twice.results[1], plain.results[1])
    assert twice.trace.where(span="step").sent("nbytes") == plain.trace.where(span="step").sent(
        "nbytes"
    )


@pytest.mark.parametrize("way", WAYS)
def test_clipping_takes_the_norm_over_all_shards(way):
    assert_same(
        VirtualWorld(3).run(train, way, max_norm=0.1).results[2],
        alone(max_norm=0.1),
        rtol=1e-4,
        atol=1e-5,
    )


def clipped_by_sgd(way, comm):
    """One step of SGD with a rate of 1, which takes the gradient as it is;
    the norm that step() says.
    """
    zero, (x, y) = way(Net(), comm, lambda ps: torch.optim.SGD(ps, lr=1.0)), tokens()
    own = torch.arange(12).chunk(comm.world_size)[comm.rank]
    loss_of(zero, x[own], y[own]).backward()
    return zero.step(0.1), zero.full_state_dict()


@pytest.mark.parametrize("way", WAYS)
def test_step_says_the_norm_and_takes_the_clipped_gradient(way):
    model, (x, y) = Net(), tokens()
    loss_of(model, x, y).backward()
    expected = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1).item()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert expected > 0.2
    for norm, found in VirtualWorld(3).run(clipped_by_sgd, way).results:
        assert norm == pytest.approx(expected, rel=1e-5)
        assert_same(found, model.state_dict())


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize(
    "way, times", [(Zero1, lambda k: 2), (Zero2, lambda k: k + 1), (Zero3, lambda k: 3 * k)]
)
def test_a_step_sends_what_theory_says(way, times, k):
    N = 3
    run = VirtualWorld(N).run(train, way, steps=2, microbatches=k)
    assert_same(run.results[0], alone(steps=2))
    units = (
        VirtualWorld(N)
        .run(
            lambda comm: [
                (f.is_trained, f.N * len(f.shard))
                for u in units_of(Net(), comm, every_child)
                for f in u.flats
            ]
        )
        .results[0]
    )
    trained, frozen = (
        sum(length for kind, length in units if kind is wanted) for wanted in (True, False)
    )
    sent = (
        sum(e.nbytes for e in run.trace.where(kind="send") if e.span == "step") / 2
    )  # of two steps
    gathers_of_frozen = 2 * k * frozen if way is Zero3 else 0
    assert sent == (N - 1) * 4 * (times(k) * trained + gathers_of_frozen)


def test_the_padded_parameters_are_little_more_than_the_parameters():
    units = (
        VirtualWorld(3)
        .run(
            lambda comm: [
                f.N * len(f.shard) for u in units_of(Net(), comm, every_child) for f in u.flats
            ]
        )
        .results[0]
    )
    count = sum(p.numel() for p in Net().parameters())
    assert count <= sum(units) < count + 3 * len(units)


def held_bytes(zero):
    """Of whole parameters, now."""
    wholes = [flat.whole for unit in zero.units for flat in unit.flats]
    return sum(whole.untyped_storage().nbytes() for whole in wholes if whole is not None)


def held(way, comm):
    """Bytes that this rank holds between two steps:
    parameters, gradients before the step, optimizer state; and at most, of parameters.
    """
    model, (x, y) = Net(), tokens()
    zero = way(model, comm, adam)
    most = [0]

    def look(*_):
        most[0] = max(most[0], held_bytes(zero))

    for block in model.blocks:
        block.register_forward_hook(look)
    loss_of(zero, x, y).backward()
    zero.synchronise() if way is not Zero1 else None
    with unguarded():
        held = [*model.parameters(), *zero.trained]
        gradients = sum(p.grad.nbytes for p in held if p.grad is not None)
    zero.step()
    state = sum(t.nbytes for s in zero.optimizer.state.values() for t in s.values() if t.dim())
    return held_bytes(zero), gradients, state, most[0]


def test_each_stage_shards_one_thing_more():
    N = 4
    P = 4 * sum(p.numel() for p in Net().parameters())
    trained = 4 * sum(p.numel() for p in Net().parameters() if p.requires_grad)
    pad = 4 * N * 5  # less than one element a rank in each of five vectors
    one, two, three = (VirtualWorld(N).run(held, way).results[1] for way in WAYS)
    for stage, parameters, gradients in (
        (one, P, trained),
        (two, P, trained / N),
        (three, 0, trained / N),
    ):
        assert stage[0] == pytest.approx(parameters, abs=pad) and stage[1] == pytest.approx(
            gradients, abs=pad
        )
        assert stage[2] == pytest.approx(2 * trained / N, abs=2 * pad)
    largest = 4 * max(sum(p.numel() for p in m.parameters()) for m in Net().blocks) + pad
    assert one[3] == two[3] == pytest.approx(P, abs=pad) and three[3] <= 2 * largest + 4 * 30


def eight_layers(way, comm):
    """Two steps of layers that are computed at once and reduced slowly."""
    torch.manual_seed(0)
    zero = way(
        torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(8))),
        comm,
        lambda ps: torch.optim.SGD(ps, lr=0.1),
    )
    for name in ("first", "second"):
        with comm.span(name):
            zero(torch.ones(2, 64)).sum().backward()
            zero.step()


@pytest.mark.parametrize("way", [Zero2, Zero3])
def test_a_slow_network_does_not_make_a_rank_hold_all_gradients(way):
    """Three units of eight on their way and what a ring has in hand, beside the shards;
    all eight would be more than 1.
    """
    trace = VirtualWorld(4, network=Uniform(1e-3, 1e-6)).run(eight_layers, way, meter=True).trace
    kinds = trace.memory_kinds(0, "second")
    assert kinds["activations"] < 0.75 * 8 * 4 * (64 * 64 + 64)


def precise(way, comm):
    zero, (x, y) = way(Net(), comm, adam, compute_dtype=torch.bfloat16), tokens()
    own = torch.arange(12).chunk(comm.world_size)[comm.rank]
    out = zero(x[own])
    torch.nn.functional.cross_entropy(out.float(), y[own]).backward()
    zero.step()
    return (
        out.dtype,
        {piece.dtype for piece in zero.trained},
        {t.dtype for s in zero.optimizer.state.values() for t in s.values()},
        zero.full_state_dict(),
    )


@pytest.mark.parametrize("way", WAYS)
def test_computing_in_bfloat16_keeps_master_weights_and_state_in_float32(way):
    for out, shards, state, whole in VirtualWorld(2).run(precise, way).results:
        assert (out, shards, state) == (torch.bfloat16, {torch.float32}, {torch.float32})
        assert all(t.dtype == torch.float32 for t in whole.values())
        expected = alone(
            steps=1
        )  # AdamW's first step has the size of its rate, whatever the gradient
        assert sum((whole[n] - expected[n]).abs().mean() for n in expected) / len(expected) < 0.02


def test_a_tied_parameter_belongs_to_the_root_and_stays_one():
    names = (
        VirtualWorld(2)
        .run(
            lambda comm: [
                (u.name, len([p for f in u.flats for p in f.parts]))
                for u in units_of(Net(), comm, every_child)
            ]
        )
        .results[0]
    )
    assert names == [("", 1), ("blocks.0", 4), ("blocks.1", 4), ("blocks.2", 4)]
    found = VirtualWorld(2).run(train, Zero3).results[0]
    assert torch.equal(found["embed.weight"], found["head.weight"])


class Chosen(torch.nn.Module):
    """Two units; which of their parameters get a gradient differs from one backward pass to the
    next.
    """

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.units = torch.nn.ModuleList(Experts() for _ in range(2))

    def forward(self, x, which):
        for unit in self.units:
            x = unit(x, which)
        return x


class Experts(torch.nn.Module):
    """One of the first three layers, as chosen, and the last one after it."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(5, 5) for _ in range(4))

    def forward(self, x, which):
        return x + self.layers[3](torch.tanh(self.layers[which](x)))


def choose(model, x, passes, own=slice(None)):
    """A microbatch for each entry of `passes`, which names the layer that it goes through."""
    for which in passes:
        (model(x[own], which) ** 2).mean().backward()


@pytest.mark.parametrize("passes", [(0, 0), (0, 1, 2), (2, 0, 1, 2)])
@pytest.mark.parametrize("way", WAYS)
def test_microbatches_may_leave_parameters_without_a_gradient(way, passes):
    x, alone, sgd = (
        torch.randn(8, 5, generator=torch.Generator().manual_seed(6)),
        Chosen(),
        lambda ps: torch.optim.SGD(ps, lr=0.1),
    )

    def sharded(comm):
        zero = way(Chosen(), comm, sgd)
        for _ in range(2):
            choose(zero, x, passes, torch.arange(8).chunk(comm.world_size)[comm.rank])
            zero.step()
        return zero.full_state_dict()

    optimizer = sgd(alone.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        choose(alone, x, passes)
        optimizer.step()
    assert_same(VirtualWorld(2).run(sharded).results[1], alone.state_dict())


@pytest.mark.parametrize("way", [Zero1, Zero2])
def test_another_layer_on_each_rank_is_the_mean_over_ranks(way):
    x, alone, sgd = (
        torch.randn(4, 5, generator=torch.Generator().manual_seed(6)),
        Chosen(),
        lambda ps: torch.optim.SGD(ps, lr=0.1),
    )

    def sharded(comm):
        zero = way(
            Chosen(), comm, sgd, is_unit=lambda name, module: isinstance(module, torch.nn.Linear)
        )
        choose(zero, x, [comm.rank])
        zero.step()
        return zero.full_state_dict()

    for which in range(3):
        ((alone(x, which) ** 2).mean() / 3).backward()
    sgd(alone.parameters()).step()
    for found in VirtualWorld(3).run(sharded).results:
        assert_same(found, alone.state_dict())


def test_a_unit_that_nobody_calls_is_refused_in_words():
    with pytest.raises(RankError, match="blocks is a ModuleList, which is never called"):
        VirtualWorld(2).run(train, Zero3, is_unit=lambda name, module: name == "blocks")


class Nested(torch.nn.Module):
    """Units that take keywords and return a dict and nested tuples, as an LSTM does."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.named, self.rnn, self.head = (
            Named(),
            torch.nn.LSTM(5, 4, batch_first=True),
            torch.nn.Linear(4, 6),
        )

    def forward(self, tokens):
        x = torch.nn.functional.one_hot(tokens, 5 + 1)[..., :5].float()
        _, (h, _) = self.rnn(self.named(x=x)["y"][:, None])
        return self.head(h[-1])


class Named(torch.nn.Module):
    """One layer; a keyword in, a dict out."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(5, 5)

    def forward(self, *, x):
        return {"y": torch.tanh(self.layer(x))}


def nested(way, comm, **how):
    zero, (x, y) = way(Nested(), comm, adam, **how), tokens()
    own = torch.arange(12).chunk(comm.world_size)[comm.rank]
    loss_of(zero, x[own], y[own]).backward()
    zero.step()
    return zero.full_state_dict()


@pytest.mark.parametrize("way", WAYS)
def test_units_may_take_keywords_and_return_dicts_and_nested_tuples(way):
    model, (x, y) = Nested(), tokens()
    optimizer = adam(model.parameters())
    loss_of(model, x, y).backward()
    optimizer.step()
    assert_same(VirtualWorld(2).run(nested, way).results[1], model.state_dict())
    half = VirtualWorld(2).run(nested, way, compute_dtype=torch.bfloat16).results[1]
    assert all(torch.isfinite(value).all() for value in half.values())


@pytest.mark.parametrize("way", WAYS)
def test_a_rank_that_dies_ends_the_run_in_words(way):
    with pytest.raises(RankDied, match="Rank 1 was killed"):
        VirtualWorld(3).run(train, way, faults=[Crash(rank=1, at=Op(20))])


def fsdp(kind, how, comm):
    """torch's fully_shard with the same units."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, (x, y) = Untied(), tokens()
    mesh = init_device_mesh("cpu", (comm.world_size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer, losses = kind(model.parameters(), **how), []
    own = torch.arange(12).chunk(comm.world_size)[comm.rank]
    for _ in range(3):
        loss = loss_of(model, x[own], y[own])
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    return losses, {name: p.full_tensor() for name, p in model.state_dict().items()}


class Untied(torch.nn.Module):
    """Blocks alone: fully_shard keeps neither ties between units nor frozen parts of a unit."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.embed, self.blocks, self.head = (
            torch.nn.Embedding(6, 5),
            torch.nn.ModuleList(Block() for _ in range(3)),
            torch.nn.Linear(5, 6),
        )

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def zero_optimizer(kind, how, comm):
    """torch's ZeroRedundancyOptimizer under its DDP."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model, (x, y) = Untied(), tokens()
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    optimizer, losses = ZeroRedundancyOptimizer(model.parameters(), kind, **how), []
    own = torch.arange(12).chunk(comm.world_size)[comm.rank]
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(wrapped, x[own], y[own])
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return losses, model.state_dict()


def ours(way, kind, how, comm):
    zero, (x, y), losses = (
        way(Untied(), comm, lambda parameters: kind(parameters, **how)),
        tokens(),
        [],
    )
    own = torch.arange(12).chunk(comm.world_size)[comm.rank]
    for _ in range(3):
        loss = loss_of(zero, x[own], y[own])
        loss.backward()
        losses.append(loss.item())
        zero.step()
    return losses, zero.full_state_dict()


@pytest.mark.parametrize(
    "kind, how",
    [(torch.optim.AdamW, {"lr": 0.05, "weight_decay": 0.1}), (torch.optim.SGD, {"lr": 0.5})],
)  # SGD sees a gradient's size
@pytest.mark.parametrize("theirs", [fsdp, zero_optimizer])
def test_the_same_losses_and_weights_as_torchs_own(worlds, theirs, kind, how):
    expected = worlds(2).run(theirs, kind, how).results
    for way in WAYS:
        for (losses, weights), (their_losses, their_weights) in zip(
            worlds(2).run(ours, way, kind, how).results, expected
        ):
            assert losses == pytest.approx(their_losses, rel=1e-5)
            assert_same(weights, their_weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["Adafactor", "LBFGS", "Muon"])
@pytest.mark.parametrize("way", WAYS)
def test_an_optimizer_that_looks_at_whole_layers_is_refused(way, name):
    if not hasattr(torch.optim, name):
        pytest.skip(f"this torch has no {name}")
    make = getattr(torch.optim, name)
    with pytest.raises(RankError, match="each element by itself|2D"):  # Muon itself refuses vectors
        VirtualWorld(2).run(lambda comm: way(Net(), comm, make) and None)
