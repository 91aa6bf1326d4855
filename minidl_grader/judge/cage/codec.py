"""Values as bytes and back, without pickle: nothing that is decoded can run.

    [1, {"a": tensor}]  <->  JSON  [1, {"d": [["a", {"t": ["float32", [2, 3]]}]]}]  +  the tensors' bytes, one after the other

None, truth values, numbers, texts, lists, tuples, dicts of them, and dense tensors. What the other side sends is looked at
before it is believed: sizes, shapes, dtypes, depth. Whatever is wrong with it is a CodecError in words.
"""

import json
import math
import struct

import torch

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.bool,
    )
}
DEEPEST, MOST_DIMENSIONS = 40, 16
MOST_TEXT, MOST_BYTES = 4 << 20, 128 << 20  # of one message: JSON, tensors
HEAD = struct.Struct("<II")


class CodecError(Exception):
    """These bytes, or this value, are not what the protocol allows."""


def encode(message):
    """The bytes of a message. Raises TypeError in words for a value that cannot travel."""
    parts = []
    text = json.dumps(_plain(message, parts, 0)).encode()
    nbytes = sum(map(len, parts))
    if len(text) > MOST_TEXT or nbytes > MOST_BYTES:
        raise TypeError(
            f"{max(len(text), nbytes) >> 20} MB are too much for one message: at most {MOST_BYTES >> 20} MB of tensors and {MOST_TEXT >> 20} MB of other values"
        )
    return b"".join([HEAD.pack(len(text), nbytes), text, *parts])


def sizes(head):
    """(bytes of JSON, bytes of tensors) that the first 8 bytes of a message announce. Raises CodecError if that is too much."""
    text, nbytes = HEAD.unpack(head)
    if text > MOST_TEXT or nbytes > MOST_BYTES:
        raise CodecError(f"a message of {text + nbytes:,} bytes is announced")
    return text, nbytes


def decode(text, tensors):
    """The message whose JSON and tensor bytes these are. Raises CodecError."""
    try:
        tree = json.loads(bytes(text))
    except (ValueError, RecursionError):
        raise CodecError("what came is not a message") from None
    reader = _Reader(memoryview(tensors))
    message = reader.value(tree, 0)
    if reader.at != len(tensors):
        raise CodecError("a message is longer than its tensors")
    return message


def _plain(value, parts, depth):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if depth > DEEPEST:
        raise TypeError(f"lists in lists, {DEEPEST} deep, cannot travel")
    if isinstance(value, torch.Tensor):
        parts.append(tensor_bytes(value))
        return {"t": [str(value.dtype).removeprefix("torch."), list(value.shape)]}
    if isinstance(value, tuple):
        return {"u": [_plain(v, parts, depth + 1) for v in value]}
    if isinstance(value, list):
        return [_plain(v, parts, depth + 1) for v in value]
    if isinstance(value, dict):
        return {
            "d": [
                [_plain(k, parts, depth + 1), _plain(v, parts, depth + 1)] for k, v in value.items()
            ]
        }
    if isinstance(value, Function):
        return {"f": value.name}
    if isinstance(value, Packed):
        parts.append(value.data)
        return {"p": len(value.data)}
    raise TypeError(
        f"a {type(value).__name__} cannot travel: tensors, numbers, texts, None, and lists, tuples and dicts of them can"
    )


def tensor_bytes(tensor):
    """The elements of a dense tensor, in order, as bytes."""
    if str(tensor.dtype).removeprefix("torch.") not in DTYPES:
        raise TypeError(f"a tensor of {tensor.dtype} cannot travel")
    if tensor.layout is not torch.strided or tensor.device.type == "meta":
        raise TypeError(
            "a tensor without elements in memory cannot travel"
            if tensor.device.type == "meta"
            else "a sparse tensor cannot travel"
        )
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


class Function:
    """A function that the other side knows by this name: an answer, or "module:name". Travels from the judge to ranks only."""

    def __init__(self, name):
        self.name = name


class Packed:
    """An object of the judge's as bytes, a model for one. Travels from the judge to ranks only, and only ranks open it: see rank.py."""

    def __init__(self, data):
        self.data = data


class _Reader:
    """Builds values from parsed JSON, and takes the tensors' bytes in order."""

    def __init__(self, tensors):
        self.tensors, self.at = tensors, 0

    def value(self, tree, depth):
        if tree is None or isinstance(tree, (bool, int, float)):
            return tree
        if isinstance(tree, str):
            return tree.encode(
                "utf-8", "replace"
            ).decode()  # half a surrogate pair could not be written down
        if depth > DEEPEST:
            raise CodecError("values lie too deep in each other")
        if isinstance(tree, list):
            return [self.value(v, depth + 1) for v in tree]
        if len(tree) != 1:
            raise CodecError("a value has no single kind")
        [(kind, content)] = tree.items()
        if kind == "t":
            return self.tensor(content)
        if kind == "f" and isinstance(content, str):
            return Function(content)
        if kind == "p":
            return Packed(self.bytes(content).tobytes())
        if kind not in ("u", "d") or not isinstance(content, list):
            raise CodecError("a value is of no known kind")
        values = [self.value(v, depth + 1) for v in content]
        return tuple(values) if kind == "u" else _dict_of(values)

    def bytes(self, size):
        """The next bytes."""
        if type(size) is not int or size < 0 or self.at + size > len(self.tensors):
            raise CodecError("a tensor is longer than its message")
        self.at += size
        return self.tensors[self.at - size : self.at]

    def tensor(self, content):
        if not (
            isinstance(content, list)
            and len(content) == 2
            and isinstance(content[0], str)
            and content[0] in DTYPES
        ):
            raise CodecError("a tensor has no known dtype")
        dtype, shape = DTYPES[content[0]], shape_of(content[1])
        data = bytearray(self.bytes(math.prod(shape) * dtype.itemsize))
        if not data:
            return torch.empty(shape, dtype=dtype)
        if dtype is torch.bool:  # any byte but 0 and 1 would be no truth value
            return (torch.frombuffer(data, dtype=torch.uint8) != 0).reshape(shape)
        return torch.frombuffer(data, dtype=dtype).reshape(shape)


def shape_of(given):
    """A shape from parsed JSON, or CodecError."""
    if (
        not isinstance(given, (list, tuple))
        or len(given) > MOST_DIMENSIONS
        or not all(type(n) is int and 0 <= n < 1 << 40 for n in given)
    ):
        raise CodecError("a tensor has an impossible shape")
    return tuple(given)


def _dict_of(pairs):
    if not all(
        isinstance(pair, list)
        and len(pair) == 2
        and isinstance(pair[0], (str, int, float, bool, type(None)))
        for pair in pairs
    ):
        raise CodecError("a dict has keys that are neither texts nor numbers")
    return dict(pairs)
