"""Wrong answers to exercise 02: one cable between two islands, and the open challenge of eight.

0 1 2 ===cable=== 3 4 5       a ring sends little from each rank and too much through the cable;
                              leaders send little through the cable, and too much each
"""

from tests.check.museum import Mutant

CABLE = "02-two-islands"
FASTEST = "02-fastest"

HEAD = """
def across_the_cable(x, comm):
    N, M = comm.world_size, comm.world_size // 2
    here, there = ([rank for rank in range(N) if (island(rank, N) == island(comm.rank, N)) is same] for same in (True, False))
    home, place = comm.group(here), here.index(comm.rank)
    twin, chunks = there[place], x.reshape(M, -1).clone()
"""
SCATTER = """
    for step in range(M - 1):
        came = home.exchange(chunks[(place - step) % M], to=home.right, source=home.left)
        chunks[(place - step - 1) % M] += came
    mine = (place + 1) % M
"""
GATHER = """
    for step in range(M - 1):
        chunks[(place - step) % M] = home.exchange(chunks[(mine - step) % M], to=home.right, source=home.left)
    return chunks.reshape(-1)
"""

MUTANTS = [
    Mutant(
        CABLE,
        "one ring over both islands",
        loses={"link", "steps"},
        answer="""
def across_the_cable(x, comm):
    N = comm.world_size
    order = sorted(range(N), key=lambda rank: (island(rank, N), rank))          # the ring crosses the cable twice
    home = comm.group(order)
    padded = torch.cat([x, x.new_zeros(-len(x) % N)])
    chunks = padded.reshape(N, -1)
    for step in range(2 * (N - 1)):
        came = home.exchange(chunks[(home.rank - step) % N], to=home.right, source=home.left)
        chunks[(home.rank - step - 1) % N] = chunks[(home.rank - step - 1) % N] + came if step < N - 1 else came
    return padded[:len(x)]
""",
    ),
    Mutant(
        CABLE,
        "leaders speak for all, in whole tensors",
        loses={"bytes"},
        answer=HEAD
        + """
    leader, total = here[0], x.clone()
    if place > 0:
        comm.send(x, to=leader)
        return comm.recv(x, source=leader)
    for rank in here[1:]:
        total += comm.recv(x, source=rank)
    total += comm.exchange(total, to=twin, source=twin)
    for rank in here[1:]:
        comm.send(total, to=rank)
    return total
""",
    ),
    Mutant(
        CABLE,
        "each rank swaps its whole tensor with its twin",
        loses={"link", "bytes", "steps"},
        answer=HEAD
        + """
    total = give = x + comm.exchange(x, to=twin, source=twin)
    for step in range(N - 1):
        give = home.exchange(give, to=home.right, source=home.left)
        total = total + give if step < M - 1 else total
    return total
""",
    ),
    Mutant(
        CABLE,
        "whole tensors at home, one chunk over the cable",
        loses={"bytes"},
        answer=HEAD
        + """
    total = give = x
    for step in range(M - 1):
        give = home.exchange(give, to=home.right, source=home.left)
        total = total + give
    chunks, mine = total.reshape(M, -1).clone(), place
    chunks[mine] += comm.exchange(chunks[mine], to=twin, source=twin)
"""
        + GATHER.replace("(place - step) % M", "(mine - step - 1) % M"),
    ),
    Mutant(
        CABLE,
        "one twin after the other",
        loses={"steps"},
        answer=HEAD
        + SCATTER
        + """
    for turn_of in range(M):
        if turn_of == place:
            chunks[mine] += comm.exchange(chunks[mine], to=twin, source=twin)
        home.barrier()
"""
        + GATHER,
    ),
    Mutant(
        CABLE,
        "the sum of one's own island only",
        loses={"values", "real"},
        answer=HEAD + SCATTER + GATHER,
    ),
    Mutant(
        CABLE,
        "both twins send first: works by buffering only",
        loses={"deadlock", "real"},
        answer=HEAD
        + SCATTER
        + """
    comm.send(chunks[mine], to=twin)
    chunks[mine] += comm.recv(chunks[mine], source=twin)
"""
        + GATHER,
    ),
    Mutant(
        CABLE,
        "minidl's leaders",
        loses={"own work", "bytes", "steps"},
        answer="""
from minidl.collectives.hierarchical import all_reduce as led

def across_the_cable(x, comm):
    islands = [[rank for rank in range(comm.world_size) if island(rank, comm.world_size) == side] for side in (0, 1)]
    return led(x, comm, islands=islands)
""",
    ),
    Mutant(
        FASTEST,
        "a ring over all",
        loses={"seconds"},
        answer="""
def fastest(x, comm):
    N = comm.world_size
    padded = torch.cat([x, x.new_zeros(-len(x) % N)])
    chunks = padded.reshape(N, -1)
    for step in range(2 * (N - 1)):
        came = comm.exchange(chunks[(comm.rank - step) % N], to=comm.right, source=comm.left)
        chunks[(comm.rank - step - 1) % N] = chunks[(comm.rank - step - 1) % N] + came if step < N - 1 else came
    return padded[:len(x)]
""",
    ),
    Mutant(
        FASTEST,
        "leaders and whole tensors",
        loses={"seconds"},
        answer="""
def fastest(x, comm):
    mine, total = comm.rank // 4 * 4, x.clone()
    if comm.rank > mine:
        comm.send(x, to=mine)
        return comm.recv(x, source=mine)
    for rank in range(mine + 1, mine + 4):
        total += comm.recv(x, source=rank)
    give, heads = total, comm.group(range(0, comm.world_size, 4))
    for step in range(heads.world_size - 1):
        give = heads.exchange(give, to=heads.right, source=heads.left)
        total = total + give
    for rank in range(mine + 1, mine + 4):
        comm.send(total, to=rank)
    return total
""",
    ),
    Mutant(
        FASTEST,
        "the sum of one's own island only",
        loses={"values"},
        answer="""
def fastest(x, comm):
    home = comm.group(range(comm.rank // 4 * 4, comm.rank // 4 * 4 + 4))
    total = give = x
    for step in range(3):
        give = home.exchange(give, to=home.right, source=home.left)
        total = total + give
    return total
""",
    ),
    Mutant(
        FASTEST,
        "neighbours in a circle send first: works by buffering only",
        loses={"deadlock", "seconds"},
        answer="""
def fastest(x, comm):
    total = give = x
    for step in range(comm.world_size - 1):
        comm.send(give, to=comm.right)
        give = comm.recv(give, source=comm.left)
        total = total + give
    return total
""",
    ),
    Mutant(
        FASTEST,
        "the rival, by the name in the check's own cell",
        loses={"own work"},
        answer="""
def fastest(x, comm):
    return hierarchical.all_reduce(x, comm, islands=[list(range(i, i + 4)) for i in range(0, comm.world_size, 4)],
                                   between=doubling.halving_doubling_all_reduce if comm.world_size < 12 else ring.all_reduce)
""",
    ),
]

