"""Wrong answers to the edges of a grid and to the rumour by radio of exercise 01.

    . a a .        a patch and the edges around it: above, below, left, right; the corners stay 0. Whole patches,
    c x x d        a queue of ranks, or two edges taken for each other are not seen in every value.
    . b b .

A mutant that is the right answer but for a few lines is written as that change of RIGHT.
"""

from tests.check.museum import Mutant
from tests.check.museum_01_broadcast import changed

EDGES, RUMOUR = "01-edges", "01-rumour"

RIGHT = """
def with_edges(x, comm):
    N, out = comm.world_size, torch.nn.functional.pad(x, (1, 1, 1, 1))
    up, down, left, right = out[0, 1:-1], out[-1, 1:-1], out[1:-1, 0], out[1:-1, -1]
    moves = [((-1, 0), x[0], down), ((1, 0), x[-1], up), ((0, -1), x[:, 0], right), ((0, 1), x[:, -1], left)]
    receives, sends, places = [], [], []
    for (rows, columns), edge, place in moves:
        to, source = neighbour(comm.rank, N, rows, columns), neighbour(comm.rank, N, -rows, -columns)
        if to == source == comm.rank:
            place.copy_(edge)
            continue
        if to is not None:
            sends.append(Send(edge.contiguous(), to))
        if source is not None:
            receives.append(Recv(torch.empty_like(edge), source))
            places.append(place)
    for place, came in zip(places, comm.start(receives + sends).wait()):
        place.copy_(came)
    return out
"""

SEND_FIRST = """
def with_edges(x, comm):
    N, out = comm.world_size, torch.nn.functional.pad(x, (1, 1, 1, 1))
    up, down, left, right = out[0, 1:-1], out[-1, 1:-1], out[1:-1, 0], out[1:-1, -1]
    for (rows, columns), edge, place in [((-1, 0), x[0], down), ((1, 0), x[-1], up), ((0, -1), x[:, 0], right), ((0, 1), x[:, -1], left)]:
        to, source = neighbour(comm.rank, N, rows, columns), neighbour(comm.rank, N, -rows, -columns)
        if to == source == comm.rank:
            place.copy_(edge)
            continue
        if to is not None:
            comm.send(edge.contiguous(), to=to)
        if source is not None:
            place.copy_(comm.recv(torch.empty_like(edge), source=source))
    return out
"""

ALL_GATHER = """
def with_edges(x, comm):                        # ring.textbook_all_gather of whole patches
    N, h = comm.world_size, x.shape[0]
    chunks = x.repeat(N, 1, 1)
    for step in range(N - 1):
        give = (comm.rank - step) % N
        take = (give - 1) % N
        chunks[take] = comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return surrounded(list(chunks), comm.rank, N)
"""

# The oracle stands in the check cell, which ranks do not have: a copy of it for those who gather everything.
SURROUNDED = """
def surrounded(inputs, rank, N):
    out = torch.nn.functional.pad(inputs[rank], (1, 1, 1, 1))
    above, below, left, right = (neighbour(rank, N, *side) for side in [(-1, 0), (1, 0), (0, -1), (0, 1)])
    if above is not None: out[0, 1:-1] = inputs[above][-1]
    if below is not None: out[-1, 1:-1] = inputs[below][0]
    if left is not None: out[1:-1, 0] = inputs[left][:, -1]
    if right is not None: out[1:-1, -1] = inputs[right][:, 0]
    return out
"""

GRIDS = [
    Mutant(
        EDGES,
        "whole patches",
        loses={"bytes"},
        answer=changed(
            RIGHT,
            ("Send(edge.contiguous(), to)", "Send(x, to)"),
            ("torch.empty_like(edge)", "torch.empty_like(x)"),
            ("places.append(place)", "places.append((place, rows, columns))"),
            ("for place, came in", "for (place, rows, columns), came in"),
            (
                "place.copy_(came)",
                "place.copy_({(-1, 0): came[0], (1, 0): came[-1], (0, -1): came[:, 0], (0, 1): came[:, -1]}[rows, columns])",
            ),
        ),
    ),
    Mutant(
        EDGES,
        "everybody gets everything",
        loses={"messages", "bytes", "peers", "steps"},
        answer=SURROUNDED + ALL_GATHER,
    ),
    Mutant(EDGES, "send, then receive: works by buffering only", SEND_FIRST, {"deadlock", "real"}),
    Mutant(
        EDGES,
        "one rank after the other",
        loses={"steps"},
        answer="""
def with_edges(x, comm):
    N, out = comm.world_size, torch.nn.functional.pad(x, (1, 1, 1, 1))
    up, down, left, right = out[0, 1:-1], out[-1, 1:-1], out[1:-1, 0], out[1:-1, -1]
    for (rows, columns), edge, place in [((-1, 0), x[0], down), ((1, 0), x[-1], up), ((0, -1), x[:, 0], right), ((0, 1), x[:, -1], left)]:
        for source in range(N):
            to = neighbour(source, N, rows, columns)
            if to == source == comm.rank:
                place.copy_(edge)
            elif comm.rank == source and to is not None:
                comm.send(edge.contiguous(), to=to)
            elif comm.rank == to:
                place.copy_(comm.recv(torch.empty_like(edge), source=source))
    return out
""",
    ),
    Mutant(
        EDGES,
        "the two messages of a rank that is on both sides are mixed up",
        loses={"values", "real"},
        answer=changed(
            RIGHT,
            (
                "zip(places, comm.start(receives + sends).wait())",
                "zip(places, comm.start(receives + sends[::-1]).wait())",
            ),
        ),
    ),
    Mutant(
        EDGES,
        "corners are sent along",
        loses={"values", "bytes", "real"},
        answer="""
def with_edges(x, comm):
    N, out = comm.world_size, torch.nn.functional.pad(x, (1, 1, 1, 1))
    for (rows, columns), inner, outer in [((-1, 0), 1, -1), ((1, 0), -2, 0), ((0, -1), 1, -1), ((0, 1), -2, 0)]:
        to, source = neighbour(comm.rank, N, rows, columns), neighbour(comm.rank, N, -rows, -columns)
        edge = (out[inner] if rows else out[:, inner]).clone()
        receives = [Recv(torch.empty_like(edge), source)] if source not in (None, comm.rank) else []
        sends = [Send(edge, to)] if to not in (None, comm.rank) else []
        came = comm.start(receives + sends).wait() if receives or sends else ()
        for got in came or ([edge] if source == comm.rank else []):
            (out[outer] if rows else out[:, outer]).copy_(got)
    return out
""",
    ),
    Mutant(
        EDGES,
        "closed in both directions",
        loses={"values", "messages", "bytes", "peers", "real"},
        answer="""
def around(rank, N, down, right):
    rows, columns = grid(N)
    return (rank // columns + down) % rows * columns + (rank % columns + right) % columns
"""
        + RIGHT.replace("neighbour(", "around("),
    ),
    Mutant(
        EDGES,
        "writes into the patch that it was given",
        loses={"inputs"},
        answer=changed(RIGHT, ("    return out\n", "    x.zero_()\n    return out\n")),
    ),
    Mutant(
        EDGES,
        "with a function of minidl on the way",
        loses={"own work"},
        answer=changed(
            "from minidl.collectives.chunks import fresh\n" + RIGHT,
            ("edge.contiguous()", "fresh(edge).contiguous()"),
        ),
    ),
]

