"""How do N ranks know of each other after log2 N steps? Each meets a partner twice as far away every time.

    distance 1   0 <-> 1   2 <-> 3        after it each rank knows 2 of them
    distance 2   0 <-> 2   1 <-> 3        then 4: log2 N steps, the least possible

Doubling moves all n bytes at each distance: best for small tensors. Halving gives half of what is left to the
partner instead, far partners first; halving and then doubling moves 2 (N - 1) n / N bytes, as the ring does, in
2 log2 N steps. Where N is no power of two, surplus ranks fold: they give what they have to a neighbour, rest,
and are told the result. Thakur, Rabenseifner & Gropp 2005; Rabenseifner 2004.
"""

import torch

from minidl.collectives.chunks import bounds, equal_length, fresh, joined_shape, place
from minidl.collectives.reducing import in_rank_order, reduction
from minidl.comm import Recv, Send


def team_of(N):
    """The ranks that do not rest: a power of two of them. 6 ranks: (0) 1 (2) 3 4 5 -> [1, 3, 4, 5]."""
    surplus = N - (1 << N.bit_length() - 1)
    return [rank for rank in range(N) if rank % 2 or rank >= 2 * surplus]


def distances(team):
    """1, 2, 4, ... up to half of the team."""
    return [1 << k for k in range(len(team).bit_length() - 1)]


def fold(x, comm, team, combine):
    """A rank of the team returns x, reduced with that of its left neighbour if that one rests. Others return x."""
    if comm.rank not in team:
        comm.send(x, to=comm.right)
    elif comm.left not in team:
        return combine(comm.recv(x, source=comm.left), x.detach())
    return x.detach()


def unfold(give, keep, comm, team):
    """A resting rank returns what its right neighbour gives; every other rank returns `keep`. All of one shape."""
    if comm.rank not in team:
        return comm.recv(keep, source=comm.right)
    if comm.left not in team:
        comm.send(give, to=comm.left)
    return keep


def all_reduce(x, comm, op="sum"):
    """Every rank returns the reduction of all x, with the same bits on every rank. By recursive doubling.

    x: any shape -> the same. log2 N steps, each rank sends log2 N messages of n bytes; where N is no power of
    two, floor(log2 N) + 2 steps. Raises MismatchError if shapes differ, ValueError for an op that the dtype does
    not have. Adds ((0 + 1) + (2 + 3)) + ...: for N = 2 ** k the same bits as tree.all_reduce.
    Thakur, Rabenseifner & Gropp 2005, "Reduce and Allreduce".
    """
    combine, finish = reduction(op, x, comm.world_size)
    if comm.world_size == 1:
        return finish(fresh(x))
    team = team_of(comm.world_size)
    total = fold(x, comm, team, combine)
    for partner in partners(comm.rank, team):
        theirs = comm.exchange(total, to=partner, source=partner)
        total = in_rank_order(combine, comm.rank, total, partner, theirs, out=theirs)
    return finish(unfold(total, total, comm, team))


def partners(rank, team):
    """Whom a rank meets, near ones first; a resting rank meets nobody."""
    return [team[team.index(rank) ^ distance] for distance in distances(team) if rank in team]


def halving_doubling_all_reduce(x, comm, op="sum"):
    """Every rank returns the reduction of all x, with the same bits on every rank.

    x: any shape -> the same; works on the flattened x, in chunks that differ by one element at most.
    2 log2 N steps, each rank sends as many messages, 2 (N - 1) n / N bytes together; where N is no power of two,
    with the largest one in place of N, and 2 steps of n bytes more. Raises MismatchError if the ranks disagree
    on the number of elements, ValueError for an op that the dtype does not have. Adds ranks far apart first,
    (0 + 2) + (1 + 3) for N = 4, the same way in every chunk: equal elements have equal sums.
    Rabenseifner 2004, "Optimization of collective reduction operations" (recursive vector halving, distance doubling).
    """
    combine, finish = reduction(op, x, comm.world_size)
    team = team_of(comm.world_size)
    y = fresh(fold(x, comm, team, combine)).reshape(-1)
    meetings = blocks(y, bounds(len(y), len(team)), comm.rank, team)
    halve(meetings, comm, combine)
    double(meetings, comm)
    return finish(unfold(y, y, comm, team)).reshape(x.shape)


