"""Values as bytes and back, without pickle: nothing that is decoded can run.

    [1, {"a": tensor}]  <->  [1, {"d": [["a", {"t": ["float32", [2, 3]]}]]}]  +  the tensors' bytes

None, booleans, numbers, strings, lists, tuples, dicts of them, and dense tensors. What the other
side sends is checked before it is used: sizes, shapes, dtypes, depth. Whatever is wrong with it
raises CodecError in words.
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
DEEPEST = 40  # lists in lists
MOST_DIMENSIONS = 16
MOST_TEXT = 4 << 20  # bytes of JSON in one message
MOST_BYTES = 128 << 20  # bytes of tensors
HEAD = struct.Struct("<II")
NUMBERS = {type(None), bool, int, float}  # types that JSON has, too
AS_IT_IS = {*NUMBERS, str}


class CodecError(Exception):
    """These bytes, or this value, are not what the protocol allows."""


def encode(message):
    """The bytes of a message. Raises TypeError in words for a value that cannot travel."""
    parts = []
    text = json.dumps(_plain(message, parts, 0)).encode()
    nbytes = sum(map(len, parts))
    if len(text) > MOST_TEXT or nbytes > MOST_BYTES:
        raise TypeError(
            f"{max(len(text), nbytes) >> 20} MB are too much for one message: at most "
            f"{MOST_BYTES >> 20} MB of tensors and {MOST_TEXT >> 20} MB of other values"
        )
    return b"".join([HEAD.pack(len(text), nbytes), text, *parts])


def sizes(head):
    """(bytes of JSON, bytes of tensors) that a message's first 8 bytes announce.

    Raises CodecError for too many.
    """
    text, nbytes = HEAD.unpack(head)
    if text > MOST_TEXT or nbytes > MOST_BYTES:
        raise CodecError(f"a message of {text + nbytes:,} bytes is announced")
    return text, nbytes


def decode(text, tensors):
    """The message whose JSON and tensor bytes these are. Raises CodecError."""
    try:
        tree = json.loads(text.decode())
    except (ValueError, RecursionError):
        raise CodecError("what came is not a message") from None
    reader = _Reader(memoryview(tensors))
    message = reader.value(tree, 0)
    if reader.at != len(tensors):
        raise CodecError("a message is longer than its tensors")
    return message


def _plain(value, parts, depth):
    """What JSON holds in place of `value`; the bytes of its tensors are appended to `parts`."""
    if type(value) in AS_IT_IS:
        return value
    for plain in (str, int, float):
        if isinstance(value, plain):  # a subclass
            return plain(value)
    if depth > DEEPEST:
        raise TypeError(f"lists in lists, {DEEPEST} deep, cannot travel")

    def inner(items):
        # Most items are numbers and strings, for which a call would cost more than all else.
        return [
            item if type(item) in AS_IT_IS else _plain(item, parts, depth + 1) for item in items
        ]

    if isinstance(value, torch.Tensor):
        parts.append(tensor_bytes(value))
        return {"t": [_dtype_name(value), list(value.shape)]}
    if isinstance(value, tuple):
        return {"u": inner(value)}
    if isinstance(value, list):
        return inner(value)
    if isinstance(value, dict):
        return {"d": [inner(pair) for pair in value.items()]}
    if isinstance(value, Function):
        return {"f": value.name}
    if isinstance(value, Packed):
        parts.append(value.data)
        return {"p": len(value.data)}
    raise TypeError(
        f"a {type(value).__name__} cannot travel: tensors, numbers, texts, None, "
        "and lists, tuples and dicts of them can"
    )


def _dtype_name(tensor):
    return str(tensor.dtype).removeprefix("torch.")


def tensor_bytes(tensor):
    """The elements of a dense tensor, in order, as bytes."""
    if _dtype_name(tensor) not in DTYPES:
        raise TypeError(f"a tensor of {tensor.dtype} cannot travel")
    if tensor.device.type == "meta":
        raise TypeError("a tensor without elements in memory cannot travel")
    if tensor.layout is not torch.strided:
        raise TypeError("a sparse tensor cannot travel")
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


class Function:
    """A function that a rank knows by this name: an answer, or "module:name"."""

    def __init__(self, name):
        self.name = name


class Packed:
    """An object of the judge's, pickled, such as a model.

    Only ranks unpickle it: the judge never does.
    """

    def __init__(self, data):
        self.data = data


class _Reader:
    """Builds values from parsed JSON, and takes the tensors' bytes in order."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.at = 0

    def value(self, tree, depth):
        """The value that this part of the JSON stands for."""
        if isinstance(tree, str):
            # Half of a surrogate pair could not be written to a file.
            return tree if tree.isascii() else tree.encode("utf-8", "replace").decode()
        if type(tree) in NUMBERS:
            return tree
        if depth > DEEPEST:
            raise CodecError("values lie too deep in each other")
        if isinstance(tree, list):
            return [item if type(item) in NUMBERS else self.value(item, depth + 1) for item in tree]
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
        values = [self.value(item, depth + 1) for item in content]
        return tuple(values) if kind == "u" else _dict_of(values)

    def bytes(self, size):
        """The next bytes."""
        if type(size) is not int or size < 0 or self.at + size > len(self.tensors):
            raise CodecError("a tensor is longer than its message")
        self.at += size
        return self.tensors[self.at - size : self.at]

    def tensor(self, content):
        """The tensor of this [dtype, shape], from the next bytes."""
        match content:
            case [str(name), shape] if name in DTYPES:
                dtype = DTYPES[name]
                shape = shape_of(shape)
            case _:
                raise CodecError("a tensor has no known dtype")
        data = bytearray(self.bytes(math.prod(shape) * dtype.itemsize))
        if not data:
            return torch.empty(shape, dtype=dtype)
        if dtype is torch.bool:  # a bool of any byte but 0 and 1 would be undefined
            return (torch.frombuffer(data, dtype=torch.uint8) != 0).reshape(shape)
        return torch.frombuffer(data, dtype=dtype).reshape(shape)


def shape_of(given):
    """A shape from parsed JSON. Raises CodecError."""
    impossible = CodecError("a tensor has an impossible shape")
    if not isinstance(given, (list, tuple)) or len(given) > MOST_DIMENSIONS:
        raise impossible
    for size in given:
        if type(size) is not int:  # True is an int, too
            raise impossible
        if not 0 <= size < 1 << 40:
            raise impossible
    return tuple(given)


def _dict_of(pairs):
    found = {}
    for pair in pairs:
        match pair:
            case [str() | int() | float() | None as key, value] if isinstance(pair, list):
                found[key] = value
            case _:
                raise CodecError("a dict has keys that are neither texts nor numbers")
    return found