TREE = """
def rumour(x, comm):                            # tree.broadcast: the parent is the place without its lowest bit
    N = comm.world_size
    me, rank_at = (comm.rank - root) % N, lambda place: (place + root) % N
    reach = min(me & -me, N - me) if me else N
    x = x.clone() if me == 0 else comm.recv(x, source=rank_at(me & (me - 1)))
    for k in reversed(range((reach - 1).bit_length())):
        comm.send(x, to=rank_at(me + (1 << k)))
    return x
"""

FLAT = """
def rumour(x, comm):
    others = [rank for rank in range(comm.world_size) if rank != root % comm.world_size]
    if comm.rank in others:
        return comm.recv(x, source=root % comm.world_size)
    comm.start([Send(x, to) for to in others]).wait()
    return x.clone()
"""

IN_PIECES = """
def rumour(x, comm):
    N, me = comm.world_size, (comm.rank - root) % comm.world_size
    pieces, at = x.tensor_split(N - 1), lambda place: (root + place) % N
    if me == 0:
        comm.start([Send(piece, at(i + 1)) for i, piece in enumerate(pieces)]).wait()
        return x.clone()
    others = [place for place in range(1, N) if place != me]
    mine = comm.recv(pieces[me - 1], source=at(0))
    both = comm.start([Send(mine, at(place)) for place in others] + [Recv(pieces[place - 1], at(place)) for place in others])
    came = dict(zip(others, both.wait())) | {me: mine}
    return torch.cat([came[place] for place in range(1, N)])
"""

RUMOURS = [
    Mutant(RUMOUR, "the binomial tree", TREE, {"seconds"}),
    Mutant(RUMOUR, "the root tells everybody, without waiting", FLAT, {"seconds"}),
    Mutant(
        RUMOUR,
        "a chain",
        loses={"seconds"},
        answer="""
def rumour(x, comm):
    me = (comm.rank - root) % comm.world_size
    x = x.clone() if me == 0 else comm.recv(x, source=comm.left)
    if me < comm.world_size - 1:
        comm.send(x, to=comm.right)
    return x
""",
    ),
    Mutant(
        RUMOUR,
        "pieces, send first: works by buffering only",
        loses={"deadlock"},
        answer=changed(
            IN_PIECES,
            (
                "    both = comm.start([Send(mine, at(place)) for place in others] + [Recv",
                "    [comm.send(mine, to=at(place)) for place in others]\n    both = comm.start([Recv",
            ),
        ),
    ),
    Mutant(
        RUMOUR,
        "pieces, joined in the order of the clock face",
        loses={"values"},
        answer=changed(
            IN_PIECES,
            ("for place in range(1, N)])", "for place in [*range(me, N), *range(1, me)]])"),
        ),
    ),
    Mutant(
        RUMOUR,
        "minidl's tree",
        loses={"seconds", "own work"},
        answer="""
def rumour(x, comm):
    return tree.broadcast(x, comm, root=root % comm.world_size)
""",
    ),
]

MUTANTS = GRIDS + RUMOURS

NEAREST = {
    EDGES: [
        SURROUNDED + ALL_GATHER,
        SURROUNDED
        + """
from minidl.collectives import naive

def with_edges(x, comm):
    return surrounded(list(naive.all_gather(x, comm).reshape(comm.world_size, *x.shape)), comm.rank, comm.world_size)
""",
    ],
    RUMOUR: [
        TREE,
        FLAT,
        """
from minidl.collectives import naive, ring

def rumour(x, comm):                            # scatter, then all-gather
    n, N = len(x), comm.world_size
    padded = torch.cat([x, x.new_zeros(-n % N)])
    chunk = naive.scatter(padded if comm.rank == root % N else None, comm, root=root % N, like=padded[:len(padded) // N])
    return ring.all_gather(chunk, comm)[:n]
""",
    ],
}
