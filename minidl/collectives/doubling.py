"""How do N ranks know of each other after log2 N steps? The distance to the partner doubles.

    distance 1   0 <-> 1   2 <-> 3        after it each rank knows 2 of them
    distance 2   0 <-> 2   1 <-> 3        then 4: log2 N steps, the least possible

Doubling moves all n bytes at each distance: best for small tensors. Halving sends the partner half
of what is left instead, far partners first; halving and then doubling moves 2 (N - 1) n / N bytes,
as the ring does, in 2 log2 N steps. The textbook versions show this for a power of two. If N is not
one, surplus ranks fold: they send what they have to a neighbour, rest, and receive the result.
Thakur, Rabenseifner & Gropp 2005; Rabenseifner 2004.
"""

from typing import NamedTuple

import torch

from minidl.collectives.chunks import bounds, equal_length, fresh, joined
from minidl.collectives.reducing import in_rank_order, reduction
from minidl.comm import Recv, Send


def textbook_all_reduce(x, comm):
    """Every rank returns the sum over ranks.   x: any shape -> the same; N is a power of two"""
    total = x.clone()
    distance = 1
    while distance < comm.world_size:
        partner = comm.rank ^ distance
        theirs = comm.exchange(total, to=partner, source=partner)
        total = total + theirs  # of 2, 4, 8, ... ranks
        distance *= 2
    return total


def textbook_reduce_scatter(x, comm):
    """Rank r returns chunk r of the sum over ranks.   x: (N * m,) -> (m,); N is a power of two"""
    distance = comm.world_size
    while distance > 1:
        distance //= 2
        partner = comm.rank ^ distance
        # Of what is left, the lower rank keeps the first half, the higher one the second.
        keep, give = x.chunk(2)
        if comm.rank > partner:
            keep, give = give, keep
        part = comm.exchange(give, to=partner, source=partner)
        x = keep + part
    return x.clone()


def textbook_all_gather(chunk, comm):
    """Every rank returns all chunks, in order.   chunk: (m,) -> (N * m,); N is a power of two"""
    block = chunk.clone()
    distance = 1
    while distance < comm.world_size:
        partner = comm.rank ^ distance
        theirs = comm.exchange(block, to=partner, source=partner)
        # In rank order. At distance 2 both are two chunks: 0 1 | 2 3
        if comm.rank < partner:
            block = torch.cat([block, theirs])
        else:
            block = torch.cat([theirs, block])
        distance *= 2
    return block


def all_reduce(x, comm, op="sum"):
    """Every rank returns the reduction of all x, with the same bits on every rank.

    Recursive doubling. x: any shape -> the same. log2 N steps, each rank sends log2 N messages of n
    bytes; if N is not a power of two, floor(log2 N) + 2 steps. Raises MismatchError if shapes
    differ, ValueError for an op that the dtype does not have.

    Adds ((0 + 1) + (2 + 3)) + ...; for a power of two this gives the same bits as tree.all_reduce.
    Thakur, Rabenseifner & Gropp 2005, "Reduce and Allreduce".
    """
    N = comm.world_size
    combine, finish = reduction(op, x, N)
    if N == 1:
        return finish(fresh(x))
    rank = comm.rank
    team = team_of(N)
    # The sum of this rank, and of its left neighbour if that one rests.
    total = fold(x, comm, team, combine)
    for distance in distances(rank, team):
        i = team.index(rank)
        partner = team[i ^ distance]
        theirs = comm.exchange(total, to=partner, source=partner)
        total = in_rank_order(combine, rank, total, partner, theirs, out=theirs)
    total = unfold(total, total, comm, team)
    return finish(total)


def halving_doubling_all_reduce(x, comm, op="sum"):
    """Every rank returns the reduction of all x, with the same bits on every rank.

    x: any shape -> the same; works on the flattened x, in chunks that differ by one element at
    most. 2 log2 N steps, each rank sends as many messages, 2 (N - 1) n / N bytes together; if N is
    not a power of two, with the largest one in place of N, and 2 steps of n bytes more. Raises
    MismatchError if the ranks disagree on the number of elements, ValueError for an op that the
    dtype does not have. Adds ranks far apart first, (0 + 2) + (1 + 3) for N = 4, the same way in
    every chunk: equal elements have equal sums. Rabenseifner 2004, "Optimization of collective
    reduction operations" (recursive vector halving, distance doubling).
    """
    N = comm.world_size
    combine, finish = reduction(op, x, N)
    team = team_of(N)
    y = fold(x, comm, team, combine)
    y = fresh(y).reshape(-1)
    starts = bounds(len(y), len(team))
    # Both halves have the same partners and blocks, in opposite orders.
    exchanges = exchanges_of(comm.rank, team, y, starts)
    halve(exchanges, comm, combine)
    double(exchanges, comm)
    total = unfold(y, y, comm, team)
    finish(total)
    return total.reshape(x.shape)


def reduce_scatter(x, comm, op="sum"):
    """Rank r returns chunk r of the reduction of all x. By recursive halving.

    x: (N * m, ...) -> (m, ...). log2 N steps, each rank sends (N - 1) n / N bytes; if N is not a
    power of two, floor(log2 N) + 2 steps, and a resting rank sends n bytes. Raises ValueError if x
    does not split over the ranks, MismatchError if shapes differ. Thakur, Rabenseifner & Gropp
    2005, "Reduce-scatter".
    """
    N = comm.world_size
    combine, finish = reduction(op, x, N)
    team = team_of(N)
    m = equal_length(x, N)
    y = fold(x, comm, team, combine)
    y = fresh(y)
    starts = chunk_starts(team, m)
    exchanges = exchanges_of(comm.rank, team, y, starts)
    halve(exchanges, comm, combine)
    # A rank beside a resting one has both chunks now.
    give = chunk_of(y, comm.left, m)
    own = chunk_of(y, comm.rank, m)
    chunk = unfold(give, own, comm, team)
    # A view would keep all of y alive.
    chunk = fresh(chunk)
    return finish(chunk)


