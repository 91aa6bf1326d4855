"""How does one tensor reach N ranks in log2 N steps? Each rank that has it passes it on.

    step 1   0 --------------> 4                     the binomial tree of 8 ranks: the parent is
    step 2   0 ------> 2       4 ------> 6           the rank without its lowest bit, as in
    step 3   0 --> 1   2 --> 3 4 --> 5   6 --> 7     6 = 110 -> 100 = 4; the branch of 4 is 4 to 7

Positions in the tree are counted from the root. Few steps, so it is fast where alpha counts; but
the root moves n bytes log2 N times, so the ring wins on large tensors. Reduce and gather are
broadcast and scatter backwards.
"""

from typing import NamedTuple

import torch

from minidl.collectives.chunks import equal, fresh, joined_shape, known
from minidl.collectives.reducing import reduction
from minidl.comm import Recv, check_tensor


def textbook_broadcast(x, comm):
    """Every rank returns rank 0's x.   x: any shape -> the same"""
    N = comm.world_size
    distance = 1 << (N - 1).bit_length()  # a power of two, N or more
    rank = comm.rank
    while distance > 1:
        distance //= 2
        to = rank + distance
        source = rank - distance
        # At distance 2 the ranks 0, 4, ... have x, and the ranks 2, 6, ... get it.
        place = rank % (2 * distance)
        if place == 0 and to < N:
            comm.send(x, to=to)
        elif place == distance:
            x = comm.recv(x, source=source)
    return x


def textbook_reduce(x, comm):
    """Rank 0 returns the sum over ranks.   x: any shape -> the same. The broadcast backwards."""
    N = comm.world_size
    rank = comm.rank
    distance = 1
    while distance < N:
        source = rank + distance
        to = rank - distance
        # At distance 2 the ranks 2, 6, ... have the sum of two, and the ranks 0, 4, ... get it.
        place = rank % (2 * distance)
        if place == 0 and source < N:
            x = x + comm.recv(x, source=source)
        elif place == distance:
            comm.send(x, to=to)
        distance *= 2
    if rank == 0:
        return x
    return None


class Child(NamedTuple):
    """A child in the tree; its branch is elements `start` to `stop` of its parent's branch."""

    rank: int
    start: int
    stop: int


class TreeNode:
    """A rank's place in the tree: is_root, parent (a rank), size of its branch, children.

    The branch of a rank is the rank itself and all below it, which follow it. The child with the
    largest branch comes first. Raises ValueError if the root is not a rank.
    """

    def __init__(self, comm, root):
        N = comm.world_size
        if not 0 <= root < N:
            raise ValueError(f"root {root} is not a rank: ranks go from 0 to {N - 1}")
        # The tree is drawn around the root: it stands at 0, wherever its rank is.
        position = (comm.rank - root) % N
        lowest_bit = position & -position
        self.is_root = position == 0
        self.parent = (comm.rank - lowest_bit) % N
        self.size = N
        if not self.is_root:
            # 4 = 100 has the branch 100, 101, 110, 111, if there are that many ranks.
            self.size = min(lowest_bit, N - position)
        self.children = []
        # Position 4 of 8 has its children at distances 1 (alone) and 2 (with one more): 5 and 6.
        start = 1
        while start < self.size:
            rank = (comm.rank + start) % N
            stop = min(2 * start, self.size)
            self.children.insert(0, Child(rank, start, stop))
            start = stop


def broadcast(x, comm, root=0):
    """Every rank returns a copy of the root's x.

    x: any shape -> the same; the other ranks give a tensor of that shape and dtype.
    ceil(log2 N) steps; the root sends as many messages of n bytes, all ranks together N - 1.
    Raises MismatchError if shapes differ. Thakur, Rabenseifner & Gropp 2005, "Broadcast".
    """
    node = TreeNode(comm, root)
    if node.is_root:
        x = fresh(x)
    else:
        x = comm.recv(x, source=node.parent)
    # The largest branch first: it has the most steps before it.
    for child in node.children:
        comm.send(x, to=child.rank)
    return x


