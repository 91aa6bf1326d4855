"""Wrong answers to exercise 02, the all-reduce that goes around both ways.

rank 0  <==>  rank 1  <==>  rank 2          both ways at once, half of the bytes each way
a right sum is no proof: one way, one after the other, and whole halves give it, too
"""

from tests.check.museum import Mutant

BOTH = "02-bidirectional"

HEAD = """
def all_reduce(x, comm):
    N, rank, n = comm.world_size, comm.rank, x.numel()
    padded = torch.cat([x.detach().reshape(-1), x.new_zeros(-n % (2 * N))])
    rightwards, leftwards = padded.reshape(2, N, -1)
"""

LOOP = """
    for step in range(2 * (N - 1)):
        came = comm.start([Recv(rightwards[0], comm.left), Recv(leftwards[0], comm.right),
                           Send(rightwards[(rank - step) % N], comm.right), Send(leftwards[(rank + step) % N], comm.left)]).wait()
        for here, new in zip((rightwards[(rank - step - 1) % N], leftwards[(rank + step + 1) % N]), came):
            here.copy_(here + new if step < N - 1 else new)
"""

MUTANTS = [
    Mutant(
        BOTH,
        "an honest ring, one way",
        loses={"messages", "link"},
        answer="""
def all_reduce(x, comm):
    N, rank, n = comm.world_size, comm.rank, x.numel()
    padded = torch.cat([x.detach().reshape(-1), x.new_zeros(-n % N)])
    chunks = padded.reshape(N, -1)
    for step in range(2 * (N - 1)):
        came = comm.exchange(chunks[(rank - step) % N], to=comm.right, source=comm.left)
        chunks[(rank - step - 1) % N] = chunks[(rank - step - 1) % N] + came if step < N - 1 else came
    return padded[:n].reshape(x.shape)
""",
    ),
    Mutant(
        BOTH,
        "two halves, and both to the right",
        loses={"link"},
        answer=HEAD
        + """
    for step in range(2 * (N - 1)):
        give, take = (rank - step) % N, (rank - step - 1) % N
        came = comm.start([Recv(rightwards[0], comm.left), Recv(leftwards[0], comm.left),
                           Send(rightwards[give], comm.right), Send(leftwards[give], comm.right)]).wait()
        for half, new in zip((rightwards, leftwards), came):
            half[take] = half[take] + new if step < N - 1 else new
    return padded[:n].reshape(x.shape)
""",
    ),
    Mutant(
        BOTH,
        "first to the right, then to the left",
        loses={"steps"},
        answer=HEAD
        + """
    for half, sign, to, source in ((rightwards, 1, comm.right, comm.left), (leftwards, -1, comm.left, comm.right)):
        for step in range(2 * (N - 1)):
            give, take = (rank - sign * step) % N, (rank - sign * (step + 1)) % N
            came = comm.exchange(half[give], to=to, source=source)
            half[take] = half[take] + came if step < N - 1 else came
    return padded[:n].reshape(x.shape)
""",
    ),
    Mutant(
        BOTH,
        "whole halves in every message",
        loses={"bytes", "link"},
        answer=HEAD
        + """
    giving = [rightwards.clone(), leftwards.clone()]
    for step in range(2 * (N - 1)):
        giving = comm.start([Recv(giving[0], comm.left), Recv(giving[1], comm.right),
                             Send(giving[0], comm.right), Send(giving[1], comm.left)]).wait()
        if step < N - 1:
            rightwards += giving[0]
            leftwards += giving[1]
    return padded[:n].reshape(x.shape)
""",
    ),
    Mutant(
        BOTH,
        "the mean, on all ranks alike",
        loses={"values", "real"},
        answer=HEAD
        + LOOP
        + """    return padded[:n].reshape(x.shape) / N
""",
    ),
    Mutant(
        BOTH,
        "two ranks are one case too many: their two messages are mixed up",
        loses={"values"},
        answer=HEAD
        + """
    for step in range(2 * (N - 1)):
        to_left = Send(leftwards[(rank + step) % N], comm.left)
        came = comm.start([Recv(rightwards[0], comm.left), Recv(leftwards[0], comm.right),
                           to_left, Send(rightwards[(rank - step) % N], comm.right)]).wait()
        for here, new in zip((rightwards[(rank - step - 1) % N], leftwards[(rank + step + 1) % N]), came):
            here.copy_(here + new if step < N - 1 else new)
    return padded[:n].reshape(x.shape)
""",
    ),
    Mutant(
        BOTH,
        "everybody to everybody",
        loses={"messages", "peers"},
        answer="""
def all_reduce(x, comm):
    N, rank, n = comm.world_size, comm.rank, x.numel()
    chunks = torch.cat([x.detach().reshape(-1), x.new_zeros(-n % N)]).reshape(N, -1)
    own = chunks[rank].clone()
    others = [(rank + distance) % N for distance in range(1, N)]
    for to, source in zip(others, reversed(others)):
        own += comm.exchange(chunks[to], to=to, source=source)
    for to, source in zip(others, reversed(others)):
        chunks[source] = comm.exchange(own, to=to, source=source)
    chunks[rank] = own
    return chunks.reshape(-1)[:n].reshape(x.shape)
""",
    ),
    Mutant(
        BOTH,
        "adds into what it was given",
        loses={"inputs"},
        answer=HEAD
        + LOOP
        + """    x.copy_(padded[:n].reshape(x.shape))
    return x.clone()
""",
    ),
    Mutant(
        BOTH,
        "sends on both sides, then receives: works by buffering only",
        loses={"deadlock", "real"},
        answer=HEAD
        + """
    for step in range(2 * (N - 1)):
        comm.start([Send(rightwards[(rank - step) % N], comm.right), Send(leftwards[(rank + step) % N], comm.left)]).wait()
        came = comm.start([Recv(rightwards[0], comm.left), Recv(leftwards[0], comm.right)]).wait()
        for here, new in zip((rightwards[(rank - step - 1) % N], leftwards[(rank + step + 1) % N]), came):
            here.copy_(here + new if step < N - 1 else new)
    return padded[:n].reshape(x.shape)
""",
    ),
    Mutant(
        BOTH,
        "our ring, by a name that the setup cell has",
        loses={"own work", "messages", "link"},
        answer="""
def all_reduce(x, comm):
    return ring.all_reduce(x, comm)
""",
    ),
]

