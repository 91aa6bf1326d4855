"""Wrong answers to exercise 02: frauds that are caught, or none, and detectives who look at half of the evidence.

ring       0->1 24 B, 1->2 24 B, 2->0 24 B, ...   honest
pairs      0->1 24 B, 1->0 24 B, 0->1 24 B, ...   as many bytes, but rank 0 never hears of rank 2
"""

from tests.check.museum import Mutant

FRAUD = "02-impostor"
DETECTIVE = "02-honest"

RING = """
def impostor(x, comm):
    N = comm.world_size
    chunks = x.reshape(N, -1).clone()
    for step in range(2 * (N - 1)):
        came = comm.exchange(chunks[(comm.rank - step) % N], to=comm.right, source=comm.left)
        chunks[(comm.rank - step - 1) % N] = chunks[(comm.rank - step - 1) % N] + came if step < N - 1 else came
    return chunks.reshape(-1)
"""

MUTANTS = [
    Mutant(FRAUD, "an honest ring", loses={"impostor"}, answer=RING),
    Mutant(
        FRAUD,
        "whole tensors, and nothing to hide it",
        loses={"messages"},
        answer="""
def impostor(x, comm):
    total = give = x
    for step in range(comm.world_size - 1):
        give = comm.exchange(give, to=comm.right, source=comm.left)
        total = total + give
    return total
""",
    ),
    Mutant(
        FRAUD,
        "adds up what the second half brings, too",
        loses={"values"},
        answer="""
def impostor(x, comm):
    total = give = x
    for step in range(2 * (comm.world_size - 1)):
        give = comm.exchange(give, to=comm.right, source=comm.left)
        total = total + give
    return total
""",
    ),
    Mutant(
        FRAUD,
        "the second half to the left",
        loses={"peers"},
        answer="""
def impostor(x, comm):
    total = give = x
    for step in range(comm.world_size - 1):
        give = comm.exchange(give, to=comm.right, source=comm.left)
        total = total + give
    for step in range(comm.world_size - 1):
        give = comm.exchange(give, to=comm.left, source=comm.right)
    return total
""",
    ),
    Mutant(
        FRAUD,
        "one rank after the other sends, then around for show",
        loses={"steps"},
        answer="""
def impostor(x, comm):
    N, rank, total, give = comm.world_size, comm.rank, x.clone(), x
    for step in range(N - 1):
        if rank == 0:
            comm.send(give, to=comm.right)
        came = comm.recv(give, source=comm.left)
        if rank > 0:
            comm.send(give, to=comm.right)
        give, total = came, total + came
    for step in range(N - 1):
        comm.exchange(x, to=comm.right, source=comm.left)
    return total
""",
    ),
    Mutant(
        DETECTIVE,
        "adds bytes up, asks not who can know what",
        loses={"values"},
        answer="""
def honest(N, nbytes, sent):
    out, into = [0] * N, [0] * N
    for source, to, size in sent:
        out[source] += size
        into[to] += size
    return out == into == [2 * (N - 1) * nbytes // N] * N
""",
    ),
    Mutant(
        DETECTIVE,
        "asks who can know what, adds no bytes up",
        loses={"values"},
        answer="""
def honest(N, nbytes, sent):
    knows = [{rank} for rank in range(N)]
    for source, to, size in sent:
        knows[to] |= knows[source]
    return all(len(known) == N for known in knows)
""",
    ),
    Mutant(
        DETECTIVE,
        "forgets that a message cannot carry what comes later",
        loses={"values"},
        answer="""
def honest(N, nbytes, sent):
    out, into, knows = [0] * N, [0] * N, [{rank} for rank in range(N)]
    for source, to, size in sent:
        out[source] += size
        into[to] += size
    for _ in range(N):
        for source, to, size in sent:
            knows[to] |= knows[source]
    return out == into == [2 * (N - 1) * nbytes // N] * N and all(len(known) == N for known in knows)
""",
    ),
    Mutant(
        DETECTIVE,
        "counts what is sent, and not what is received",
        loses={"values"},
        answer="""
def honest(N, nbytes, sent):
    out, knows = [0] * N, [{rank} for rank in range(N)]
    for source, to, size in sent:
        out[source] += size
        knows[to] |= knows[source]
    return out == [2 * (N - 1) * nbytes // N] * N and all(len(known) == N for known in knows)
""",
    ),
    Mutant(
        DETECTIVE,
        "knows rings only",
        loses={"values"},
        answer="""
def honest(N, nbytes, sent):
    return all(to in ((source + 1) % N, (source - 1) % N) and size == nbytes // N for source, to, size in sent) and len(sent) == 2 * N * (N - 1)
""",
    ),
    Mutant(
        DETECTIVE,
        "trusts everybody",
        loses={"values"},
        answer="""
def honest(N, nbytes, sent):
    return True
""",
    ),
    Mutant(
        DETECTIVE,
        "trusts nobody",
        loses={"values"},
        answer="""
def honest(N, nbytes, sent):
    return False
""",
    ),
]

NEAREST = {
    FRAUD: [
        """
def impostor(x, comm):
    return ring.all_reduce(x, comm)
""",
        RING,
        """
def impostor(x, comm):
    return tree.all_reduce(x, comm)
""",
    ],
    DETECTIVE: [
        """
def honest(N, nbytes, sent):                    # the formula of the package, rank by rank
    cost = costs.ring_all_reduce(N, nbytes, itemsize=4)
    out = [[size for source, _, size in sent if source == rank] for rank in range(N)]
    return all((len(sizes), sum(sizes)) == (cost.messages, cost.nbytes) for sizes in out)
""",
        """
def honest(N, nbytes, sent):                    # ... bytes alone
    return all(sum(size for source, _, size in sent if source == rank) == costs.ring_all_reduce(N, nbytes, itemsize=4).nbytes for rank in range(N))
""",
    ],
}
