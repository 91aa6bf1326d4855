"""Wrong answers to the broadcast down two chains, to the fraud and to the detective of exercise 01.

    4 <- 5 <- 6 <- 0 -> 1 -> 2 -> 3       7 ranks, in places. Who tells everybody himself, or goes one way only,
                                          or sends twice the bytes, has the same values.

A mutant that is the right answer but for a few lines is written as that change of RIGHT.
"""

from tests.check.museum import Mutant

BOTH, FRAUD, WITNESS = "01-both-ways", "01-impostor", "01-honest"

RIGHT = """
def both_ways(x, comm):
    N, given = comm.world_size, x
    place, end = (comm.rank - root) * arm % N, N // 2
    onward, back = (comm.rank + arm) % N, (comm.rank - arm) % N
    if place == 0:
        comm.start([Send(given, to) for to in (onward, back)[:N - 1]]).wait()
        return x.clone()
    source, to = (back, onward) if place <= end else (onward, back)
    given = comm.recv(given, source=source)
    if place not in (end, end + 1):
        comm.send(given, to=to)
    return given.clone()
"""

AT_ONCE = "comm.start([Send(given, to) for to in (onward, back)[:N - 1]]).wait()"

DOUBLE = (
    RIGHT.replace("both_ways", "impostor")
    .replace("given = comm.world_size, x", "given = comm.world_size, torch.cat([x, x])")
    .replace("return given.clone()", "return given[:len(x)].clone()")
)


def changed(text, *changes):
    """The text with each (before, after) replaced. Raises ValueError where there is no `before`."""
    for before, after in changes:
        if before not in text:
            raise ValueError(f"{before!r} does not stand in the right answer")
        text = text.replace(before, after)
    return text


ROOT_ALONE = """
def both_ways(x, comm):
    if comm.rank != root % comm.world_size:
        return comm.recv(x, source=root % comm.world_size)
    for rank in range(comm.world_size):
        if rank != comm.rank:
            comm.send(x, to=rank)
    return x.clone()
"""

BROADCASTS = [
    Mutant(
        BOTH, "the root tells everybody itself", ROOT_ALONE, {"messages", "bytes", "peers", "steps"}
    ),
    Mutant(
        BOTH,
        "one chain, all the way around",
        loses={"messages", "bytes", "steps"},
        answer="""
def both_ways(x, comm):
    N = comm.world_size
    place = (comm.rank - root) * arm % N
    onward, back = (comm.rank + arm) % N, (comm.rank - arm) % N
    x = x.clone() if place == 0 else comm.recv(x, source=back)
    if place < N - 1:
        comm.send(x, to=onward)
    return x
""",
    ),
    Mutant(
        BOTH,
        "the root waits for one neighbour before it tells the other",
        loses={"steps"},
        answer=changed(
            RIGHT, (AT_ONCE, "[comm.send(given, to=to) for to in (onward, back)[:N - 1]]")
        ),
    ),
    Mutant(
        BOTH,
        "the long arm on the wrong side, which is the same for odd sizes",
        loses={"messages", "bytes"},
        answer=changed(
            RIGHT,
            (
                "end = (comm.rank - root) * arm % N, N // 2",
                "end = (comm.rank - root) * arm % N, (N - 1) // 2",
            ),
            ("(onward, back)[:N - 1]", "((onward, back) if N > 2 else (back,))[:N - 1]"),
        ),
    ),
    Mutant(BOTH, "twice the bytes", changed(DOUBLE, ("impostor", "both_ways")), {"bytes"}),
    Mutant(
        BOTH,
        "number by number",
        loses={"messages", "steps"},
        answer=changed(
            RIGHT,
            (
                AT_ONCE,
                "[comm.start([Send(one, to) for to in (onward, back)[:N - 1]]).wait() for one in x.split(1)]",
            ),
            (
                "    given = comm.recv(given, source=source)\n",
                "    came = [comm.recv(one, source=source) for one in x.split(1)]\n    given = torch.cat(came)\n",
            ),
            ("        comm.send(given, to=to)", "        [comm.send(one, to=to) for one in came]"),
        ),
    ),
    Mutant(
        BOTH,
        "fitted to the sizes that were seen",
        loses={"messages", "bytes", "steps"},
        answer=changed(
            RIGHT,
            ("* arm % N, N // 2", "* arm % N, {1: 0, 2: 1, 3: 1, 4: 2, 7: 3}.get(N, N - 1)"),
            (
                "(onward, back)[:N - 1]",
                "(onward, back)[:min(N - 1, 2 if N in (1, 2, 3, 4, 7) else 1)]",
            ),
        ),
    ),
    Mutant(
        BOTH,
        "around the ring, send first: works by buffering only",
        loses={"deadlock", "real", "messages", "bytes", "steps"},
        answer="""
def both_ways(x, comm):
    for _ in range(comm.world_size - 1):
        comm.send(x, to=comm.right)
        came = comm.recv(x, source=comm.left)
        x = x if comm.rank == root % comm.world_size else came
    return x.clone()
""",
    ),
    Mutant(
        BOTH,
        "from rank 0, whoever is the root",
        loses={"values", "real", "messages", "bytes"},
        answer=changed(RIGHT, ("(comm.rank - root)", "comm.rank")),
    ),
    Mutant(
        BOTH,
        "with a function of minidl on the way",
        loses={"own work"},
        answer=changed(
            "from minidl.collectives.chunks import fresh\n" + RIGHT,
            ("return given.clone()", "return fresh(given)"),
        ),
    ),
]