NEAREST = {
    CABLE: [
        MUTANTS[7].answer,
        """
def across_the_cable(x, comm):                  # hierarchical.all_reduce with naive inside and pairs between
    N = comm.world_size
    island_of = [rank for rank in range(N) if island(rank, N) == island(comm.rank, N)]
    leaders = [next(rank for rank in range(N) if island(rank, N) == side) for side in (0, 1)]
    leader, total = island_of[0], x.clone()
    if comm.rank != leader:
        comm.send(x, to=leader)
        return comm.recv(x, source=leader)
    for rank in island_of[1:]:
        total += comm.recv(x, source=rank)
    other = leaders[1 - island(leader, N)]
    total += comm.exchange(total, to=other, source=other)
    for rank in island_of[1:]:
        comm.send(total, to=rank)
    return total
""",
        """
def across_the_cable(x, comm):                  # hierarchical.all_reduce with trees inside, copied
    def tree(x, home, back):
        total, distance = x.clone(), 1
        distances = [1 << k for k in range((home.world_size - 1).bit_length())]
        for distance in reversed(distances) if back else distances:
            if home.rank % (2 * distance) == 0 and home.rank + distance < home.world_size:
                if back:
                    home.send(total, to=home.rank + distance)
                else:
                    total += home.recv(x, source=home.rank + distance)
            elif home.rank % (2 * distance) == distance:
                if back:
                    total = home.recv(x, source=home.rank - distance)
                else:
                    home.send(total, to=home.rank - distance)
        return total
    N = comm.world_size
    sides = [[rank for rank in range(N) if island(rank, N) == side] for side in (0, 1)]
    home = comm.group(sides[island(comm.rank, N)])
    total = tree(x, home, False)
    if home.rank == 0:
        other = sides[1 - island(comm.rank, N)][0]
        total += comm.exchange(total, to=other, source=other)
    return tree(total, home, True)
""",
    ],
    FASTEST: [
        MUTANTS[-1].answer,
        """
def fastest(x, comm):
    return doubling.halving_doubling_all_reduce(x, comm)
""",
    ],
}
