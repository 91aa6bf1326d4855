"""How is a tensor cut into one chunk for each rank?

    near_equal   10 elements over 4 ranks:  0 1 2 | 3 4 5 | 6 7 | 8 9     any shape, flattened
    equal         8 rows over 4 ranks:      0 1 | 2 3 | 4 5 | 6 7         along the first dimension

Near-equal chunks are for algorithms that cut only on the way (all_reduce). Where each rank keeps
its chunk (reduce_scatter, all_gather, scatter, gather, all_to_all), all chunks have one shape.
"""

import torch

from minidl.comm import check_tensor


def near_equal(x, n):
    """n chunks of the flattened x, views if x is contiguous; the first ones may be one longer."""
    check_tensor(x)
    flat = x.detach().reshape(-1)
    return torch.tensor_split(flat, n)


def bounds(count, n):
    """The starts of n near-equal chunks of `count` elements, and the end: n + 1 indices."""
    size, larger = divmod(count, n)
    # 10 elements, 4 chunks: size 2, 2 larger ones -> 0 3 6 8 10
    starts = []
    for i in range(n + 1):
        extra = min(i, larger)  # one element for each larger chunk before this start
        starts.append(i * size + extra)
    return starts


def equal(x, n):
    """The n equal chunks of x along its first dimension, as views: (n * m, ...) -> n of (m, ...).

    Raises ValueError if the first dimension does not split over n ranks.
    """
    equal_length(x, n)
    return torch.tensor_split(x.detach(), n)


def equal_length(x, n):
    """The length of each of the n equal chunks of x along its first dimension.

    Raises ValueError if the first dimension does not split over n ranks.
    """
    check_tensor(x)
    if x.dim() == 0:
        raise ValueError(f"a single number does not split over {n} ranks")
    length = len(x)
    if length % n:
        items = "elements" if x.dim() == 1 else "rows"
        raise ValueError(f"{length} {items} do not split over {n} ranks")
    return length // n


def joined_shape(chunk, n):
    """The shape of n such chunks joined: (m, ...) -> (n * m, ...). A number counts as (1,)."""
    check_tensor(chunk)
    rows, *rest = torch.atleast_1d(chunk).shape  # a number counts as one row
    return (n * rows, *rest)


def joined(chunk, n, into=None):
    """Memory for n such chunks joined: `into`, or a new tensor. Raises ValueError as place does."""
    shape = joined_shape(chunk, n)
    return place(shape, chunk, into)


def fresh(x):
    """A contiguous copy of x, without its gradient. Raises TypeError if x is not a tensor."""
    check_tensor(x)
    return x.detach().clone(memory_format=torch.contiguous_format)


def known(like, comm):
    """`like`; raises ValueError if it was not given."""
    if like is None:
        raise ValueError(
            f"rank {comm.rank} does not know what it will get: "
            "give like=, a tensor of a chunk's shape and dtype"
        )
    check_tensor(like, "receive like")
    return like


def place(shape, x, into=None):
    """Memory for a result of this shape: `into`, or a new tensor of x's dtype.

    Raises ValueError if `into` has another shape or dtype, is not contiguous, or begins where x
    does.
    """
    if into is None:
        # Also if x requires a gradient: messages carry values only.
        return x.new_empty(shape, requires_grad=False)
    check_tensor(into, "receive into")
    same_shape = into.shape == torch.Size(shape)
    same_dtype = into.dtype == x.dtype
    if not (same_shape and same_dtype and into.is_contiguous()):
        raise ValueError(
            f"into must be a contiguous tensor of shape {tuple(shape)} and {x.dtype}, "
            f"not {tuple(into.shape)} and {into.dtype}"
        )
    # Tensors on the meta device and empty ones have the address 0.
    if into is x or into.data_ptr() == x.data_ptr() != 0:
        raise ValueError("into must not be x: the input is still read while the result arrives")
    return into.detach()
