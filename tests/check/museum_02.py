"""Wrong answers to exercise 02: reduce-scatter and Bruck's all-gather here, the others in museum_02_*.py.

chunk c + shift goes to the left: ... <- r <- r + 1 <- ... <- r + N - 1, and stays with r
distance 1, 2, 4, ...: what is held doubles, and the last step brings what is missing, no more
"""

from tests.check import museum_02_around, museum_02_chain, museum_02_fraud, museum_02_islands
from tests.check.museum import Mutant

SCATTER = "02-reduce-scatter"
BRUCK = "02-bruck"

MUTANTS = [
    Mutant(
        SCATTER,
        "one chunk too early, on all ranks alike",
        loses={"values"},
        answer="""
def leave_shifted(x, comm):
    N = comm.world_size
    chunks = x.reshape(N, -1).clone()
    for step in range(N - 1):
        give = (comm.rank + shift + step) % N
        chunks[(give + 1) % N] += comm.exchange(chunks[give], to=comm.left, source=comm.right)
    return chunks[(comm.rank + shift) % N]
""",
    ),
    Mutant(
        SCATTER,
        "whole tensors around",
        loses={"bytes"},
        answer="""
def leave_shifted(x, comm):
    total = give = x
    for step in range(comm.world_size - 1):
        give = comm.exchange(give, to=comm.left, source=comm.right)
        total = total + give
    return total.reshape(comm.world_size, -1)[(comm.rank + shift) % comm.world_size]
""",
    ),
    Mutant(
        SCATTER,
        "to the right",
        loses={"peers"},
        answer="""
def leave_shifted(x, comm):
    N = comm.world_size
    chunks = x.reshape(N, -1).clone()
    for step in range(N - 1):
        give = (comm.rank + shift - step - 1) % N
        chunks[(give - 1) % N] += comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks[(comm.rank + shift) % N]
""",
    ),
    Mutant(
        SCATTER,
        "each chunk in two messages",
        loses={"messages"},
        answer="""
def leave_shifted(x, comm):
    N = comm.world_size
    chunks = x.reshape(N, -1).clone()
    for step in range(N - 1):
        give = (comm.rank + shift + step + 1) % N
        for half, part in zip(chunks[(give + 1) % N].tensor_split(2), chunks[give].tensor_split(2)):
            half += comm.exchange(part, to=comm.left, source=comm.right)
    return chunks[(comm.rank + shift) % N]
""",
    ),
    Mutant(
        SCATTER,
        "calls ours, on chunks in another order",
        loses={"peers", "own work"},
        answer="""
from minidl.collectives.ring import textbook_reduce_scatter

def leave_shifted(x, comm):
    return textbook_reduce_scatter(x.reshape(comm.world_size, -1).roll(-shift, 0).reshape(-1), comm)
""",
    ),
    Mutant(
        BRUCK,
        "all that is held, in the last step, too",
        loses={"bytes"},
        answer="""
def bruck(chunk, comm):
    N, held, distance = comm.world_size, chunk.unsqueeze(0), 1
    while distance < N:
        to, source = (comm.rank + way * distance) % N, (comm.rank - way * distance) % N
        held = torch.cat([held, comm.exchange(held, to=to, source=source)])
        distance *= 2
    return held[[(comm.rank - first - i) * way % N for i in range(N)]].reshape(-1)
""",
    ),
    Mutant(
        BRUCK,
        "room for all N chunks in every message",
        loses={"bytes"},
        answer="""
def bruck(chunk, comm):
    N, distance = comm.world_size, 1
    held = torch.zeros(N, len(chunk))
    held[comm.rank] = chunk
    while distance < N:
        came = comm.exchange(held, to=(comm.rank + way * distance) % N, source=(comm.rank - way * distance) % N)
        held = torch.where(held == 0, came, held)
        distance *= 2
    return held.roll(-first, 0).reshape(-1)
""",
    ),
    Mutant(
        BRUCK,
        "on the other way around",
        loses={"peers"},
        answer="""
def bruck(chunk, comm):
    N, held, distance = comm.world_size, chunk.unsqueeze(0), 1
    while distance < N:
        to, source = (comm.rank - way * distance) % N, (comm.rank + way * distance) % N
        held = torch.cat([held, comm.exchange(held[:N - distance], to=to, source=source)])
        distance *= 2
    return held[[(first + i - comm.rank) * way % N for i in range(N)]].reshape(-1)
""",
    ),
    Mutant(
        BRUCK,
        "chunk by chunk along the ring",
        loses={"messages", "steps"},
        answer="""
def bruck(chunk, comm):
    N, held = comm.world_size, [chunk]
    for step in range(N - 1):
        held.append(comm.exchange(held[-1], to=(comm.rank + way) % N, source=(comm.rank - way) % N))
    return torch.cat([held[(comm.rank - first - i) * way % N] for i in range(N)])
""",
    ),
    Mutant(
        BRUCK,
        "Bruck for the sizes that are shown, a ring for all others",
        loses={"messages", "steps"},
        answer="""
def bruck(chunk, comm):
    N, held = comm.world_size, chunk.unsqueeze(0)
    distances = [1, 2, 4][:(N - 1).bit_length()] if N in (1, 2, 3, 4, 5, 7) else range(1, N)
    for distance in distances:
        new = held[:N - distance] if N in (1, 2, 3, 4, 5, 7) else held[-1:]
        far = distance if N in (1, 2, 3, 4, 5, 7) else 1
        held = torch.cat([held, comm.exchange(new, to=(comm.rank + way * far) % N, source=(comm.rank - way * far) % N)])
    return held[[(comm.rank - first - i) * way % N for i in range(N)]].reshape(-1)
""",
    ),
    Mutant(
        BRUCK,
        "sends before it receives: works by buffering only",
        loses={"deadlock"},
        answer="""
def bruck(chunk, comm):
    N, held, distance = comm.world_size, chunk.unsqueeze(0), 1
    while distance < N:
        give = held[:N - distance]
        comm.send(give, to=(comm.rank + way * distance) % N)
        held = torch.cat([held, comm.recv(give, source=(comm.rank - way * distance) % N)])
        distance *= 2
    return held[[(comm.rank - first - i) * way % N for i in range(N)]].reshape(-1)
""",
    ),
    Mutant(
        BRUCK,
        "begins with the own chunk",
        loses={"values"},
        answer="""
def bruck(chunk, comm):
    N, held, distance = comm.world_size, chunk.unsqueeze(0), 1
    while distance < N:
        to, source = (comm.rank + way * distance) % N, (comm.rank - way * distance) % N
        held = torch.cat([held, comm.exchange(held[:N - distance], to=to, source=source)])
        distance *= 2
    return held.reshape(-1)
""",
    ),
    Mutant(
        BRUCK,
        "asks PyTorch where there is one",
        loses={"own work"},
        answer="""
import torch.distributed as dist

def bruck(chunk, comm):
    N, held, distance = comm.world_size, chunk.unsqueeze(0), 1
    if dist.is_initialized():
        out = chunk.new_empty(N * len(chunk))
        dist.all_gather_into_tensor(out, chunk)
        return out.reshape(N, -1).roll(-first, 0).reshape(-1)
    while distance < N:
        to, source = (comm.rank + way * distance) % N, (comm.rank - way * distance) % N
        held = torch.cat([held, comm.exchange(held[:N - distance], to=to, source=source)])
        distance *= 2
    return held[[(comm.rank - first - i) * way % N for i in range(N)]].reshape(-1)
""",
    ),
    *museum_02_around.MUTANTS,
    *museum_02_chain.MUTANTS,
    *museum_02_islands.MUTANTS,
    *museum_02_fraud.MUTANTS,
]