NEAREST = {
    BOTH: [
        """
from minidl.collectives import ring

def all_reduce(x, comm):
    return ring.all_reduce(x, comm)
""",
        """
def all_reduce(x, comm):                        # ring.textbook_all_reduce, with zeros behind
    N, n = comm.world_size, x.numel()
    chunks = torch.cat([x.detach().reshape(-1), x.new_zeros(-n % N)]).reshape(N, -1)
    for step in range(N - 1):
        give = (comm.rank - step - 1) % N
        chunks[(give - 1) % N] += comm.exchange(chunks[give], to=comm.right, source=comm.left)
    for step in range(N - 1):
        give = (comm.rank - step) % N
        chunks[(give - 1) % N] = comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks.reshape(-1)[:n].reshape(x.shape)
""",
        """
def all_reduce(x, comm):                        # ... twice: each half by a ring of its own, to the right
    N, n = comm.world_size, x.numel()
    halves = torch.cat([x.detach().reshape(-1), x.new_zeros(-n % (2 * N))]).reshape(2, N, -1)
    for chunks in halves:
        for step in range(N - 1):
            give = (comm.rank - step - 1) % N
            chunks[(give - 1) % N] += comm.exchange(chunks[give], to=comm.right, source=comm.left)
        for step in range(N - 1):
            give = (comm.rank - step) % N
            chunks[(give - 1) % N] = comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return halves.reshape(-1)[:n].reshape(x.shape)
""",
    ],
}
