"""Weights do not depend on who holds which part, the models equal torch's own modules,
and a GPT learns.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minidl import VirtualWorld
from minidl.zoo.data import Sampler, english, windows
from minidl.zoo.models import CNN, GPT, MLP, Attention, Block, initial, initialise, next_token_loss


@pytest.fixture
def one_thread():
    """Small tensors gain nothing from a second thread, and on a busy machine lose much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(**kwargs):
    return GPT(vocabulary=50, context=12, width=16, heads=4, layers=3, **kwargs)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def equal(one, other):
    """Two modules have the same names, and the same values bit by bit."""
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


# --- Initial weights -----------------------------------------------------------------------------


def test_a_stage_has_the_weights_of_the_whole_model():
    whole = small(seed=5)
    stage = initialise(Block(16, 4), seed=5, prefix="blocks.2.", std=0.02)
    assert equal(stage, whole.blocks[2]) and not equal(stage, whole.blocks[1])


def test_the_order_and_what_was_drawn_before_do_not_matter():
    whole = small(seed=5)
    torch.manual_seed(1234)
    names = dict(whole.named_parameters())
    for name in reversed(names):
        assert torch.equal(initial(name, names[name].shape, 5, 0.02), names[name])


@pytest.mark.parametrize("N", [1, 2, 4])
def test_slices_equal_the_slices_of_the_whole(N):
    up = small(seed=2).blocks[1].up.weight  # (64, 16)
    slices = [initial("blocks.1.up.weight", (64, 16), 2, 0.02).chunk(N)[rank] for rank in range(N)]
    columns = [
        initial("blocks.1.up.weight", (64, 16), 2, 0.02).chunk(N, dim=1)[rank] for rank in range(N)
    ]
    assert torch.equal(torch.cat(slices), up) and torch.equal(torch.cat(columns, dim=1), up)


def test_every_rank_starts_with_the_weights_of_one_process():
    alone = MLP([8, 16, 4], seed=3)
    assert all(
        equal(model, alone)
        for model in VirtualWorld(3).run(lambda comm: MLP([8, 16, 4], seed=3)).results
    )


def test_seed_name_and_shape_each_give_other_numbers():
    first = initial("a.weight", (4, 6), 0)
    assert torch.equal(first, initial("a.weight", torch.Size([4, 6]), 0))
    for other in (
        initial("a.weight", (4, 6), 1),
        initial("b.weight", (4, 6), 0),
        initial("a.weight", (6, 4), 0).reshape(4, 6),
    ):
        assert not torch.isclose(first, other).any()


def test_deviations_are_those_of_the_docstring():
    assert initial("w.weight", (512, 200), 0).std().item() == pytest.approx(
        math.sqrt(2 / 200), rel=0.02
    )
    assert initial("w.weight", (64, 16, 3, 3), 0).std().item() == pytest.approx(
        math.sqrt(2 / 144), rel=0.03
    )
    assert initial("w.weight", (512, 200), 0, std=0.5).std().item() == pytest.approx(0.5, rel=0.02)
    assert (
        initial("x.bias", (7,), 0).tolist() == [0] * 7
        and initial("norm.weight", (7,), 0).tolist() == [1] * 7
    )


def test_initialise_leaves_torchs_generator_alone():
    model = MLP([4, 4])
    before = torch.get_rng_state()
    assert initialise(model, 9) is model and torch.equal(torch.get_rng_state(), before)


def test_values_are_drawn_where_the_layout_says_nothing_about_the_device():
    with torch.device("meta"):
        values = (
            initial("w.weight", (4, 6), 0),
            initial("w.bias", (4,), 0),
            next(iter(Sampler(4, 2))),
            english(256).tokens,
        )
    assert not any(value.is_meta for value in values) and torch.equal(
        values[0], initial("w.weight", (4, 6), 0)
    )


# --- Counting ------------------------------------------------------------------------------------


def formula(V, T, C, L):
    """Embeddings and head, L blocks of four C x C and two C x 4C matrices with biases and two
    norms, and a norm.
    """
    return 2 * V * C + T * C + L * (12 * C * C + 13 * C) + 2 * C


def test_the_gpt_of_the_benchmarks_has_3_7_million_parameters():
    assert parameters(GPT()) == formula(1024, 128, 256, 4) == 3_716_608
    assert parameters(GPT(tied=True)) == 3_716_608 - 1024 * 256


