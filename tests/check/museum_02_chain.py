"""Wrong answers to exercise 02: the pipeline down a chain, and the all-to-all around a ring.

step      1   2   3   4               a segment comes while the one before goes; who first receives and then
0 -> 1    a   b   c                   sends needs almost twice the time for the same values
1 -> 2        a   b   c
"""

from tests.check.museum import Mutant

CHAIN = "02-chain"
ALL_TO_ALL = "02-all-to-all"

MUTANTS = [
    Mutant(
        CHAIN,
        "receive, then send: the wire rests every second step",
        loses={"steps"},
        answer="""
def down_the_chain(x, segments, comm):
    place, pieces = (comm.rank - root) % comm.world_size, list(x.tensor_split(segments))
    for s in range(segments):
        if place > 0:
            pieces[s] = comm.recv(pieces[s], source=comm.left)
        if place < comm.world_size - 1:
            comm.send(pieces[s], to=comm.right)
    return torch.cat(pieces)
""",
    ),
    Mutant(
        CHAIN,
        "the whole tensor, in one message",
        loses={"messages"},
        answer="""
def down_the_chain(x, segments, comm):
    place = (comm.rank - root) % comm.world_size
    x = comm.recv(x, source=comm.left) if place > 0 else x
    if place < comm.world_size - 1:
        comm.send(x, to=comm.right)
    return x.clone()
""",
    ),
    Mutant(
        CHAIN,
        "the whole tensor in every segment",
        loses={"bytes"},
        answer="""
def down_the_chain(x, segments, comm):
    N, place, held = comm.world_size, (comm.rank - root) % comm.world_size, [x] * (segments + 1)
    for s in range(segments + 1):
        coming = [Recv(x, comm.left)] if place > 0 and s < segments else []
        going = [Send(held[s - 1], comm.right)] if place < N - 1 and s > 0 else []
        for held[s] in comm.start(coming + going).wait():
            pass
    return held[0].clone()
""",
    ),
    Mutant(
        CHAIN,
        "the stub, handed in",
        loses={"values", "deadlock", "messages", "bytes", "peers"},
        answer="""
def down_the_chain(x, segments, comm):
    place, pieces = (comm.rank - root) % comm.world_size, list(x.tensor_split(segments))
    for s in range(segments):
        if place > 0:
            pieces[s] = comm.recv(pieces[s], source=comm.left)
        comm.send(pieces[s], to=comm.right)
    return torch.cat(pieces)
""",
    ),
    Mutant(
        CHAIN,
        "the root tells everybody",
        loses={"messages", "bytes", "peers", "steps"},
        answer="""
def down_the_chain(x, segments, comm):
    pieces = list(x.tensor_split(segments))
    for rank in range(comm.world_size):
        for s in range(segments):
            if comm.rank == root % comm.world_size != rank:
                comm.send(pieces[s], to=rank)
            elif comm.rank == rank != root % comm.world_size:
                pieces[s] = comm.recv(pieces[s], source=root % comm.world_size)
    return torch.cat(pieces)
""",
    ),
    Mutant(
        CHAIN,
        "receives into what it was given",
        loses={"inputs"},
        answer="""
def down_the_chain(x, segments, comm):
    N, place, pieces = comm.world_size, (comm.rank - root) % comm.world_size, x.tensor_split(segments)
    for s in range(segments + 1):
        coming = [Recv(pieces[s], comm.left, into=pieces[s])] if place > 0 and s < segments else []
        going = [Send(pieces[s - 1], comm.right)] if place < N - 1 and s > 0 else []
        comm.start(coming + going).wait()
    return x.clone()
""",
    ),
    Mutant(
        CHAIN,
        "minidl's tree",
        loses={"own work", "messages", "bytes", "peers"},
        answer="""
from minidl.collectives import tree as ours

def down_the_chain(x, segments, comm):
    return ours.broadcast(x, comm, root=root % comm.world_size)
""",
    ),
    Mutant(
        CHAIN,
        "down the other side",
        loses={"messages", "bytes", "peers"},
        answer="""
def down_the_chain(x, segments, comm):
    N, place, pieces = comm.world_size, (root - comm.rank) % comm.world_size, list(x.tensor_split(segments))
    for s in range(segments + 1):
        coming = [Recv(pieces[s], comm.right)] if place > 0 and s < segments else []
        going = [Send(pieces[s - 1], comm.left)] if place < N - 1 and s > 0 else []
        for came in comm.start(coming + going).wait():
            pieces[s] = came
    return torch.cat(pieces)
""",
    ),
    Mutant(
        ALL_TO_ALL,
        "whole tensors around",
        loses={"bytes"},
        answer="""
def around_to_all(x, comm):
    N, rank, give = comm.world_size, comm.rank, x
    out = x.reshape(N, -1).clone()
    for step in range(1, N):
        give = comm.exchange(give, to=(rank + turn) % N, source=(rank - turn) % N)
        out[(rank - turn * step) % N] = give.reshape(N, -1)[rank]
    return out.reshape(-1)
""",
    ),
    Mutant(
        ALL_TO_ALL,
        "straight to each rank",
        loses={"bytes", "peers"},
        answer="""
def around_to_all(x, comm):
    N, rank, chunks = comm.world_size, comm.rank, x.reshape(comm.world_size, -1)
    out = chunks.clone()
    for step in range(1, N):
        ahead, behind = (rank + turn * step) % N, (rank - turn * step) % N
        out[behind] = comm.exchange(chunks[ahead], to=ahead, source=behind)
    return out.reshape(-1)
""",
    ),
    Mutant(
        ALL_TO_ALL,
        "each chunk in a message of its own",
        loses={"messages", "steps"},
        answer="""
def around_to_all(x, comm):
    N, rank = comm.world_size, comm.rank
    out = x.reshape(N, -1).clone()
    held = [out[(rank + turn * i) % N].clone() for i in range(1, N)]
    for step in range(1, N):
        held = [comm.exchange(chunk, to=(rank + turn) % N, source=(rank - turn) % N) for chunk in held]
        out[(rank - turn * step) % N] = held.pop(0)
    return out.reshape(-1)
""",
    ),
    Mutant(
        ALL_TO_ALL,
        "around the other side",
        loses={"peers"},
        answer="""
def around_to_all(x, comm):
    N, rank = comm.world_size, comm.rank
    out = x.reshape(N, -1).clone()
    held = out[[(rank - turn * i) % N for i in range(1, N)]]
    for step in range(1, N):
        came = comm.exchange(held, to=(rank - turn) % N, source=(rank + turn) % N)
        out[(rank + turn * step) % N], held = came[0], came[1:]
    return out.reshape(-1)
""",
    ),
    Mutant(
        ALL_TO_ALL,
        "in the order of arrival, not of ranks",
        loses={"values"},
        answer="""
def around_to_all(x, comm):
    N, rank = comm.world_size, comm.rank
    chunks = x.reshape(N, -1)
    held, out = chunks[[(rank + turn * i) % N for i in range(1, N)]], [chunks[rank]]
    for step in range(1, N):
        came = comm.exchange(held, to=(rank + turn) % N, source=(rank - turn) % N)
        out, held = [*out, came[0]], came[1:]
    return torch.cat(out)
""",
    ),
    Mutant(
        ALL_TO_ALL,
        "unpacks into the x that it was given",
        loses={"inputs"},
        answer="""
def around_to_all(x, comm):
    N, rank = comm.world_size, comm.rank
    out = x.view(N, -1)
    held = out[[(rank + turn * i) % N for i in range(1, N)]]
    for step in range(1, N):
        came = comm.exchange(held, to=(rank + turn) % N, source=(rank - turn) % N)
        out[(rank - turn * step) % N], held = came[0], came[1:]
    return x.clone()
""",
    ),
    Mutant(
        ALL_TO_ALL,
        "for odd N all send first: works by buffering only",
        loses={"deadlock"},
        answer="""
def around_to_all(x, comm):
    N, rank = comm.world_size, comm.rank
    to, source = (rank + turn) % N, (rank - turn) % N
    out = x.reshape(N, -1).clone()
    held = out[[(rank + turn * i) % N for i in range(1, N)]]
    for step in range(1, N):
        if N % 2:
            comm.send(held, to=to)
            came = comm.recv(held, source=source)
        else:
            came = comm.exchange(held, to=to, source=source)
        out[(rank - turn * step) % N], held = came[0], came[1:]
    return out.reshape(-1)
""",
    ),
    Mutant(
        ALL_TO_ALL,
        "ours, by a name that the setup cell has",
        loses={"own work", "bytes", "peers"},
        answer="""
def around_to_all(x, comm):
    return naive.all_to_all(x, comm)
""",
    ),
]

