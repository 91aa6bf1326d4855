"""What is the simplest way? Everything goes through rank 0, the root.

    rank 1 ---.           .--> rank 1          reduce, then broadcast: each is N - 1 messages
    rank 2 ----> rank 0 -----> rank 2          of all n bytes, one after the other, because
    rank 3 ---'           '--> rank 3          the root receives or sends one at a time

Right, short, and slow: the root moves 2 (N - 1) n bytes while the others wait. These functions
define what each collective means, and all others are measured against them. Sums are added in the
order of ranks, as one process would add them.
"""

import torch

from minidl.collectives.chunks import equal, fresh, joined, known
from minidl.collectives.reducing import reduction
from minidl.comm import check_tensor


def broadcast(x, comm, root=0):
    """Every rank returns a copy of the root's x.

    x: any shape -> the same; the other ranks give a tensor of that shape and dtype. The root sends
    N - 1 messages of n bytes, one after the other. Raises MismatchError if shapes differ.
    """
    if comm.rank != root:
        return comm.recv(x, source=root)
    for rank in range(comm.world_size):
        if rank != root:
            comm.send(x, to=rank)
    return fresh(x)


def reduce(x, comm, root=0, op="sum"):
    """The root returns the reduction of all x, added in rank order; the others return None.

    x: any shape -> the same. op: "sum", "mean", "max", "min" or "prod". Each rank but the root
    sends 1 message of n bytes. Raises MismatchError if shapes differ, ValueError for an op that the
    dtype does not have.
    """
    combine, finish = reduction(op, x, comm.world_size)
    if comm.rank != root:
        return comm.send(x, to=root)
    # In rank order, also where the root is not rank 0: ((x0 + x1) + x2) + x3
    for rank in range(comm.world_size):
        if rank == root:
            part = fresh(x)
        else:
            part = comm.recv(x, source=rank)
        if rank == 0:
            total = part
        else:
            combine(total, part, out=total)
    return finish(total)


def all_reduce(x, comm, op="sum"):
    """Every rank returns the reduction of all x, with the same bits on every rank.

    x: any shape -> the same. The root sends and receives N - 1 messages of n bytes.
    Raises as reduce does.
    """
    total = reduce(x, comm, op=op)
    if total is None:
        # Not on the root: x shows the broadcast what to expect.
        total = x
    return broadcast(total, comm)


def gather(x, comm, root=0):
    """The root returns the chunks of all ranks, joined in rank order; the others return None.

    x: (m, ...) -> (N * m, ...). Each rank but the root sends 1 message.
    Raises MismatchError if shapes differ.
    """
    check_tensor(x)
    if comm.rank != root:
        return comm.send(x, to=root)
    chunks = []
    # In rank order, so that they can be joined.
    for rank in range(comm.world_size):
        if rank == root:
            chunk = x.detach()
        else:
            chunk = comm.recv(x, source=rank)
        chunk = torch.atleast_1d(chunk)  # a number counts as one row
        chunks.append(chunk)
    return torch.cat(chunks)


def scatter(x, comm, root=0, like=None):
    """Rank r returns chunk r of the root's x.

    x: (N * m, ...) -> (m, ...); the other ranks give None, and `like`, a tensor of a chunk's shape
    and dtype. The root sends N - 1 messages of n / N bytes. Raises ValueError if x does not split.
    """
    if comm.rank != root:
        like = known(like, comm)
        return comm.recv(like, source=root)
    chunks = equal(x, comm.world_size)
    for rank in range(comm.world_size):
        if rank != root:
            comm.send(chunks[rank], to=rank)
    return fresh(chunks[root])


def all_gather(chunk, comm):
    """Every rank returns all chunks, joined in rank order.

    chunk: (m, ...) -> (N * m, ...). The root sends N - 1 messages of n bytes, every other rank
    sends one of n / N bytes.
    """
    whole = gather(chunk, comm)
    if whole is None:
        # As in all_reduce: an empty tensor of the right shape shows what to expect.
        whole = joined(chunk, comm.world_size)
    return broadcast(whole, comm)


def reduce_scatter(x, comm, op="sum"):
    """Rank r returns chunk r of the reduction of all x.

    x: (N * m, ...) -> (m, ...). The root receives N - 1 messages of n bytes, and sends as many of
    n / N bytes. Raises ValueError if x does not split over the ranks, and as reduce does.
    """
    chunks = equal(x, comm.world_size)
    own = chunks[comm.rank]
    total = reduce(x, comm, op=op)
    return scatter(total, comm, like=own)


def all_to_all(x, comm):
    """Rank r returns chunk r of rank 0, of rank 1, and so on, joined.

    x: (N * m, ...) -> the same. Not through the root: at distance k each rank sends to the rank k
    ahead and receives from the rank k behind, so it sends N - 1 messages of n / N bytes. Raises
    ValueError if x does not split. Thakur, Rabenseifner & Gropp 2005, "All-to-all" (pairwise
    exchange).
    """
    N = comm.world_size
    result = fresh(x)
    sent = equal(x, N)
    received = equal(result, N)
    # 4 ranks, rank 0: to 1 from 3, to 2 from 2, to 3 from 1. Its own chunk stays where it is.
    for distance in range(1, N):
        # Ranks form a circle: rank 0 follows rank N - 1.
        to = (comm.rank + distance) % N
        source = (comm.rank - distance) % N
        chunk = comm.exchange(sent[to], to=to, source=source)
        received[source].copy_(chunk)
    return result


def barrier(comm):
    """No rank returns before all have entered. 2 (N - 1) empty messages through the root."""
    nothing = torch.empty(0)
    all_reduce(nothing, comm)