NEAREST = {
    SCATTER: [
        """
from minidl.collectives import ring

def leave_shifted(x, comm):
    chunk = ring.reduce_scatter(x, comm)
    return comm.exchange(chunk, to=(comm.rank - shift) % comm.world_size, source=(comm.rank + shift) % comm.world_size)
""",
        """
def leave_shifted(x, comm):                     # ring.textbook_reduce_scatter, with the task's index at the end
    chunks = x.reshape(comm.world_size, -1).clone()
    for step in range(comm.world_size - 1):
        give = (comm.rank - step - 1) % comm.world_size
        take = (give - 1) % comm.world_size
        chunks[take] += comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks[(comm.rank + shift) % comm.world_size]
""",
        """
def leave_shifted(x, comm):                     # ... and with the chunks in another order at the beginning
    chunks = x.reshape(comm.world_size, -1).roll(-shift, 0)
    for step in range(comm.world_size - 1):
        give = (comm.rank - step - 1) % comm.world_size
        take = (give - 1) % comm.world_size
        chunks[take] += comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks[comm.rank]
""",
    ],
    BRUCK: [
        """
from minidl.collectives import doubling

def bruck(chunk, comm):
    return doubling.all_gather(chunk, comm).reshape(comm.world_size, -1).roll(-first, 0).reshape(-1)
""",
        """
def bruck(chunk, comm):                         # ring.textbook_all_gather, then another order
    chunks = chunk.repeat(comm.world_size, 1)
    for step in range(comm.world_size - 1):
        give = (comm.rank - step) % comm.world_size
        take = (give - 1) % comm.world_size
        chunks[take] = comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks.roll(-first, 0).reshape(-1)
""",
        """
def bruck(chunk, comm):                         # doubling.all_gather, for powers of two
    N, distance = comm.world_size, 1
    held = chunk.repeat(N, 1)
    while distance < N:
        mine, theirs = comm.rank // distance * distance, (comm.rank ^ distance) // distance * distance
        if comm.rank ^ distance < N:
            held[theirs:theirs + distance] = comm.exchange(held[mine:mine + distance], to=comm.rank ^ distance, source=comm.rank ^ distance)
        distance *= 2
    return held.roll(-first, 0).reshape(-1)
""",
    ],
    **museum_02_around.NEAREST,
    **museum_02_chain.NEAREST,
    **museum_02_islands.NEAREST,
    **museum_02_fraud.NEAREST,
}
