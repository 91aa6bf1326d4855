"""How do machines with fast links inside and slow links between them add? Only leaders talk across.

    island [0, 1, 2]        island [3, 4, 5]
      1 -> 0 <- 2             4 -> 3 <- 5           reduce inside each island
           0 <================> 3                   all-reduce between leaders, over the slow links
      1 <- 0 -> 2             4 <- 3 -> 5           broadcast inside

A slow link carries what a ring of islands would carry, however large the islands are. Left out:
leaders that share the work, and islands of islands, which is this function passed to itself as
`between`.
"""

from minidl.collectives import ring, tree
from minidl.collectives.reducing import reduction


def all_reduce(x, comm, *, islands, op="sum", inside=tree, between=ring.all_reduce):
    """Every rank returns the reduction of all x, with the same bits on every rank.

    x: any shape -> the same. islands: lists of ranks, each rank in one of them; the first rank of
    each is its leader. For 4 ranks: [[0, 1], [2, 3]]. inside: a module with reduce and broadcast;
    between: an all-reduce for the leaders.

    With L islands a leader sends 2 (L - 1) messages of n / L bytes, and inside its island
    ceil(log2 size) messages of n bytes; every other rank moves as much as in tree.all_reduce.
    Raises ValueError if the islands are not a partition of the ranks, otherwise as tree.all_reduce
    does. Adds island by island: other islands, other bits.
    """
    ranks = island_of(comm, islands)
    island = comm.group(ranks)
    _, finish = reduction(op, x, comm.world_size)
    # Islands may differ in size, so a mean divides once, at the end.
    if op == "mean":
        op = "sum"
    total = inside.reduce(x, island, op=op)
    # Only the leaders have a total now, each that of its island.
    if island.rank == 0:
        first_ranks = [members[0] for members in islands]
        leaders = comm.group(first_ranks)
        total = between(total, leaders, op=op)
        finish(total)
    else:
        total = x  # of the right shape: the leader's total is received into it
    return inside.broadcast(total, island)


def island_of(comm, islands):
    """The ranks of this rank's island.

    Raises ValueError if the islands do not hold each rank once, or if one is empty.
    """
    ranks = []
    for members in islands:
        ranks += members
    # [[0, 2], [1]] is a partition of 3 ranks: sorted, its ranks are 0, 1, 2.
    everyone = list(range(comm.world_size))
    if sorted(ranks) != everyone or [] in islands:
        raise ValueError(
            f"islands must hold each of {comm.world_size} ranks once, "
            f"and none may be empty, not {islands}"
        )
    for members in islands:
        if comm.rank in members:
            return members
