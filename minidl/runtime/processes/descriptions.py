"""What is published of a message before it is posted: five integers, so that two can be compared.

(4, 2) float32          dtype | dimensions << 8 | on a GPU << 16,  then  4, 2, 0, 0
all_reduce(..., sum)    the same | collective << 32 | op << 40 | (root + 1) << 44
"""

from functools import lru_cache

import torch

from minidl.trace import COLLECTIVES

SEND, RECV, NATIVE = 0, 1, 2  # directions of a channel
DTYPES = sorted({d for d in vars(torch).values() if isinstance(d, torch.dtype)}, key=str)
DTYPE_INDEX = {dtype: i for i, dtype in enumerate(DTYPES)}
SAME_SHAPE = ("all_reduce", "reduce", "broadcast", "all_gather", "reduce_scatter", "gather")
ROOTED = ("broadcast", "scatter", "reduce", "gather")
REDUCING = ("all_reduce", "reduce", "reduce_scatter")
OPS = ("sum", "product", "min", "max")
MASK = 0x7FFFFFFFFFFFFFFF  # the largest integer of a cell


def key(context, peer, direction):
    """The number that names a channel on the board."""
    return context << 24 | (peer + 1) << 2 | direction


@lru_cache(4096)
def description(shape, dtype, on_gpu=False):
    """Five integers: dtype, dimensions and memory, then four sizes, the last for all others."""
    n = len(shape)
    sizes = (*shape, 0, 0, 0, 0)[:4]
    if n > 4:
        sizes = (*shape[:3], hash(tuple(shape[3:])) & MASK)
    return DTYPE_INDEX[dtype] | n << 8 | on_gpu << 16, *sizes


def native_description(op):
    """The description of a native collective, a Native."""
    collective = COLLECTIVES.index(op.name) << 32 | OPS.index(op.op) << 40
    root = 0 if op.root is None else op.root + 1
    code = collective | root << 44
    if op.name not in SAME_SHAPE or op.tensor is None:
        return code, 0, 0, 0, 0
    first, *sizes = description(op.tensor.shape, op.tensor.dtype, op.tensor.is_cuda)
    return code | first, *sizes


def spell(description):
    """A description in words: "(4, 2) float32", "(4, 2) float32 on a GPU"."""
    code, *sizes = description
    n = code >> 8 & 0xFF
    shape = tuple(sizes[:n]) if n <= 4 else (*sizes[:3], "...")
    dtype = str(DTYPES[code & 0xFF]).removeprefix("torch.")
    return f"{shape} {dtype} on a GPU" if code >> 16 & 1 else f"{shape} {dtype}"


def spell_native(description):
    """A native collective's description in words: "all_reduce((4,) float32, sum)"."""
    code = description[0]
    name = COLLECTIVES[code >> 32 & 0xFF]
    root = (code >> 44) - 1
    words = []
    if name in SAME_SHAPE:
        words.append(spell(description))
    if name in REDUCING:
        words.append(OPS[code >> 40 & 0xF])
    if root >= 0:
        words.append(f"root {root}")
    return f"{name}({', '.join(words)})"
