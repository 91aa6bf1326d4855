"""How is a tensor cut into one chunk for each rank?

    near_equal   10 elements over 4 ranks:  0 1 2 | 3 4 5 | 6 7 | 8 9     any shape, flattened
    equal         8 rows over 4 ranks:      0 1 | 2 3 | 4 5 | 6 7         along the first dimension

Near-equal chunks serve where the cut is an inner matter of the algorithm (all_reduce). Where each rank
keeps its chunk (reduce_scatter, all_gather, scatter, gather, all_to_all), all have one shape.
"""

import torch


def near_equal(x, n):
    """n chunks of the flattened x, as views where x is contiguous; the first `numel % n` have one element more."""
    return torch.tensor_split(x.detach().reshape(-1), n)


def bounds(count, n):
    """Where near-equal chunks of `count` elements begin, and where the last one ends: n + 1 indices."""
    return [i * (count // n) + min(i, count % n) for i in range(n + 1)]


def equal(x, n):
    """The n equal chunks of x along its first dimension, as views: (n * m, ...) -> n of (m, ...).

    Raises ValueError if the first dimension does not split over n ranks.
    """
    equal_length(x, n)
    return torch.tensor_split(x.detach(), n)


def equal_length(x, n):
    """How long each of the n equal chunks of x is along its first dimension. Raises ValueError as equal() does."""
    if x.dim() == 0 or x.shape[0] % n:
        what = (
            "a single number does"
            if x.dim() == 0
            else f"{x.shape[0]} {'elements' if x.dim() == 1 else 'rows'} do"
        )
        raise ValueError(f"{what} not split over {n} ranks")
    return x.shape[0] // n


def joined_shape(chunk, n):
    """The shape of n such chunks, one after the other: (m, ...) -> (n * m, ...). A single number counts as (1,)."""
    rows, *rest = torch.atleast_1d(chunk).shape
    return (n * rows, *rest)


def joined(chunk, n):
    """An empty tensor with room for n such chunks."""
    return chunk.new_empty(joined_shape(chunk, n), requires_grad=False)


def fresh(x):
    """A contiguous copy of x, without its gradient."""
    return x.detach().clone(memory_format=torch.contiguous_format)


def known(like, comm):
    """`like`; raises ValueError if it was not given."""
    if like is None:
        raise ValueError(
            f"rank {comm.rank} does not know what it will get: "
            "give like=, a tensor of a chunk's shape and dtype"
        )
    return like


def place(shape, x, into=None):
    """Where a result of this shape goes: `into`, or a new tensor of x's dtype.

    Raises ValueError if `into` has another shape or dtype, is not contiguous, or begins where x does.
    """
    if into is None:
        return x.new_empty(shape, requires_grad=False)
    if into.shape != torch.Size(shape) or into.dtype != x.dtype or not into.is_contiguous():
        raise ValueError(
            f"into must be a contiguous tensor of shape {tuple(shape)} and {x.dtype}, "
            f"not {tuple(into.shape)} and {into.dtype}"
        )
    if into is x or into.data_ptr() == x.data_ptr() != 0:
        raise ValueError("into must not be x: the input is still read while the result arrives")
    return into.detach()
