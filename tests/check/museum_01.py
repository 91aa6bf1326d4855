"""Wrong answers to exercise 01: the rally and the swap here, the others in museum_01_broadcast.py and museum_01_edges.py.

N = 4   0 <-> 2, 1 <-> 3              halfway around: the opposite of my opposite is me
N = 5   0 -> 2 -> 4 -> 1 -> 3 -> 0    ... is somebody else, and the program of task 2 hangs
"""

from tests.check import museum_01_broadcast, museum_01_edges
from tests.check.museum import Mutant

RALLY = "01-rally"
HALFWAY = "01-halfway"

MUTANTS = (
    [
        Mutant(
            RALLY,
            "the end is known, so the ball flies once",
            loses={"messages", "bytes"},
            answer="""
def rally(ball, returns, comm):
    first = server % comm.world_size
    second = (first + 1) % comm.world_size
    marks = torch.tensor(([float(first)] * growth + [float(second)] * growth) * returns)
    if comm.rank == first:
        comm.send(ball, to=second)
    elif comm.rank == second:
        ball = comm.recv(ball, source=first)
    return torch.cat([ball, marks]) if comm.rank in (first, second) else ball
""",
        ),
        Mutant(
            RALLY,
            "the ball grows at the end, not on its way",
            loses={"bytes"},
            answer="""
def rally(ball, returns, comm):
    first = server % comm.world_size
    second = (first + 1) % comm.world_size
    marks = torch.tensor(([float(first)] * growth + [float(second)] * growth) * returns)
    if comm.rank not in (first, second):
        return ball
    for _ in range(returns):
        if comm.rank == first:
            comm.send(ball, to=second)
            ball = comm.recv(ball, source=second)
        else:
            ball = comm.recv(ball, source=first)
            comm.send(ball, to=first)
    return torch.cat([ball, marks])
""",
        ),
        Mutant(
            RALLY,
            "a ball of the last size from the beginning",
            loses={"bytes"},
            answer="""
def rally(ball, returns, comm):
    first = server % comm.world_size
    second = (first + 1) % comm.world_size
    if comm.rank not in (first, second):
        return ball
    n = len(ball)
    large = torch.cat([ball, torch.zeros(2 * returns * growth)])
    for flight in range(2 * returns):
        hitter, catcher = (first, second) if flight % 2 == 0 else (second, first)
        large[n + flight * growth:n + (flight + 1) * growth] = hitter
        if comm.rank == hitter:
            comm.send(large, to=catcher)
        else:
            large = comm.recv(large, source=hitter)
    return large
""",
        ),
        Mutant(
            RALLY,
            "who catches writes, not who hits",
            loses={"values", "bytes"},
            answer="""
def rally(ball, returns, comm):
    first = server % comm.world_size
    second = (first + 1) % comm.world_size
    if comm.rank not in (first, second):
        return ball
    for flight in range(2 * returns):
        hitter, catcher = (first, second) if flight % 2 == 0 else (second, first)
        if comm.rank == hitter:
            comm.send(ball, to=catcher)
        else:
            ball = comm.recv(ball, source=hitter)
        ball = torch.cat([ball, torch.full((growth,), float(catcher))])
    return ball
""",
        ),
        Mutant(
            RALLY,
            "the size is asked for before each flight",
            loses={"messages", "bytes"},
            answer="""
def rally(ball, returns, comm):
    first = server % comm.world_size
    second = (first + 1) % comm.world_size
    if comm.rank not in (first, second):
        return ball
    for flight in range(2 * returns):
        hitter, catcher = (first, second) if flight % 2 == 0 else (second, first)
        if comm.rank == hitter:
            ball = torch.cat([ball, torch.full((growth,), float(hitter))])
            comm.send(torch.tensor([len(ball)]), to=catcher)
            comm.send(ball, to=catcher)
        else:
            size = comm.recv(torch.tensor([0]), source=hitter)
            ball = comm.recv(torch.empty(int(size)), source=hitter)
    return ball
""",
        ),
        Mutant(
            HALFWAY,
            "as it was handed out",
            loses={"values", "steps", "deadlock"},
            answer="""
def halfway(x, comm):
    half = turn * (comm.world_size // 2)
    opposite = (comm.rank + half) % comm.world_size
    if comm.rank < opposite:
        comm.send(x, to=opposite)
        return comm.recv(x, source=opposite)
    received = comm.recv(x, source=opposite)
    comm.send(x, to=opposite)
    return received
""",
        ),
        Mutant(
            HALFWAY,
            "both at once, but with one partner: hangs for odd sizes only",
            loses={"values", "deadlock"},
            answer="""
def halfway(x, comm):
    opposite = (comm.rank + turn * (comm.world_size // 2)) % comm.world_size
    return comm.exchange(x, to=opposite, source=opposite)
""",
        ),
        Mutant(
            HALFWAY,
            "send, then receive: works by buffering only",
            loses={"deadlock", "real"},
            answer="""
def halfway(x, comm):
    half = turn * (comm.world_size // 2)
    if half == 0:
        return x.clone()
    comm.send(x, to=(comm.rank + half) % comm.world_size)
    return comm.recv(x, source=(comm.rank - half) % comm.world_size)
""",
        ),
        Mutant(
            HALFWAY,
            "the right two partners, one after the other",
            loses={"steps"},
            answer="""
def halfway(x, comm):
    N, half = comm.world_size, turn * (comm.world_size // 2)
    to, source = (comm.rank + half) % N, (comm.rank - half) % N
    if half == 0:
        return x.clone()
    if comm.rank < to:
        comm.send(x, to=to)
        return comm.recv(x, source=source)
    received = comm.recv(x, source=source)
    comm.send(x, to=to)
    return received
""",
        ),
        Mutant(
            HALFWAY,
            "from neighbour to neighbour",
            loses={"messages", "peers", "steps"},
            answer="""
def halfway(x, comm):
    N = comm.world_size
    for _ in range(N // 2):
        x = comm.exchange(x, to=(comm.rank + turn) % N, source=(comm.rank - turn) % N)
    return x.clone()
""",
        ),
        Mutant(
            HALFWAY,
            "the other way around, which is the same for even sizes",
            loses={"values", "peers"},
            answer="""
def halfway(x, comm):
    N, half = comm.world_size, -turn * (comm.world_size // 2)
    return comm.exchange(x, to=(comm.rank + half) % N, source=(comm.rank - half) % N)
""",
        ),
    ]
    + museum_01_broadcast.MUTANTS
    + museum_01_edges.MUTANTS
)

NEAREST = (
    {
        RALLY: [
            """
from minidl.collectives import naive

def rally(ball, returns, comm):
    N, first = comm.world_size, server % comm.world_size
    second = (first + 1) % N
    whole = naive.broadcast(ball, comm, root=first)
    marks = torch.tensor(([float(first)] * growth + [float(second)] * growth) * returns)
    return torch.cat([whole, marks]) if comm.rank in (first, second) else ball
"""
        ],
        HALFWAY: [
            """
def halfway(x, comm):                           # ring.textbook_all_gather, then one row of it
    chunks = x.repeat(comm.world_size, 1)
    for step in range(comm.world_size - 1):
        give = (comm.rank - step) % comm.world_size
        take = (give - 1) % comm.world_size
        chunks[take] = comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks[(comm.rank - turn * (comm.world_size // 2)) % comm.world_size].clone()
""",
            """
from minidl.collectives import naive

def halfway(x, comm):
    return naive.all_gather(x, comm).reshape(comm.world_size, -1)[(comm.rank - turn * (comm.world_size // 2)) % comm.world_size].clone()
""",
        ],
    }
    | museum_01_broadcast.NEAREST
    | museum_01_edges.NEAREST
)