@pytest.mark.slow
def test_seven_billion_parameters_without_memory():
    with torch.device("meta"):
        model = GPT(vocabulary=32000, context=2048, width=4096, heads=32, layers=32)
        logits = model(torch.zeros(2, 2048, dtype=torch.int64))
    assert parameters(model) == formula(32000, 2048, 4096, 32) == 6_714_695_680
    assert logits.shape == (2, 2048, 32000) and logits.is_meta


def test_names_are_plain():
    block = [
        f"{layer}.{kind}"
        for layer in (
            "norm1",
            "attention.query",
            "attention.key",
            "attention.value",
            "attention.out",
            "norm2",
            "up",
            "down",
        )
        for kind in ("weight", "bias")
    ]
    assert [name for name, _ in GPT(8, 4, 4, 2, layers=1).named_parameters()] == [
        "tokens.weight",
        "positions.weight",
        *(f"blocks.0.{name}" for name in block),
        "norm.weight",
        "norm.bias",
        "head.weight",
    ]
    assert [name for name, _ in MLP([3, 2, 1]).named_parameters()] == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
    ]
    assert [name for name, _ in CNN(batch_norm=True).named_parameters()] == [
        "conv1.weight",
        "norm1.weight",
        "norm1.bias",
        "conv2.weight",
        "norm2.weight",
        "norm2.bias",
        "head.weight",
        "head.bias",
    ]


# --- Against torch's own modules -----------------------------------------------------------------


def test_attention_equals_torchs():
    attention, x = initialise(Attention(16, 4), seed=1), noise(3, 7, 16)
    q, k, v = (
        f(x).view(3, 7, 4, 4).transpose(1, 2)
        for f in (attention.query, attention.key, attention.value)
    )
    mixed = (
        F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(3, 7, 16)
    )
    torch.testing.assert_close(
        attention(x), attention.out(mixed)
    )  # float32's usual tolerance: another order of sums


def test_a_block_equals_torchs_encoder_layer():
    block, x = initialise(Block(16, 4), seed=1), noise(3, 7, 16)
    oracle = nn.TransformerEncoderLayer(
        16, 4, 64, dropout=0, activation="gelu", batch_first=True, norm_first=True
    )
    a = block.attention
    qkv = {
        kind: torch.cat([getattr(layer, kind) for layer in (a.query, a.key, a.value)])
        for kind in ("weight", "bias")
    }
    oracle.load_state_dict(
        {"self_attn.in_proj_weight": qkv["weight"], "self_attn.in_proj_bias": qkv["bias"]}
        | {
            f"{theirs}.{kind}": getattr(ours, kind)
            for kind in ("weight", "bias")
            for theirs, ours in (
                ("self_attn.out_proj", a.out),
                ("linear1", block.up),
                ("linear2", block.down),
                ("norm1", block.norm1),
                ("norm2", block.norm2),
            )
        }
    )
    torch.testing.assert_close(
        block(x),
        oracle(x, src_mask=nn.Transformer.generate_square_subsequent_mask(7), is_causal=True),
    )


def test_a_gpt_never_sees_what_comes_later():
    model, tokens = small(), torch.arange(20).reshape(2, 10)
    changed = tokens.clone()
    changed[:, 6] = 40
    before, after = model(tokens), model(changed)
    assert (
        torch.equal(before[:, :6], after[:, :6])
        and not torch.isclose(before[:, 6:], after[:, 6:]).all(-1).any()
    )


def test_an_mlp_equals_a_sequential():
    model, x = MLP([64, 32, 16, 10]), noise(5, 1, 8, 8)
    a, b, c = model.layers
    torch.testing.assert_close(
        model(x), nn.Sequential(nn.Flatten(), a, nn.ReLU(), b, nn.ReLU(), c)(x)
    )


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_cnn_equals_a_sequential(batch_norm):
    model, x = CNN(batch_norm), noise(5, 1, 8, 8)
    oracle = nn.Sequential(
        model.conv1,
        model.norm1,
        nn.ReLU(),
        nn.MaxPool2d(2),
        model.conv2,
        model.norm2,
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        model.head,
    )
    assert model(x).shape == (5, 10)
    torch.testing.assert_close(model(x), oracle(x))
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == batch_norm


