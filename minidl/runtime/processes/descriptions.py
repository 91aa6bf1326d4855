"""What is published of a message before it is posted, in words, so that two can be compared.

a tensor                     (4, 2) float32          (4, 2) float32 on a GPU
a collective of the backend  all_reduce((4, 2) float32, sum)
"""

from functools import lru_cache

from minidl.runtime.comms.record import size_in_words

SEND, RECV, NATIVE = 0, 1, 2  # directions of a channel
SAME_SHAPE = ("all_reduce", "reduce", "broadcast", "all_gather", "reduce_scatter", "gather")
REDUCING = ("all_reduce", "reduce", "reduce_scatter")


def key(context, peer, direction):
    """The number that names a channel on the board."""
    return context << 24 | (peer + 1) << 2 | direction


@lru_cache(4096)
def description(shape, dtype, on_gpu=False):
    """The size of a tensor, and where it is."""
    size = size_in_words(shape, dtype)
    return f"{size} on a GPU" if on_gpu else size


def native_description(op):
    """The description of a native collective, a Native: what must be the same on every rank."""
    words = []
    if op.name in SAME_SHAPE and op.tensor is not None:
        words.append(description(op.tensor.shape, op.tensor.dtype, op.tensor.is_cuda))
    if op.name in REDUCING:
        words.append(op.op)
    if op.root is not None:
        words.append(f"root {op.root}")
    return f"{op.name}({', '.join(words)})"
