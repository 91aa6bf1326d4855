"""How does one tensor reach N ranks in log2 N steps? Whoever has it helps to hand it on.

    step 1   0 --------------> 4                     the binomial tree of 8 ranks: the parent of a rank
    step 2   0 ------> 2       4 ------> 6           is that rank without its lowest bit (6 = 110 -> 100 = 4),
    step 3   0 --> 1   2 --> 3 4 --> 5   6 --> 7     and rank 4 speaks for 4, 5, 6 and 7

Positions in the tree are counted from the root. Few steps, so it is fast where alpha counts; but the root moves
n bytes log2 N times, so the ring wins on large tensors. Reduce and gather are broadcast and scatter backwards.
"""

import torch

from minidl.collectives.chunks import equal, fresh, joined, known
from minidl.collectives.reducing import reduction
from minidl.comm import Recv


def position(comm, root):
    """Where this rank stands in the tree; the root stands at 0. Raises ValueError if there is no such root."""
    if not 0 <= root < comm.world_size:
        raise ValueError(f"root {root} is not a rank: ranks go from 0 to {comm.world_size - 1}")
    return (comm.rank - root) % comm.world_size


def rank_at(position, comm, root):
    """The rank that stands there."""
    return (position + root) % comm.world_size


def parent(position):
    """The position without its lowest bit."""
    return position & (position - 1)


def reach(position, N):
    """How many positions it speaks for, itself and those that follow: the size of its branch."""
    return min(position & -position, N - position) if position else N


def children(position, N):
    """At distances 4, 2, 1 (as far as the branch reaches), the largest branch first."""
    return [position + (1 << k) for k in reversed(range((reach(position, N) - 1).bit_length()))]


def broadcast(x, comm, root=0):
    """Every rank returns a copy of the root's x.

    x: any shape -> the same; the other ranks give a tensor of that shape and dtype.
    ceil(log2 N) steps; the root sends as many messages of n bytes, all ranks together N - 1.
    Raises MismatchError if shapes differ. Thakur, Rabenseifner & Gropp 2005, "Broadcast".
    """
    me = position(comm, root)
    x = fresh(x) if me == 0 else comm.recv(x, source=rank_at(parent(me), comm, root))
    for child in children(me, comm.world_size):
        comm.send(x, to=rank_at(child, comm, root))
    return x


def reduce(x, comm, root=0, op="sum"):
    """The root returns the reduction of all x; the others return None.

    x: any shape -> the same. op: "sum", "mean", "max", "min" or "prod".
    ceil(log2 N) steps; each rank but the root sends 1 message of n bytes. Raises MismatchError if shapes differ,
    ValueError for an op that the dtype does not have. Adds ((0 + 1) + (2 + 3)) + ..., positions in the tree:
    another root, other bits. Thakur, Rabenseifner & Gropp 2005, "Reduce and Allreduce".
    """
    combine, finish = reduction(op, x, comm.world_size)
    me, total = position(comm, root), fresh(x)
    for child in reversed(children(me, comm.world_size)):  # small branches are done first
        combine(total, comm.recv(x, source=rank_at(child, comm, root)), out=total)
    return finish(total) if me == 0 else comm.send(total, to=rank_at(parent(me), comm, root))


def all_reduce(x, comm, op="sum"):
    """Every rank returns the reduction of all x, with the same bits on every rank.

    x: any shape -> the same. 2 ceil(log2 N) steps; no rank sends more than ceil(log2 N) messages of n bytes.
    Raises as reduce does. Chan et al. 2007 (reduce followed by broadcast, for short vectors).
    """
    total = reduce(x, comm, op=op)
    return broadcast(x if total is None else total, comm)


def scatter(x, comm, root=0, like=None):
    """Rank r returns chunk r of the root's x.

    x: (N * m, ...) -> (m, ...); the other ranks give None, and `like`, a tensor of a chunk's shape and dtype.
    ceil(log2 N) steps; a message carries the chunks of a whole branch, the root sends (N - 1) n / N bytes.
    Raises ValueError if x does not split over the ranks. Chan et al. 2007 (minimum spanning tree scatter).
    """
    N, me = comm.world_size, position(comm, root)
    if me == 0:
        chunks = equal(x, N)
        branch = torch.stack([chunks[rank_at(i, comm, root)] for i in range(N)])
    else:
        like = known(like, comm)
        branch = comm.recv(
            like.new_empty((reach(me, N), *like.shape)), source=rank_at(parent(me), comm, root)
        )
    for child in children(me, N):
        first = child - me
        comm.send(branch[first : first + reach(child, N)], to=rank_at(child, comm, root))
    return fresh(branch[0])  # a view would keep the whole branch alive


def gather(x, comm, root=0):
    """The root returns the chunks of all ranks, joined in rank order; the others return None.

    x: (m, ...) -> (N * m, ...); a single number counts as (1,). ceil(log2 N) steps; a message carries the chunks
    of a whole branch, the root receives (N - 1) n / N bytes. Raises MismatchError if shapes differ.
    Chan et al. 2007 (minimum spanning tree gather).
    """
    N, me = comm.world_size, position(comm, root)
    branch = x.new_empty((reach(me, N), *x.shape), requires_grad=False)
    branch[0].copy_(x.detach())
    for child in reversed(children(me, N)):
        part = branch[child - me : child - me + reach(child, N)]
        comm.start([Recv(part, rank_at(child, comm, root), into=part)]).wait()
    if me != 0:
        return comm.send(branch, to=rank_at(parent(me), comm, root))
    return branch.roll(root, dims=0).reshape(joined(x, N).shape)  # from positions to ranks


def barrier(comm):
    """No rank returns before all have entered. 2 ceil(log2 N) steps, 2 (N - 1) empty messages in all."""
    all_reduce(torch.empty(0), comm)