def reduce(x, comm, root=0, op="sum"):
    """The root returns the reduction of all x; the others return None.

    x: any shape -> the same. op: "sum", "mean", "max", "min" or "prod". ceil(log2 N) steps; each
    rank but the root sends 1 message of n bytes. Raises MismatchError if shapes differ, ValueError
    for an op that the dtype does not have. Adds ((0 + 1) + (2 + 3)) + ..., positions in the tree:
    another root, other bits. Thakur, Rabenseifner & Gropp 2005, "Reduce and Allreduce".
    """
    combine, finish = reduction(op, x, comm.world_size)
    node = TreeNode(comm, root)
    total = fresh(x)
    # Small branches are complete first.
    for child in reversed(node.children):
        # Without a name, what was received is freed before the next part arrives.
        combine(total, comm.recv(x, source=child.rank), out=total)
    if not node.is_root:
        return comm.send(total, to=node.parent)
    return finish(total)


def all_reduce(x, comm, op="sum"):
    """Every rank returns the reduction of all x, with the same bits on every rank.

    x: any shape -> the same. 2 ceil(log2 N) steps; a rank sends at most ceil(log2 N) messages of n
    bytes. Raises as reduce does. Chan et al. 2007 (reduce followed by broadcast, for short
    vectors).
    """
    total = reduce(x, comm, op=op)
    if total is None:
        # Not on the root: x shows the broadcast what to expect.
        total = x
    return broadcast(total, comm)


def scatter(x, comm, root=0, like=None):
    """Rank r returns chunk r of the root's x.

    x: (N * m, ...) -> (m, ...); the other ranks give None, and `like`, a tensor of a chunk's shape
    and dtype. ceil(log2 N) steps; a message carries the chunks of a whole branch, the root sends
    (N - 1) n / N bytes. Raises ValueError if x does not split over the ranks. Chan et al. 2007
    (minimum spanning tree scatter).
    """
    node = TreeNode(comm, root)
    if node.is_root:
        chunks = equal(x, comm.world_size)
        # From ranks to positions: the root's own chunk comes first.
        in_order = chunks[root:] + chunks[:root]
        branch = torch.stack(in_order)  # (N, m, ...)
    else:
        like = known(like, comm)
        shape = (node.size, *like.shape)  # a row for each rank of the branch
        room = like.new_empty(shape)
        branch = comm.recv(room, source=node.parent)
    for child in node.children:
        part = branch[child.start : child.stop]
        comm.send(part, to=child.rank)
    # A view would keep the whole branch alive.
    return fresh(branch[0])


def gather(x, comm, root=0):
    """The root returns the chunks of all ranks, joined in rank order; the others return None.

    x: (m, ...) -> (N * m, ...); a single number counts as (1,). ceil(log2 N) steps; a message
    carries the chunks of a whole branch, the root receives (N - 1) n / N bytes. Raises
    MismatchError if shapes differ. Chan et al. 2007 (minimum spanning tree gather).
    """
    check_tensor(x)
    node = TreeNode(comm, root)
    shape = (node.size, *x.shape)  # a row for each rank of the branch
    branch = x.new_empty(shape, requires_grad=False)
    # This rank's own chunk stands first.
    own = branch[0]
    own.copy_(x.detach())
    for child in reversed(node.children):
        part = branch[child.start : child.stop]
        recv = Recv(part, child.rank, into=part)
        comm.start([recv]).wait()
    if not node.is_root:
        return comm.send(branch, to=node.parent)
    # From positions in the tree to ranks.
    chunks = branch.roll(root, dims=0)
    shape = joined_shape(x, comm.world_size)
    return chunks.reshape(shape)


def barrier(comm):
    """No rank returns before all have entered. 2 ceil(log2 N) steps of empty messages."""
    all_reduce(torch.empty(0), comm)
