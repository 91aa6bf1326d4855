"""Wrong answers to exercise 00: what goes wrong in the first hour, and what looks right because the sum is.

0 -> 1 -> 2 -> 3    the line of task 3; an answer that closes it to a ring, or gathers at one rank, has
0 <- 1 <- 2 <- 3    the same values and other messages
"""

from tests.check.museum import Mutant

SWAP = "00-swap"
SLOPE = "00-slope"
LINE = "00-there-and-back"

MUTANTS = [
    Mutant(
        SWAP,
        "the mirror of four ranks only",
        loses={"values", "peers"},
        answer="""
def swap_across(x, comm):
    partner = (3 - comm.rank) % comm.world_size if table != 3 else (2 - comm.rank) % comm.world_size
    return comm.exchange(x, to=partner, source=partner)
""",
    ),
    Mutant(
        SWAP,
        "the sign is forgotten: everyone shifts",
        loses={"values", "peers"},
        answer="""
def swap_across(x, comm):
    N = comm.world_size
    return comm.exchange(x, to=(comm.rank + table) % N, source=(comm.rank - table) % N)
""",
    ),
    Mutant(
        SWAP,
        "around the whole circle, until the partner's comes by",
        loses={"messages", "peers", "steps"},
        answer="""
def swap_across(x, comm):
    N = comm.world_size
    found, give = x.clone(), x
    for step in range(1, N):
        give = comm.exchange(give, to=comm.right, source=comm.left)
        if (comm.rank - step) % N == (table - comm.rank) % N:
            found = give
    return found
""",
    ),
    Mutant(
        SWAP,
        "send first and receive second: two steps",
        loses={"steps"},
        answer="""
def swap_across(x, comm):
    partner = (table - comm.rank) % comm.world_size
    if partner == comm.rank:
        return x.clone()
    if comm.rank < partner:
        comm.send(x, to=partner)
        return comm.recv(x, source=partner)
    other = comm.recv(x, source=partner)
    comm.send(x, to=partner)
    return other
""",
    ),
    Mutant(
        SLOPE,
        "behind minus ahead",
        loses={"values"},
        answer="""
def slope(x, comm):
    ahead, behind = (comm.rank + distance) % comm.world_size, (comm.rank - distance) % comm.world_size
    from_ahead = comm.exchange(x, to=behind, source=ahead)
    return comm.exchange(x, to=ahead, source=behind) - from_ahead
""",
    ),
    Mutant(
        SLOPE,
        "everyone sends first: works by buffering only",
        loses={"deadlock"},
        answer="""
def slope(x, comm):
    ahead, behind = (comm.rank + distance) % comm.world_size, (comm.rank - distance) % comm.world_size
    if ahead == comm.rank:
        return x - x
    comm.send(x, to=behind)
    from_ahead = comm.recv(x, source=ahead)
    comm.send(x, to=ahead)
    return from_ahead - comm.recv(x, source=behind)
""",
    ),
    Mutant(
        SLOPE,
        "step by step along the circle",
        loses={"messages", "steps"},
        answer="""
def slope(x, comm):
    up = down = x
    for step in range(distance):
        up = comm.exchange(up, to=comm.left, source=comm.right)
        down = comm.exchange(down, to=comm.right, source=comm.left)
    return up - down
""",
    ),
    Mutant(
        SLOPE,
        "one rank after the other",
        loses={"steps"},
        answer="""
def slope(x, comm):
    N = comm.world_size
    if distance % N == 0:
        return x - x
    for source in range(N):
        for to, sign in (((source - distance) % N, 1), ((source + distance) % N, -1)):
            if comm.rank == source:
                comm.send(x, to=to)
            elif comm.rank == to and sign == 1:
                from_ahead = comm.recv(x, source=source)
            elif comm.rank == to:
                from_behind = comm.recv(x, source=source)
    return from_ahead - from_behind
""",
    ),
    Mutant(
        SLOPE,
        "subtracts in place, from the x that it was given",
        loses={"inputs", "own work"},
        answer="""
from minidl.collectives.chunks import fresh

def slope(x, comm):
    ahead, behind = (comm.rank + distance) % comm.world_size, (comm.rank - distance) % comm.world_size
    from_ahead = comm.exchange(x, to=behind, source=ahead)
    from_behind = comm.exchange(x, to=ahead, source=behind)
    x.copy_(from_ahead).sub_(from_behind)
    return fresh(x)
""",
    ),
    Mutant(
        LINE,
        "adds what comes back: counted twice",
        loses={"values", "real"},
        answer="""
def there_and_back(x, comm):
    N, total = comm.world_size, x.clone()
    place = (comm.rank - first) % N
    if place > 0:
        total = x + comm.recv(x, source=comm.left)
    if place < N - 1:
        comm.send(total, to=comm.right)
        total = total + comm.recv(x, source=comm.right)
    if place > 0:
        comm.send(total, to=comm.left)
    return total
""",
    ),
    Mutant(
        LINE,
        "the line begins at rank 0 for everybody",
        loses={"peers"},
        answer="""
def there_and_back(x, comm):
    N, total = comm.world_size, x.clone()
    if comm.rank > 0:
        total = x + comm.recv(x, source=comm.left)
    if comm.rank < N - 1:
        comm.send(total, to=comm.right)
        total = comm.recv(x, source=comm.right)
    if comm.rank > 0:
        comm.send(total, to=comm.left)
    return total
""",
    ),
    Mutant(
        LINE,
        "the end of the line tells the beginning: a second lap",
        loses={"peers"},
        answer="""
def there_and_back(x, comm):
    N, total = comm.world_size, x.clone()
    place = (comm.rank - first) % N
    if N == 1:
        return total
    if place > 0:
        total = x + comm.recv(x, source=comm.left)
    comm.send(total, to=comm.right)
    if place < N - 1:
        total = comm.recv(x, source=comm.left)
        if place < N - 2:
            comm.send(total, to=comm.right)
    return total
""",
    ),
    Mutant(
        LINE,
        "one rank adds and answers all",
        loses={"peers", "messages"},
        answer="""
def there_and_back(x, comm):
    N, root = comm.world_size, first % comm.world_size
    if comm.rank != root:
        comm.send(x, to=root)
        return comm.recv(x, source=root)
    others = [rank for rank in range(N) if rank != root]
    total = x + sum(comm.recv(x, source=rank) for rank in others)
    for rank in others:
        comm.send(total, to=rank)
    return total
""",
    ),
    Mutant(
        LINE,
        "all send first, and hope for room: works by buffering only",
        loses={"deadlock", "messages", "peers", "real"},
        answer="""
def there_and_back(x, comm):
    total = give = x
    for step in range(comm.world_size - 1):
        comm.send(give, to=comm.right)
        give = comm.recv(give, source=comm.left)
        total = total + give
    return total
""",
    ),
    Mutant(
        LINE,
        "an acknowledgement after each message",
        loses={"messages", "steps"},
        answer="""
def there_and_back(x, comm):
    N, total, seen = comm.world_size, x.clone(), torch.zeros(1)
    place = (comm.rank - first) % N
    if place > 0:
        total = x + comm.recv(x, source=comm.left)
        comm.send(seen, to=comm.left)
    if place < N - 1:
        comm.send(total, to=comm.right)
        comm.recv(seen, source=comm.right)
        total = comm.recv(x, source=comm.right)
    if place > 0:
        comm.send(total, to=comm.left)
    return total
""",
    ),
    Mutant(
        LINE,
        "asks PyTorch where there is one",
        loses={"own work"},
        answer="""
import torch.distributed as dist

def there_and_back(x, comm):
    N, total, place = comm.world_size, x.clone(), (comm.rank - first) % comm.world_size
    if dist.is_initialized():
        dist.all_reduce(total)
        return total
    total = x + comm.recv(x, source=comm.left) if place > 0 else total
    if place < N - 1:
        comm.send(total, to=comm.right)
        total = comm.recv(x, source=comm.right)
    if place > 0:
        comm.send(total, to=comm.left)
    return total
""",
    ),
    Mutant(
        LINE,
        "adds into the x that it was given",
        loses={"inputs"},
        answer="""
def there_and_back(x, comm):
    place = (comm.rank - first) % comm.world_size
    if place > 0:
        x += comm.recv(x, source=comm.left)
    if place < comm.world_size - 1:
        comm.send(x, to=comm.right)
        x.copy_(comm.recv(x, source=comm.right))
    if place > 0:
        comm.send(x, to=comm.left)
    return x.clone()
""",
    ),
]

