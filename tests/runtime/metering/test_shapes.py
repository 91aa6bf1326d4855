"""A remembered answer is the one that torch gives: same shapes, strides and dtypes, new tensors."""

import pytest
import torch
from torch.nn import functional as F

from minidl import VirtualWorld
from minidl.runtime.metering import shapes

aten = torch.ops.aten


def meta(*shape, **how):
    return torch.empty(*shape, device="meta", **how)


def like(one, other):
    return (one.shape, one.stride(), one.dtype, one.device) == (
        other.shape,
        other.stride(),
        other.dtype,
        other.device,
    )


CALLS = {
    "matmul": (aten.mm.default, (meta(3, 4), meta(5, 4).t()), {}),
    "several results": (
        aten.native_layer_norm.default,
        (meta(2, 3, 8), [8], meta(8), meta(8), 1e-5),
        {},
    ),
    "a missing result": (
        aten.native_layer_norm_backward.default,
        (meta(2, 8), meta(2, 8), [8], meta(2, 1), meta(2, 1), meta(8), None, [True, False, False]),
        {},
    ),
    "a list of tensors": (aten.cat.default, ([meta(2, 3), meta(4, 3)],), {}),
    "another dtype": (aten._to_copy.default, (meta(3),), {"dtype": torch.bfloat16}),
    "transposed": (aten.gelu.default, (meta(4, 5).t(),), {}),
}


class Counted:
    """An operation that counts how often torch was asked for it."""

    def __init__(self, func):
        self.func, self._schema, self.calls = func, func._schema, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.func(*args, **kwargs)


@pytest.mark.parametrize("name", CALLS)
def test_the_second_answer_equals_torchs_and_is_a_new_tensor_for_which_torch_was_not_asked(name):
    func, args, kwargs = CALLS[name]
    counted = Counted(func)
    first, second = (shapes.remembered_call(counted, args, kwargs) for _ in range(2))
    assert counted.calls == 1
    for one, two, right in zip(
        *(
            out if isinstance(out, tuple) else (out,)
            for out in (first, second, func(*args, **kwargs))
        )
    ):
        assert (two is None) == (right is None)
        assert (
            right is None
            or like(two, right)
            and two.untyped_storage()._cdata != one.untyped_storage()._cdata
        )


@pytest.mark.parametrize(
    "func, args",
    [
        (aten.view.default, (meta(4), [2, 2])),
        (aten.add_.Tensor, (meta(4), 1)),
        (aten.mm.default, (torch.ones(2, 2), torch.ones(2, 2))),
    ],
)
def test_views_changes_in_place_and_real_tensors_always_go_to_torch(func, args):
    counted = Counted(func)
    for _ in range(2):
        shapes.remembered_call(counted, args, {})
    assert counted.calls == 2


def test_a_number_stands_with_its_type_and_a_tensor_with_its_strides():
    whole = meta(3, dtype=torch.int64)
    results = [
        shapes.remembered_call(aten.add.Tensor, (whole, number), {}).dtype
        for number in (1, 1.0, True, 1.0, 1)
    ]
    assert results == [torch.int64, torch.float32, torch.int64, torch.float32, torch.int64]
    strides = [
        shapes.remembered_call(aten.gelu.default, (x,), {}).stride()
        for x in (meta(4, 4), meta(4, 4).t(), meta(4, 4))
    ]
    assert strides == [(4, 1), (1, 4), (4, 1)]


def test_a_training_step_on_meta_tensors_is_metered_the_same_with_and_without_memory():
    def step(comm):
        with torch.device("meta"):
            net = torch.nn.Sequential(
                torch.nn.Linear(64, 64),
                torch.nn.LayerNorm(64),
                torch.nn.GELU(),
                torch.nn.Linear(64, 8),
            )
            F.cross_entropy(net(torch.empty(5, 64)), torch.zeros(5, dtype=torch.int64)).backward()
        torch.optim.AdamW(net.parameters()).step()

    shapes._answers.clear()
    first = VirtualWorld(1).run(step, meter=True).trace
    assert shapes._answers
    second = VirtualWorld(1).run(step, meter=True).trace
    assert first.flops == second.flops and first.held == second.held
