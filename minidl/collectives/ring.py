"""How do N ranks add large tensors so that no link carries more than it must?

    chunk 2 of 4:   rank 3 ---> rank 0 ---> rank 1 ---> rank 2        reduce-scatter: the sum grows
                    x3          + x0        + x1        + x2 = sum    on its way to its owner
                    rank 2 ---> rank 3 ---> rank 0 ---> rank 1        all-gather: it travels on

Every rank does this at once, each with another chunk, so all links are busy all the time. A rank
sends 2 (N - 1) n / N bytes, the least possible, in 2 (N - 1) steps, which is slow where alpha
counts. Patarasuk & Yuan 2009. The textbook versions come first; below them the same messages with
nothing copied. Left out: a root.
"""

from collections import deque
from typing import NamedTuple

import torch

from minidl.collectives.chunks import equal, joined, near_equal, place
from minidl.collectives.reducing import reduction
from minidl.comm import Recv, Work


def textbook_reduce_scatter(x, comm):
    """Rank r returns chunk r of the sum over ranks.   x: (n,) -> (n / world_size,)"""
    N = comm.world_size
    chunks = x.reshape(N, -1).clone()
    for step in range(N - 1):
        # Rank 2 of 4 gives the chunks 1, 0, 3 and takes 0, 3, 2: its own one last.
        give = (comm.rank - step - 1) % N
        take = (give - 1) % N
        part = comm.exchange(chunks[give], to=comm.right, source=comm.left)
        chunks[take] += part
    return chunks[comm.rank]


def textbook_all_gather(chunk, comm):
    """Every rank returns all chunks, in rank order.   chunk: (m,) -> (world_size * m,)"""
    N = comm.world_size
    chunks = chunk.repeat(N, 1)  # (N, m): row r is chunk r, once it has arrived
    for step in range(N - 1):
        # Rank 2 of 4 gives the chunks 2, 1, 0 and takes 1, 0, 3: its own one first.
        give = (comm.rank - step) % N
        take = (give - 1) % N
        arrived = comm.exchange(chunks[give], to=comm.right, source=comm.left)
        chunks[take] = arrived
    return chunks.reshape(-1)


def textbook_all_reduce(x, comm):
    """Every rank returns the sum over ranks.   x: (n,) with n % world_size == 0 -> (n,)"""
    chunk = textbook_reduce_scatter(x, comm)
    return textbook_all_gather(chunk, comm)


AHEAD = 4  # receives posted before their turn: no sender waits for a neighbour to be ready


class Arrival(NamedTuple):
    """A chunk under way from the left: it is in `memory` when `work` is over."""

    memory: torch.Tensor
    work: Work


def all_reduce(x, comm, op="sum", into=None):
    """Every rank returns the reduction of all x, with the same bits on every rank.

    x: any shape -> the same; works on the flattened x, in chunks that differ by one element at
    most. into: memory for the result. Large tensors need much of their time to get memory: keep it.
    Each rank sends 2 (N - 1) messages of about n / N bytes: every chunk twice, but two chunks once.
    Raises MismatchError if the ranks disagree on the number of elements, ValueError for an op that
    the dtype does not have.

    Chunk r is added in the order r + 1, r + 2, ..., r. So its bits differ from those of one
    process, and equal elements in two chunks may have unequal sums. Patarasuk & Yuan 2009.
    """
    N = comm.world_size
    combine, finish = reduction(op, x, N)
    result = place(x.shape, x, into)
    mine = near_equal(x, N)  # N views each, nothing is copied
    chunks = near_equal(result, N)
    rank = comm.rank
    own = chunks[rank]
    # On rank 3 of 4: parts of chunks 1, 0 and 3 arrive, then the sums of chunks 2, 1 and 0.
    parts = from_the_left(rank - 2, comm)
    sums = from_the_left(rank - 1, comm)
    # One sequence of arrivals for both halves: the first sums are awaited while parts are added.
    memory = [chunks[number] for number in parts + sums]
    arrivals = receive_ahead(memory, comm)
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
    N = comm.world_size
    combine, finish = reduction(op, x, N)
    mine = equal(x, N)
    rank = comm.rank
    own = mine[rank]
    result = place(own.shape, x, into)
    # On rank 3 of 4 parts of the chunks 1, 0 and 3 arrive: its own one last.
    parts = from_the_left(rank - 2, comm)

    def memory():
        for number in parts:
            if number == rank:
                yield result
            else:
                # Not kept here: it is freed once its sum is sent on.
                yield torch.empty_like(result)

    arrivals = receive_ahead(memory(), comm)
    reduce_around(mine, parts, arrivals, comm, combine, result)
    return finish(result)


def all_gather(chunk, comm, into=None):
    """Every rank returns all chunks, joined in rank order.

    chunk: (m, ...) -> (N * m, ...); a single number counts as (1,). into: memory for the result.
    Each rank sends N - 1 messages of n / N bytes. Raises MismatchError if the ranks disagree on the
    shape. Thakur, Rabenseifner & Gropp 2005, sec. 4.1.
    """
    N = comm.world_size
    result = joined(chunk, N, into)
    chunks = equal(result, N)
    own = chunks[comm.rank]
    own.copy_(chunk.detach())
    # On rank 2 of 4 the chunks 1, 0 and 3 arrive, each where it belongs in the result.
    sums = from_the_left(comm.rank - 1, comm)
    memory = [chunks[number] for number in sums]
    arrivals = receive_ahead(memory, comm)
    gather_around(chunks, sums, arrivals, comm)
    return result


def from_the_left(first, comm):
    """The numbers of the N - 1 chunks that arrive from the left, in their order: downwards."""
    N = comm.world_size
    # From chunk 1 of 4: 1, 0, 3
    return [(first - step) % N for step in range(N - 1)]


def receive_ahead(memory, comm):
    """Yields an Arrival for each tensor in `memory`, with AHEAD more receives posted."""
    posted = deque()  # at most AHEAD + 1 arrivals, the oldest first
    for tensor in memory:
        recv = Recv(tensor, comm.left, into=tensor)
        work = comm.start([recv])
        arrival = Arrival(tensor, work)
        posted.append(arrival)
        if len(posted) > AHEAD:
            yield posted.popleft()
    yield from posted


def reduce_around(mine, parts, arrivals, comm, combine, result):
    """`result` becomes the reduction of every rank's mine[rank]. The last part arrives there."""
    # Rank r starts chunk r - 1, which comes back to its owner after N - 1 steps.
    part = mine[comm.rank - 1]
    for number in parts:
        arrival = next(arrivals)
        # What was added in the last step goes on, while the next part arrives.
        comm.send(part, to=comm.right)
        arrival.work.wait()
        # Added where it arrived: no further memory is needed.
        arrived = arrival.memory
        part = combine(arrived, mine[number], out=arrived)
    # Copies only in a world of one rank: with more, part is result.
    result.copy_(part)


def gather_around(chunks, sums, arrivals, comm):
    """Every rank has all chunks, where rank r had only chunk r."""
    for number in sums:
        arrival = next(arrivals)
        # Chunk `number` arrives; the one before it in the order, number + 1, is here and goes on.
        last = (number + 1) % comm.world_size
        comm.send(chunks[last], to=comm.right)
        arrival.work.wait()