FRAUDS = [
    Mutant(FRAUD, "honest", changed(RIGHT, ("both_ways", "impostor")), {"impostor"}),
    Mutant(
        FRAUD,
        "a fraud that is seen at once: the root tells everybody",
        changed(ROOT_ALONE, ("both_ways", "impostor")),
        {"messages", "peers", "steps", "impostor"},
    ),  # for three ranks it is the honest answer
    Mutant(
        FRAUD,
        "two halves in place of a whole: the bytes are honest",
        loses={"messages", "steps", "impostor"},
        answer="""
def impostor(x, comm):
    N, half = comm.world_size, len(x) // 2
    place, end = (comm.rank - root) * arm % N, N // 2
    onward, back = (comm.rank + arm) % N, (comm.rank - arm) % N
    source, to = (back, onward) if place <= end else (onward, back)
    parts = []
    for part in (x[:half], x[half:]):
        part = part if place == 0 else comm.recv(part, source=source)
        if place == 0:
            comm.start([Send(part, to) for to in (onward, back)[:N - 1]]).wait()
        elif place not in (end, end + 1):
            comm.send(part, to=to)
        parts.append(part)
    return torch.cat(parts)
""",
    ),
    Mutant(
        FRAUD,
        "empty messages, and what one had before",
        loses={"values"},
        answer=changed(
            DOUBLE,
            ("torch.cat([x, x])", "x[:0]"),
            ("return given[:len(x)].clone()", "return x.clone()"),
        ),
    ),
    Mutant(
        FRAUD,
        "twice the bytes, one neighbour after the other",
        loses={"steps"},
        answer=changed(
            DOUBLE, (AT_ONCE, "[comm.send(given, to=to) for to in (onward, back)[:N - 1]]")
        ),
    ),
]

DETECTIVE = """
def honest(N, nbytes, sent):
    end, at = N // 2, lambda place: (root + arm * place) % N
    wanted = {(at(p), at(p + 1)) for p in range(end)} | {(at(p), at(p - 1)) for p in range(end + 2, N + 1) if N > 2}
    told = {root % N}
    for source, to, size in sent:
        if source not in told or size != nbytes or (source, to) not in wanted:
            return False
        wanted.remove((source, to))
        told.add(to)
    return not wanted
"""

DETECTIVES = [
    Mutant(
        WITNESS, "trusts everybody", "def honest(N, nbytes, sent):\n    return True\n", {"values"}
    ),
    Mutant(
        WITNESS, "trusts nobody", "def honest(N, nbytes, sent):\n    return False\n", {"values"}
    ),
    Mutant(
        WITNESS,
        "counts messages",
        "def honest(N, nbytes, sent):\n    return len(sent) == N - 1\n",
        {"values"},
    ),
    Mutant(
        WITNESS,
        "counts bytes",
        "def honest(N, nbytes, sent):\n    return sum(m[2] for m in sent) == (N - 1) * nbytes\n",
        {"values"},
    ),
    Mutant(
        WITNESS,
        "does not look at bytes",
        changed(DETECTIVE, (" or size != nbytes", "")),
        {"values"},
    ),
    Mutant(
        WITNESS,
        "does not look at the order",
        changed(DETECTIVE, ("source not in told or ", "")),
        {"values"},
    ),
    Mutant(
        WITNESS,
        "does not look at who gets it",
        loses={"values"},
        answer="""
def honest(N, nbytes, sent):
    told = {root % N}
    for source, to, size in sent:
        if source not in told or to in told or size != nbytes:
            return False
        told.add(to)
    return len(told) == N
""",
    ),
    Mutant(
        WITNESS,
        "accepts one order only",
        loses={"values"},
        answer="""
def honest(N, nbytes, sent):
    end, at = N // 2, lambda place: (root + arm * place) % N
    right = [[at(p), at(p + 1), nbytes] for p in range(end)]
    left = [[at(p), at(p - 1), nbytes] for p in range(N, end + 1, -1) if N > 2]
    return sent == right + left
""",
    ),
]

MUTANTS = BROADCASTS + FRAUDS + DETECTIVES

OWN_TREE = """
def both_ways(x, comm):                         # tree.broadcast: the parent is the place without its lowest bit
    N = comm.world_size
    me, rank_at = (comm.rank - root) % N, lambda place: (place + root) % N
    reach = min(me & -me, N - me) if me else N
    x = x.clone() if me == 0 else comm.recv(x, source=rank_at(me & (me - 1)))
    for k in reversed(range((reach - 1).bit_length())):
        comm.send(x, to=rank_at(me + (1 << k)))
    return x
"""
IMPORTED = """
from minidl.collectives import tree

def both_ways(x, comm):
    return tree.broadcast(x, comm, root=root % comm.world_size)
"""

NEAREST = {
    BOTH: [OWN_TREE, IMPORTED, ROOT_ALONE],
    FRAUD: [changed(text, ("both_ways", "impostor")) for text in (OWN_TREE, IMPORTED, ROOT_ALONE)],
    WITNESS: [
        "def honest(N, nbytes, sent):\n    return sum(m[2] for m in sent if m[0] == root % N) == (N - 1) * nbytes     # naive.broadcast's root\n"
    ],
}