def reduce_scatter(x, comm, op="sum"):
    """Rank r returns chunk r of the reduction of all x. By recursive halving.

    x: (N * m, ...) -> (m, ...). log2 N steps, each rank sends (N - 1) n / N bytes; where N is no power of two,
    floor(log2 N) + 2 steps, a resting rank sends n bytes. Raises ValueError if x does not split over the ranks,
    MismatchError if shapes differ. Thakur, Rabenseifner & Gropp 2005, "Reduce-scatter".
    """
    combine, finish = reduction(op, x, comm.world_size)
    team, m = team_of(comm.world_size), equal_length(x, comm.world_size)
    y = fresh(fold(x, comm, team, combine))
    halve(blocks(y, [0, *(m * (rank + 1) for rank in team)], comm.rank, team), comm, combine)
    left, own = (
        y[rank * m : (rank + 1) * m] for rank in (comm.left, comm.rank)
    )  # not all N views: there may be a thousand
    return finish(fresh(unfold(left, own, comm, team)))


def all_gather(chunk, comm, into=None):
    """Every rank returns all chunks, joined in rank order. By recursive doubling.

    chunk: (m, ...) -> (N * m, ...); a single number counts as (1,). into: where the result goes. log2 N steps, each rank
    sends (N - 1) n / N bytes; where N is no power of two, floor(log2 N) + 2 steps, the last one of n bytes. Raises
    MismatchError if shapes differ. Thakur, Rabenseifner & Gropp 2005, sec. 4.1.
    """
    team, y = team_of(comm.world_size), place(joined_shape(chunk, comm.world_size), chunk, into)
    m = equal_length(y, comm.world_size)
    left, own = (y[rank * m : (rank + 1) * m] for rank in (comm.left, comm.rank))
    own.copy_(chunk.detach())
    if comm.rank not in team:
        comm.send(own, to=comm.right)
    elif comm.left not in team:
        comm.start([Recv(left, comm.left, into=left)]).wait()
    double(blocks(y, [0, *(m * (rank + 1) for rank in team)], comm.rank, team), comm)
    whole = unfold(y, y, comm, team)
    return y if whole is y else y.copy_(whole)  # a resting rank's came as a message


def barrier(comm):
    """No rank returns before all have entered. log2 N empty messages a rank, and the fold where N is no power of two."""
    all_reduce(torch.empty(0), comm)


def blocks(y, starts, rank, team):
    """(partner, this rank's block of y, the partner's) at distances 1, 2, 4, ...; a resting rank has none.

    Rank team[i] owns y[starts[i]:starts[i + 1]]. At distance 2 the blocks are pairs of owners:  0 1 | 2 3 | 4 5 | 6 7
    """

    def block(i, distance):
        first = i // distance * distance
        return y[starts[first] : starts[first + distance]]

    if rank not in team:
        return []
    i = team.index(rank)
    return [(team[i ^ d], block(i, d), block(i ^ d, d)) for d in distances(team)]


def halve(meetings, comm, combine):
    """What this rank owns becomes the reduction over the team: at each distance it gives the partner's block away."""
    for partner, mine, theirs in reversed(meetings):
        came = comm.exchange(theirs, to=partner, source=partner, like=mine)
        in_rank_order(combine, comm.rank, mine, partner, came, out=mine)


def double(meetings, comm):
    """Every rank has all of y, where it had what it owns: at each distance the blocks of both become one."""
    for partner, mine, theirs in meetings:
        comm.start([Recv(theirs, partner, into=theirs), Send(mine, partner)]).wait()