NEAREST = {
    CHAIN: [
        """
from minidl.collectives import naive

def down_the_chain(x, segments, comm):
    return torch.cat([naive.broadcast(piece, comm, root=root % comm.world_size) for piece in x.tensor_split(segments)])
""",
        """
def down_the_chain(x, segments, comm):          # naive.broadcast, segment by segment
    pieces, N = list(x.tensor_split(segments)), comm.world_size
    for s in range(segments):
        if comm.rank != root % N:
            pieces[s] = comm.recv(pieces[s], source=root % N)
            continue
        for rank in range(N):
            if rank != root % N:
                comm.send(pieces[s], to=rank)
    return torch.cat(pieces)
""",
    ],
    ALL_TO_ALL: [
        """
from minidl.collectives import naive

def around_to_all(x, comm):
    return naive.all_to_all(x, comm)
""",
        """
def around_to_all(x, comm):                     # naive.all_to_all
    result = x.clone()
    give, take = x.tensor_split(comm.world_size), result.tensor_split(comm.world_size)
    for distance in range(1, comm.world_size):
        ahead, behind = (comm.rank + distance) % comm.world_size, (comm.rank - distance) % comm.world_size
        take[behind].copy_(comm.exchange(give[ahead], to=ahead, source=behind))
    return result
""",
        """
def around_to_all(x, comm):                     # ring.textbook_all_gather of everything, then a column
    rows = x.repeat(comm.world_size, 1)
    for step in range(comm.world_size - 1):
        give = (comm.rank - step * turn) % comm.world_size
        take = (give - turn) % comm.world_size
        rows[take] = comm.exchange(rows[give], to=(comm.rank + turn) % comm.world_size, source=(comm.rank - turn) % comm.world_size)
    return torch.cat([row.reshape(comm.world_size, -1)[comm.rank] for row in rows])
""",
    ],
}