NEAREST = {
    SWAP: [
        """
from minidl.collectives import ring

def swap_across(x, comm):
    return ring.all_gather(x, comm).reshape(comm.world_size, -1)[(table - comm.rank) % comm.world_size].clone()
""",
        """
def swap_across(x, comm):                       # naive.all_to_all, cut down to one chunk for each rank
    N, chunks = comm.world_size, {comm.rank: x}
    for distance in range(1, N):
        ahead, behind = (comm.rank + distance) % N, (comm.rank - distance) % N
        chunks[behind] = comm.exchange(x, to=ahead, source=behind)
    return chunks[(table - comm.rank) % N]
""",
    ],
    SLOPE: [
        """
from minidl.collectives import naive

def slope(x, comm):
    all_x = naive.all_gather(x, comm).reshape(comm.world_size, -1)
    return all_x[(comm.rank + distance) % comm.world_size] - all_x[(comm.rank - distance) % comm.world_size]
""",
        """
def slope(x, comm):                             # ring.textbook_all_gather, then two rows of it
    chunks = x.repeat(comm.world_size, 1)
    for step in range(comm.world_size - 1):
        give = (comm.rank - step) % comm.world_size
        take = (give - 1) % comm.world_size
        chunks[take] = comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks[(comm.rank + distance) % comm.world_size] - chunks[(comm.rank - distance) % comm.world_size]
""",
    ],
    LINE: [
        """
from minidl.collectives import tree

def there_and_back(x, comm):
    return tree.all_reduce(x, comm)
""",
        """
def there_and_back(x, comm):                    # naive.reduce and naive.broadcast, with the root of the task
    root = first % comm.world_size
    total = x.clone()
    if comm.rank != root:
        comm.send(x, to=root)
        return comm.recv(x, source=root)
    for rank in range(comm.world_size):
        if rank != root:
            total += comm.recv(x, source=rank)
    for rank in range(comm.world_size):
        if rank != root:
            comm.send(total, to=rank)
    return total
""",
    ],
}
