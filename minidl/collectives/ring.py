"""How do N ranks add large tensors so that no link carries more than it must?

    chunk 2 of 4:   rank 3 ---> rank 0 ---> rank 1 ---> rank 2        reduce-scatter: the sum grows
                    x3          + x0        + x1        + x2 = sum    on its way to its owner
                    rank 2 ---> rank 3 ---> rank 0 ---> rank 1        all-gather: it travels on

Every rank does this at once, each with another chunk, so all links are busy all the time: 2 (N - 1)
n / N bytes a rank, the least possible, in 2 (N - 1) steps, which is slow where alpha counts.
Patarasuk & Yuan 2009. The textbook versions come first; below them the same messages with nothing
copied. Left out: a root.
"""

from collections import deque
from typing import NamedTuple

import torch

from minidl.collectives.chunks import equal, joined_shape, near_equal, place
from minidl.collectives.reducing import reduction
from minidl.comm import Recv, Work


def textbook_reduce_scatter(x, comm):
    """Rank r returns chunk r of the sum over ranks.   x: (n,) -> (n / world_size,)"""
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


AHEAD = 4  # receives posted before their turn: no sender waits for a neighbour to be ready


class Arrival(NamedTuple):
    """A chunk under way from the left: it is in `memory` when `work` is over."""

    memory: torch.Tensor
    work: Work


def all_reduce(x, comm, op="sum", into=None):
    """Every rank returns the reduction of all x, with the same bits on every rank.

    x: any shape -> the same; works on the flattened x, in chunks that differ by one element at
    most. into: memory for the result. Large tensors need much of their time to get memory: keep it.
    Each rank sends 2 (N - 1) messages, every chunk twice but two of them once: about 2 (N - 1) n /
    N bytes. Raises MismatchError if the ranks disagree on the number of elements, ValueError for an
    op that the dtype does not have. Chunk r is added in the order r + 1, r + 2, ..., r, so its bits
    differ from those of one process, and equal elements in two chunks may have unequal sums.
    Patarasuk & Yuan 2009.
    """
    combine, finish = reduction(op, x, comm.world_size)
    result = place(x.shape, x, into)
    mine = near_equal(x, comm.world_size)  # N views each, nothing is copied
    chunks = near_equal(result, comm.world_size)
    own = chunks[comm.rank]
    # On rank 3 of 4: parts of chunks 1, 0 and 3 arrive, then the sums of chunks 2, 1 and 0.
    parts = from_the_left(comm.rank - 2, comm)
    sums = from_the_left(comm.rank - 1, comm)
    # One sequence of arrivals for both halves: the first sums are awaited while parts are added.
    arrivals = receive_ahead((chunks[number] for number in parts + sums), comm)
    reduce_around(mine, parts, arrivals, comm, combine, result=own)
    finish(own)
    gather_around(chunks, sums, arrivals, comm)
    return result


def reduce_scatter(x, comm, op="sum", into=None):
    """Rank r returns chunk r of the reduction of all x.

    x: (N * m, ...) -> (m, ...); along the first dimension. into: memory for the result. Each rank
    sends N - 1 messages of n / N bytes. Raises ValueError if x does not split over the ranks,
    MismatchError if the ranks disagree on its shape. Added in the order r + 1, r + 2, ..., r.
    Thakur, Rabenseifner & Gropp 2005, "Reduce-scatter"; Chan et al. 2007 (bucket).
    """
    combine, finish = reduction(op, x, comm.world_size)
    mine = equal(x, comm.world_size)
    result = place(mine[0].shape, x, into)
    parts = from_the_left(comm.rank - 2, comm)
    # The last part to arrive is this rank's own. The others are let go once they were sent on.
    memory = (result if number == comm.rank else torch.empty_like(result) for number in parts)
    arrivals = receive_ahead(memory, comm)
    reduce_around(mine, parts, arrivals, comm, combine, result)
    return finish(result)


def all_gather(chunk, comm, into=None):
    """Every rank returns all chunks, joined in rank order.

    chunk: (m, ...) -> (N * m, ...); a single number counts as (1,). into: memory for the result.
    Each rank sends N - 1 messages of n / N bytes. Raises MismatchError if the ranks disagree on the
    shape. Thakur, Rabenseifner & Gropp 2005, sec. 4.1.
    """
    result = place(joined_shape(chunk, comm.world_size), chunk, into)
    chunks = equal(result, comm.world_size)
    chunks[comm.rank].copy_(chunk.detach())
    # On rank 2 of 4 the chunks 1, 0 and 3 arrive, each where it belongs in the result.
    sums = from_the_left(comm.rank - 1, comm)
    arrivals = receive_ahead((chunks[number] for number in sums), comm)
    gather_around(chunks, sums, arrivals, comm)
    return result


def from_the_left(first, comm):
    """The numbers of the N - 1 chunks that arrive from the left, in their order: downwards."""
    return [(first - step) % comm.world_size for step in range(comm.world_size - 1)]


def receive_ahead(memory, comm):
    """Yields an Arrival for each tensor in `memory`, with AHEAD more receives posted."""
    posted = deque()  # at most AHEAD + 1 arrivals, the oldest first
    for tensor in memory:
        work = comm.start([Recv(tensor, comm.left, into=tensor)])
        posted.append(Arrival(tensor, work))
        if len(posted) > AHEAD:
            yield posted.popleft()
    yield from posted


def reduce_around(mine, parts, arrivals, comm, combine, result):
    """`result` becomes the reduction of every rank's mine[rank]. The last part arrives there."""
    part = mine[comm.rank - 1]
    # `parts` stands first: zip() asks it first, and so takes no arrival too many.
    for number, arrival in zip(parts, arrivals):
        # What was added in the last step goes on, while the next part arrives.
        comm.send(part, to=comm.right)
        arrival.work.wait()
        part = combine(arrival.memory, mine[number], out=arrival.memory)
    # Copies only in a world of one rank: with more, part is result.
    result.copy_(part)


def gather_around(chunks, sums, arrivals, comm):
    """Every rank has all chunks, where rank r had only chunk r."""
    for number, arrival in zip(sums, arrivals):
        # Chunk `number` arrives; the one before it in the order, number + 1, is here and goes on.
        last = (number + 1) % comm.world_size
        comm.send(chunks[last], to=comm.right)
        arrival.work.wait()