def all_gather(chunk, comm, into=None):
    """Every rank returns all chunks, joined in rank order. By recursive doubling.

    chunk: (m, ...) -> (N * m, ...); a single number counts as (1,). into: memory for the result.
    log2 N steps, each rank sends (N - 1) n / N bytes; if N is not a power of two, floor(log2 N) + 2
    steps, the last one of n bytes. Raises MismatchError if shapes differ.
    Thakur, Rabenseifner & Gropp 2005, sec. 4.1.
    """
    N = comm.world_size
    team = team_of(N)
    y = joined(chunk, N, into)
    m = equal_length(y, N)
    rank = comm.rank
    own = chunk_of(y, rank, m)
    own.copy_(chunk.detach())
    # The fold: a resting rank's chunk goes to the right, to stand beside its neighbour's.
    if rank not in team:
        comm.send(own, to=comm.right)
    elif comm.left not in team:
        theirs = chunk_of(y, comm.left, m)
        recv = Recv(theirs, comm.left, into=theirs)
        comm.start([recv]).wait()
    starts = chunk_starts(team, m)
    exchanges = exchanges_of(rank, team, y, starts)
    double(exchanges, comm)
    whole = unfold(y, y, comm, team)
    if whole is not y:
        # A resting rank received it as a message, not in y.
        y.copy_(whole)
    return y


def barrier(comm):
    """No rank returns before all have entered. log2 N empty messages a rank, and the fold's."""
    nothing = torch.empty(0)
    all_reduce(nothing, comm)


def team_of(N):
    """The ranks that do not rest, a power of two. 6 ranks: (0) 1 (2) 3 4 5 -> [1, 3, 4, 5]."""
    steps = N.bit_length() - 1
    surplus = N - 2**steps
    # The even ones of the first 2 * surplus ranks.
    resting = range(0, 2 * surplus, 2)
    return [rank for rank in range(N) if rank not in resting]


def distances(rank, team):
    """1, 2, 4, ... up to half of the team; none for a resting rank, which meets no partner."""
    if rank not in team:
        return []
    # A team of 8: distances 1, 2, 4
    steps = len(team).bit_length() - 1
    return [2**k for k in range(steps)]


def fold(x, comm, team, combine):
    """A rank of the team adds its left neighbour's x if that one rests. All others return x."""
    # 3 ranks, team [1, 2]: rank 1 returns x0 + x1, rank 2 its own x, rank 0 rests.
    if comm.rank not in team:
        comm.send(x, to=comm.right)
    elif comm.left not in team:
        theirs = comm.recv(x, source=comm.left)
        return combine(theirs, x.detach())
    return x.detach()


def unfold(give, keep, comm, team):
    """A resting rank returns its right neighbour's `give`; every other rank returns `keep`."""
    if comm.rank not in team:
        return comm.recv(keep, source=comm.right)
    if comm.left not in team:
        comm.send(give, to=comm.left)
    return keep


def chunk_of(y, rank, m):
    """Chunk `rank` of y. One view, not all N: there may be a thousand."""
    start = rank * m
    return y[start : start + m]


def chunk_starts(team, m):
    """Where the chunks of each rank of the team start, those of resting neighbours included."""
    # 3 ranks, team [1, 2]: rank 1 starts at 0 and owns chunks 0 and 1, rank 2 owns chunk 2.
    starts = [0]
    for rank in team:
        end = m * (rank + 1)
        starts.append(end)
    return starts


class Exchange(NamedTuple):
    """At one distance: the partner, this rank's block and the partner's."""

    partner: int
    mine: torch.Tensor
    theirs: torch.Tensor


def exchanges_of(rank, team, y, starts):
    """An Exchange for each of the distances 1, 2, 4, ...

    Rank team[i] owns y[starts[i] : starts[i + 1]]. At distance 2 the blocks are pairs of owners:

        0 1 | 2 3 | 4 5 | 6 7
    """

    def block(i, distance):
        first = i // distance * distance  # of the `distance` owners around i
        start = starts[first]
        stop = starts[first + distance]
        return y[start:stop]

    exchanges = []
    for distance in distances(rank, team):
        i = team.index(rank)
        partner = i ^ distance
        mine = block(i, distance)
        theirs = block(partner, distance)
        exchange = Exchange(team[partner], mine, theirs)
        exchanges.append(exchange)
    return exchanges


def halve(exchanges, comm, combine):
    """This rank's part of y is reduced: at each distance it sends the partner's block away."""
    rank = comm.rank
    # The farthest partner first: its block is half of y, the next one a quarter.
    for partner, mine, theirs in reversed(exchanges):
        part = comm.exchange(theirs, to=partner, source=partner, like=mine)
        # The sum takes the place of this rank's part.
        in_rank_order(combine, rank, mine, partner, part, out=mine)


def double(exchanges, comm):
    """Every rank has all of y, where it had its own part: each distance joins two blocks."""
    for partner, mine, theirs in exchanges:
        # Into its place in y at once.
        recv = Recv(theirs, partner, into=theirs)
        send = Send(mine, partner)
        comm.start([recv, send]).wait()
