"""Values come back as they were, and bytes that nobody should send are refused in words."""

import json
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minidl_grader.judge.cage.codec import (
    DTYPES,
    HEAD,
    MOST_BYTES,
    CodecError,
    Function,
    Packed,
    decode,
    encode,
    sizes,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner)
    ),
    max_leaves=12,
)


def there_and_back(value):
    data = encode(value)
    text, tensors = sizes(data[: HEAD.size])
    assert len(data) == HEAD.size + text + tensors
    return decode(data[HEAD.size : HEAD.size + text], data[HEAD.size + text :])


@given(PLAIN)
def test_plain_values_come_back(value):
    found = there_and_back(value)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 5), (2, 3)])
def test_tensors_come_back_with_every_bit(dtype, shape):
    tensor = (
        torch.arange(6)[: max(1, int(torch.tensor(shape).prod()))]
        .to(dtype)[: int(torch.tensor(shape).prod())]
        .reshape(shape)
    )
    found = there_and_back({"x": (tensor, [tensor.mT if tensor.dim() > 1 else tensor])})
    assert (
        found["x"][0].dtype == dtype
        and found["x"][0].shape == shape
        and torch.equal(found["x"][0], tensor)
    )
    assert torch.equal(found["x"][1][0], tensor.mT if tensor.dim() > 1 else tensor)


def test_functions_travel_as_names():
    assert there_and_back([Function("shift")])[0].name == "shift"


class Alarm:
    def __reduce__(self):
        return pytest.fail, ("somebody has opened what a rank sent",)


def test_what_is_packed_stays_packed():
    data = pickle.dumps(Alarm())
    found = there_and_back([1, Packed(data), torch.ones(2)])
    assert (
        type(found[1]) is Packed and found[1].data == data and torch.equal(found[2], torch.ones(2))
    )


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, lambda: 0, torch.empty(2, device="meta"), torch.eye(2).to_sparse(), 1j],
)
def test_what_cannot_travel_is_named(value):
    with pytest.raises(TypeError, match="cannot travel"):
        encode([value])


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "tree, tensors",
    [
        ({"t": ["float32", [2]]}, b"1234"),
        ({"t": ["float32", [1]]}, b"12345678"),
        ({"t": ["float32", [-1]]}, b""),
        ({"t": ["object", [1]]}, b""),
        ({"t": ["float32", [1 << 41, 0]]}, b""),
        ({"t": ["float32", [1.5]]}, b""),
        ({"t": ["float32", [True]]}, b"1234"),
        ({"t": []}, b""),
        ({"t": 3}, b""),
        ({"x": 1}, b""),
        ({}, b""),
        ({"u": 1, "d": 2}, b""),
        ({"d": [[[1], 2]]}, b""),
        ({"d": [1]}, b""),
        ({"f": 1}, b""),
        ({"p": 9}, b"12345678"),
        ({"p": -1}, b""),
        ({"p": 4}, b"12345678"),
        (deep(60), b""),
    ],
)
def test_forged_messages_are_refused(tree, tensors):
    with pytest.raises(CodecError):
        decode(json.dumps(tree).encode(), tensors)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"nul"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(CodecError):
        decode(text, b"")


def test_a_message_that_announces_too_much_is_refused_before_it_is_read():
    with pytest.raises(CodecError, match="announced"):
        sizes(HEAD.pack(10, MOST_BYTES + 1))
    with pytest.raises(TypeError, match="too much"):
        encode("x" * (5 << 20))
