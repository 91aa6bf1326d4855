"""How do N ranks add large tensors so that no link carries more than it must?

    chunk 2 of 4:   rank 3 ----> rank 0 ----> rank 1 ----> rank 2        reduce-scatter: the sum grows
                    x3           + x0         + x1         + x2  done    on its way to its owner
                    rank 2 ----> rank 3 ----> rank 0 ----> rank 1        all-gather: the sum travels on

Every rank does this at once, each with another chunk, so all links are busy all the time: 2 (N - 1) n / N
bytes a rank, the least possible, in 2 (N - 1) steps, which is slow where alpha counts. Patarasuk & Yuan 2009.
The textbook versions come first; below them the same messages with nothing copied. Left out: a root.
"""

from minidl.collectives.chunks import equal, joined, near_equal, place
from minidl.collectives.reducing import reduction
from minidl.comm import Recv, Send


def textbook_reduce_scatter(x, comm):
    """Rank r returns chunk r of the sum over ranks.   x: (n,) with n % world_size == 0 -> (n / world_size,)"""
    chunks = x.reshape(comm.world_size, -1).clone()
    for step in range(comm.world_size - 1):
        give = (comm.rank - step - 1) % comm.world_size
        take = (give - 1) % comm.world_size
        chunks[take] += comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks[comm.rank]


def textbook_all_gather(chunk, comm):
    """Every rank returns all chunks, in rank order.   chunk: (m,) -> (world_size * m,)"""
    chunks = chunk.repeat(comm.world_size, 1)
    for step in range(comm.world_size - 1):
        give = (comm.rank - step) % comm.world_size
        take = (give - 1) % comm.world_size
        chunks[take] = comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks.reshape(-1)


def textbook_all_reduce(x, comm):
    """Every rank returns the sum over ranks.   x: (n,) with n % world_size == 0 -> (n,)"""
    return textbook_all_gather(textbook_reduce_scatter(x, comm), comm)


def all_reduce(x, comm, op="sum", into=None):
    """Every rank returns the reduction of all x, with the same bits on every rank.

    x: any shape -> the same; works on the flattened x, in chunks that differ by one element at most.
    into: where the result goes. Large tensors need most of their time to get memory: keep it between calls.
    Each rank sends 2 (N - 1) messages, all chunks twice but for two: about 2 (N - 1) n / N bytes.
    Raises MismatchError if the ranks disagree on the number of elements, ValueError for an op that the
    dtype does not have. Chunk r is added in the order r + 1, r + 2, ..., r, so its bits differ from those of
    one process, and from those of its neighbours in the tensor. Patarasuk & Yuan 2009.
    """
    combine, finish = reduction(op, x, comm.world_size)
    result = place(x.shape, x, into)
    chunks = near_equal(result, comm.world_size)
    reduce_around(near_equal(x, comm.world_size), chunks, comm, combine)
    finish(chunks[comm.rank])
    gather_around(chunks, comm)
    return result


def reduce_scatter(x, comm, op="sum", into=None):
    """Rank r returns chunk r of the reduction of all x.

    x: (N * m, ...) -> (m, ...); along the first dimension. into: where the result goes.
    Each rank sends N - 1 messages of n / N bytes. Raises ValueError if x does not split over the ranks,
    MismatchError if the ranks disagree on its shape. Added in the order r + 1, r + 2, ..., r.
    Thakur, Rabenseifner & Gropp 2005, "Reduce-scatter"; Chan et al. 2007 (bucket).
    """
    combine, finish = reduction(op, x, comm.world_size)
    mine = equal(x, comm.world_size)
    result = place(mine[0].shape, x, into)
    spare = place(mine[0].shape, x)                 # one arrives while the other leaves; the last is the result
    places = [(result, spare)[(chunk - comm.rank) % comm.world_size % 2] for chunk in range(comm.world_size)]
    reduce_around(mine, places, comm, combine)
    return finish(result)


def all_gather(chunk, comm, into=None):
    """Every rank returns all chunks, joined in rank order.

    chunk: (m, ...) -> (N * m, ...); a single number counts as (1,). into: where the result goes.
    Each rank sends N - 1 messages of n / N bytes. Raises MismatchError if the ranks disagree on the shape.
    Thakur, Rabenseifner & Gropp 2005, sec. 4.1.
    """
    result = place(joined(chunk, comm.world_size).shape, chunk, into)
    chunks = equal(result, comm.world_size)
    chunks[comm.rank].copy_(chunk.detach())
    gather_around(chunks, comm)
    return result


def reduce_around(mine, places, comm, combine):
    """places[rank] becomes the reduction of every rank's mine[rank]; the other places hold parts of theirs.

    Indices run down from rank - 2 to rank - N, which is rank itself: Python counts negative ones from the end.
    """
    part = mine[comm.rank - 1]
    for take in range(comm.rank - 2, comm.rank - comm.world_size - 1, -1):
        here = places[take]
        comm.start([Recv(here, comm.left, into=here), Send(part, comm.right)]).wait()
        part = combine(here, mine[take], out=here)
    places[comm.rank].copy_(part)                   # copies on a world of one only: elsewhere they are the same


def gather_around(chunks, comm):
    """Every rank has all chunks, where rank r had only chunk r."""
    for give in range(comm.rank, comm.rank - comm.world_size + 1, -1):
        take = chunks[give - 1]
        comm.start([Recv(take, comm.left, into=take), Send(chunks[give], comm.right)]).wait()
