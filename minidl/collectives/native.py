"""What does the backend do when it is asked for a whole collective? The yardstick for all others.

    ring.all_reduce(x, comm)      messages that you see, one by one
    native.all_reduce(x, comm)    one call of torch.distributed; gloo or NCCL sends what it likes

The same signatures and meanings. The record shows the call, not the messages inside. Gloo reduces
float16, bfloat16, float32, float64, int8, uint8, int32 and int64, and refuses other dtypes in its
own words.
"""

import torch

from minidl.collectives.chunks import equal, fresh, joined, known
from minidl.collectives.reducing import reduction

OPS = {"sum": "sum", "mean": "sum", "max": "max", "min": "min", "prod": "product"}


def _call(comm, name, *args, **kwargs):
    """Run the backend's collective `name` to its end; returns what it returns."""
    return comm.native(name, *args, **kwargs).wait()


def broadcast(x, comm, root=0):
    """Every rank returns a copy of the root's x.   x: any shape -> the same"""
    y = fresh(x)
    _call(comm, "broadcast", y, root=root)
    return y


def reduce(x, comm, root=0, op="sum"):
    """The root returns the reduction of all x; the others None.   x: any shape -> the same"""
    _, finish = reduction(op, x, comm.world_size)
    y = fresh(x)
    _call(comm, "reduce", y, root=root, op=OPS[op])
    return finish(y) if comm.rank == root else None


def all_reduce(x, comm, op="sum"):
    """Every rank returns the reduction of all x.   x: any shape -> the same

    On gloo with the same bits on every rank.
    """
    _, finish = reduction(op, x, comm.world_size)
    y = fresh(x)
    _call(comm, "all_reduce", y, op=OPS[op])
    return finish(y)


def gather(x, comm, root=0):
    """The root returns all chunks, in rank order; the others None.   x: (m, ...) -> (N * m, ...)"""
    parts = _call(comm, "gather", torch.atleast_1d(fresh(x)), root=root)
    return torch.cat(parts) if comm.rank == root else None


def scatter(x, comm, root=0, like=None):
    """Rank r returns chunk r of the root's x.

    x: (N * m, ...) -> (m, ...); the other ranks give None, and `like`, a tensor of a chunk's shape
    and dtype. Raises ValueError if x does not split over the ranks.
    """
    chunks = equal(x, comm.world_size) if comm.rank == root else None
    like = chunks[root] if chunks else known(like, comm)
    (chunk,) = _call(
        comm,
        "scatter",
        torch.stack(chunks) if chunks else None,
        output=like.new_empty(like.shape),
        root=root,
    )
    return chunk


def all_gather(chunk, comm):
    """Every rank returns all chunks, joined in rank order.   chunk: (m, ...) -> (N * m, ...)"""
    (whole,) = _call(
        comm, "all_gather", torch.atleast_1d(fresh(chunk)), output=joined(chunk, comm.world_size)
    )
    return whole


def reduce_scatter(x, comm, op="sum"):
    """Rank r returns chunk r of the reduction of all x.

    x: (N * m, ...) -> (m, ...). Raises ValueError if x does not split over the ranks.
    """
    _, finish = reduction(op, x, comm.world_size)
    chunks = equal(x, comm.world_size)
    chunk = fresh(chunks[comm.rank])
    _call(comm, "reduce_scatter", fresh(x), output=chunk, op=OPS[op])
    return finish(chunk)


def all_to_all(x, comm):
    """Rank r returns chunk r of rank 0, of rank 1, and so on, joined.

    x: (N * m, ...) -> the same. Raises ValueError if x does not split over the ranks.
    """
    equal(x, comm.world_size)
    (swapped,) = _call(comm, "all_to_all", fresh(x), output=torch.empty_like(fresh(x)))
    return swapped


def barrier(comm):
    """No rank returns before all have entered."""
    _call(comm, "barrier")
