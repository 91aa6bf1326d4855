"""What does the backend do when it is asked for a whole collective? The yardstick for all others.

    ring.all_reduce(x, comm)      messages that you see, one by one
    native.all_reduce(x, comm)    one call of torch.distributed; gloo or NCCL sends what it likes

The same signatures and meanings. The record shows the call, not the messages inside. Gloo reduces
float16, bfloat16, float32, float64, int8, uint8, int32 and int64, and refuses other dtypes in its
own words.
"""

import torch

from minidl.collectives.chunks import equal, equal_length, fresh, joined, known
from minidl.collectives.reducing import reduction

# Our names of the operations and the backend's. The mean is a sum that we divide.
OPS = {"sum": "sum", "mean": "sum", "max": "max", "min": "min", "prod": "product"}


def _call(comm, name, *args, **kwargs):
    """Run the backend's collective `name` to its end; returns what it returns."""
    work = comm.native(name, *args, **kwargs)
    return work.wait()


def broadcast(x, comm, root=0):
    """Every rank returns a copy of the root's x.   x: any shape -> the same"""
    y = fresh(x)
    _call(comm, "broadcast", y, root=root)
    return y


def reduce(x, comm, root=0, op="sum"):
    """The root returns the reduction of all x; the others None.   x: any shape -> the same"""
    _, finish = reduction(op, x, comm.world_size)
    y = fresh(x)
    native_op = OPS[op]
    _call(comm, "reduce", y, root=root, op=native_op)
    # On the other ranks the backend may have left anything in y.
    if comm.rank != root:
        return None
    return finish(y)


def all_reduce(x, comm, op="sum"):
    """Every rank returns the reduction of all x.   x: any shape -> the same

    On gloo with the same bits on every rank.
    """
    _, finish = reduction(op, x, comm.world_size)
    y = fresh(x)
    native_op = OPS[op]
    _call(comm, "all_reduce", y, op=native_op)
    return finish(y)


def gather(x, comm, root=0):
    """The root returns all chunks, in rank order; the others None.   x: (m, ...) -> (N * m, ...)"""
    chunk = torch.atleast_1d(fresh(x))
    chunks = _call(comm, "gather", chunk, root=root)
    if comm.rank != root:
        return None
    return torch.cat(chunks)


def scatter(x, comm, root=0, like=None):
    """Rank r returns chunk r of the root's x.

    x: (N * m, ...) -> (m, ...); the other ranks give None, and `like`, a tensor of a chunk's shape
    and dtype. Raises ValueError if x does not split over the ranks.
    """
    if comm.rank == root:
        chunks = equal(x, comm.world_size)
        like = chunks[root]
        stacked = torch.stack(chunks)  # (N, m, ...)
    else:
        like = known(like, comm)
        stacked = None
    output = like.new_empty(like.shape)
    # A list of one tensor, here and below.
    (chunk,) = _call(comm, "scatter", stacked, output=output, root=root)
    return chunk


def all_gather(chunk, comm):
    """Every rank returns all chunks, joined in rank order.   chunk: (m, ...) -> (N * m, ...)"""
    output = joined(chunk, comm.world_size)
    chunk = torch.atleast_1d(fresh(chunk))  # a number counts as one row
    (whole,) = _call(comm, "all_gather", chunk, output=output)
    return whole


def reduce_scatter(x, comm, op="sum"):
    """Rank r returns chunk r of the reduction of all x.

    x: (N * m, ...) -> (m, ...). Raises ValueError if x does not split over the ranks.
    """
    N = comm.world_size
    _, finish = reduction(op, x, N)
    chunks = equal(x, N)
    y = fresh(x)
    # Memory of the right shape; what is in it is overwritten.
    chunk = fresh(chunks[comm.rank])
    native_op = OPS[op]
    _call(comm, "reduce_scatter", y, output=chunk, op=native_op)
    return finish(chunk)


def all_to_all(x, comm):
    """Rank r returns chunk r of rank 0, of rank 1, and so on, joined.

    x: (N * m, ...) -> the same. Raises ValueError if x does not split over the ranks.
    """
    equal_length(x, comm.world_size)
    y = fresh(x)
    output = torch.empty_like(y)
    (swapped,) = _call(comm, "all_to_all", y, output=output)
    return swapped


def barrier(comm):
    """No rank returns before all have entered."""
    _call(comm, "barrier")