def test_a_tied_head_is_the_embedding():
    model = small(tied=True)
    assert model.head.weight is model.tokens.weight and "head.weight" not in dict(
        model.named_parameters()
    )
    assert torch.equal(model.tokens.weight, small().tokens.weight)


# --- Loss ----------------------------------------------------------------------------------------


def test_the_first_loss_is_that_of_guessing():
    rows = torch.arange(48).reshape(4, 12)
    assert next_token_loss(small(), rows).item() == pytest.approx(math.log(50), abs=0.1)


def test_the_loss_is_torchs_mean_and_zero_for_no_rows():
    model, rows = small(), torch.arange(48).reshape(4, 12)
    logits = model(rows[:, :-1]).reshape(-1, 50)
    torch.testing.assert_close(
        next_token_loss(model, rows), F.cross_entropy(logits, rows[:, 1:].reshape(-1))
    )
    empty = next_token_loss(model, rows[:0])
    empty.backward()
    assert empty.item() == 0 and all(
        p.grad is not None and not p.grad.any() for p in model.parameters()
    )


@pytest.mark.slow
def test_a_gpt_learns_more_than_which_tokens_are_frequent(one_thread):
    text = english(vocabulary=512)
    shares = torch.bincount(text.tokens) / len(text.tokens)
    entropy = -torch.special.xlogy(shares, shares).sum().item()  # the best loss without any context
    model, rows = (
        GPT(vocabulary=512, context=32, width=64, heads=4, layers=2),
        windows(text.tokens, 32),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _, indices in zip(range(100), Sampler(len(rows), batch=16)):
        optimizer.zero_grad()
        next_token_loss(model, rows[indices]).backward()
        optimizer.step()
    with torch.no_grad():
        assert next_token_loss(model, windows(text.held_out, 32)).item() < entropy - 0.2


# --- Recomputation -------------------------------------------------------------------------------


def metered_step(recompute):
    """(loss, gradients, FLOPs, most bytes of activations) of a forward and backward pass."""

    def passes(comm):
        model, rows = (
            GPT(50, 24, 32, 4, layers=4, recompute=recompute),
            torch.arange(96).reshape(4, 24) % 50,
        )
        loss = next_token_loss(model, rows)
        loss.backward()
        return loss.item(), [p.grad for p in model.parameters()]

    run = VirtualWorld(1).run(passes, meter=True)
    return *run.results[0], run.trace.flops[0], run.trace.memory_kinds(0)["activations"]


@pytest.mark.slow
def test_recomputed_blocks_give_the_same_bits_for_less_memory_and_more_flops():
    plain, *others = [metered_step(k) for k in range(5)]
    for k, (loss, gradients, flops, _) in enumerate(others, start=1):
        assert loss == plain[0] and all(map(torch.equal, gradients, plain[1]))
        assert (
            0 < flops - plain[2] <= k * 4 * 23 * (2 * 12 * 32 * 32 + 4 * 23 * 32)
        )  # a forward pass of a block, or a little less
    costs = [activations for *_, activations in (plain, *others)]
    assert costs == sorted(costs, reverse=True) and costs[4] < 0.6 * costs[0]
    steps = [b[2] - a[2] for a, b in zip([plain, *others], others)]
    assert len(set(steps)) == 1  # each block costs the same again


def test_nothing_is_recomputed_where_no_gradient_is_wanted():
    with torch.no_grad():
        assert torch.equal(
            small(recompute=3)(torch.zeros(1, 5, dtype=torch.int64)),
            small()(torch.zeros(1, 5, dtype=torch.int64)),
        )


# --- In words ------------------------------------------------------------------------------------


def test_what_does_not_fit_is_said_in_words():
    with pytest.raises(ValueError, match="width of 10 does not split over 4 heads"):
        GPT(8, 4, width=10, heads=4)
    with pytest.raises(ValueError, match="of 3 blocks 0 to 3 can be recomputed, not 4"):
        small(recompute=4)
    with pytest.raises(ValueError, match="13 tokens do not fit a context of 12"):
        small()(torch.zeros(1, 13, dtype=torch.int64))
    with pytest.raises(ValueError, match="input and of its output"):
        MLP([64])
