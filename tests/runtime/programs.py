"""Random programs of messages, and a model that knows how each of them must end.

    plan            a matched sequence, legal by construction: every event is over before the next begins
      -> mistakes   swap, delete, repeat, retarget, unbundle ...: near misses, about a third deadlock
      -> model      runs the program as a net of posts and waits, to its end       Outcome("deadlock", {0, 2})

The model knows the contract of comm.py and nothing of minidl.runtime: a post never blocks; a
wait for a
send is over when the matching receive has been posted, and the other way round; a collective is
over for
a member when all members have posted it. The net is confluent, so one schedule tells the end of
all.

Instructions of a rank are plain tuples. Peers are numbered in the world; members name the
communicator.

    ("start", handle, members, (("send", peer, value), ("recv", peer), ("native", name, value)))
    ("background", handle, members, (instructions on the twin of that communicator))
    ("wait", handle)          ("spin", microseconds)
"""

import random
from collections import defaultdict
from typing import NamedTuple

NATIVES = ("all_reduce", "all_gather", "barrier", "reduce_scatter", "all_to_all")


class Program(NamedTuple):
    """code[rank] is a tuple of instructions; a message has `width` numbers."""

    seed: int
    world_size: int
    width: int
    code: tuple

    def listing(self):
        """The program as text, one rank after the other."""
        lines = [f"seed {self.seed}, {self.world_size} ranks, messages of {self.width} numbers"]
        for rank, own in enumerate(self.code):
            lines += [f"rank {rank}:", *_lines(own, "    ")]
        return "\n".join(lines)


def _lines(own, indent):
    for what, handle, *rest in own:
        if what == "background":
            yield f"{indent}{handle} = group{rest[0]}.background:"
            yield from _lines(rest[1], indent + "    ")
        elif what == "start":
            ops = ", ".join(f"{op[0]}({', '.join(map(str, op[1:]))})" for op in rest[1])
            yield f"{indent}{handle} = group{rest[0]}.start({ops})"
        else:
            yield f"{indent}{handle}.wait()" if what == "wait" else f"{indent}spin {handle} us"


# ---- making programs -----------------------------------------------------------------------------


def random_program(seed, world_size):
    """The program of this seed. Those in which ranks disagree on a collective are left to other
    tests.
    """
    for attempt in range(1000):
        rng = random.Random(f"{seed} {world_size} {attempt}")
        code = plan(rng, world_size)
        for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 3))):
            code = with_mistake(code, rng)
        if rng.random() < 0.1:
            code = [[x for x in own if x[0] != "wait"] for own in code]
        program = Program(seed, world_size, rng.choice((1, 3, 64)), finished(code, rng))
        if model(program).kind != "mismatch":
            return program
    raise AssertionError(f"every program of seed {seed} has a mismatch")


def plan(rng, n):
    """Legal code for n ranks: the same events in one order for all, waited for at once, later, or
    by the end.
    """
    comms = [tuple(range(n))] * 2 + [
        tuple(rng.sample(range(n), rng.randint(2, n))) for _ in range(rng.randint(0, 2))
    ]
    code, due = [[] for _ in range(n)], [[] for _ in range(n)]
    for event in range(rng.randint(3, 9)):
        members, later = rng.choice(comms), rng.random() < 0.35
        if rng.random() < 0.15:
            bodies = [[] for _ in range(n)]
            for k in range(rng.randint(1, 3)):
                for rank, ops in random_event(rng, members).items():
                    bodies[rank] += [
                        ("start", f"b{event}{k}", members, ops),
                        ("wait", f"b{event}{k}"),
                    ]
            step, later = (
                {
                    rank: ("background", f"w{event}", members, tuple(bodies[rank]))
                    for rank in members
                },
                True,
            )
        else:
            step = {
                rank: ("start", f"w{event}", members, ops)
                for rank, ops in random_event(rng, members).items()
            }
        for rank, instruction in step.items():
            code[rank].append(instruction)
            due[rank].append(instruction[1])
            while due[rank] and (not later or rng.random() < 0.4):
                code[rank].append(
                    ("wait", due[rank].pop(-1 if not later else rng.randrange(len(due[rank]))))
                )
    for rank in range(n):
        code[rank] += [("wait", handle) for handle in due[rank] if rng.random() < 0.9]
    return code


def random_event(rng, members):
    """What the ranks post in one matched event: {rank: ops}."""
    kind = rng.choice(
        ("message", "message", "pair", "ring", "fan in", "fan out", "native", "native")
    )
    if kind == "native":
        name = rng.choice(NATIVES[:3] * 3 + NATIVES)
        return {rank: (("native", name, 0),) for rank in members}
    hub, *others = rng.sample(members, len(members))
    if kind == "message":
        return {hub: (("send", others[0], 0),), others[0]: (("recv", hub),)}
    if kind == "pair":
        return {
            hub: (("send", others[0], 0), ("recv", others[0])),
            others[0]: (("send", hub, 0), ("recv", hub)),
        }
    if kind == "ring":
        return {
            r: (("recv", members[i - 1]), ("send", members[(i + 1) % len(members)], 0))
            for i, r in enumerate(members)
        }
    one, many = (("recv",), ("send", hub, 0)) if kind == "fan in" else (("send", 0), ("recv", hub))
    return {hub: tuple((one[0], rank, *one[1:]) for rank in others)} | {
        rank: (many,) for rank in others
    }


def with_mistake(code, rng):
    """The same code with one small mistake in one rank."""
    while True:
        rank = rng.randrange(len(code))
        changed = mistake(rank, list(code[rank]), rng)
        if changed is not None and _legal(changed):
            return [*code[:rank], changed, *code[rank + 1 :]]


def mistake(rank, own, rng):
    """`own` with one random change, or None where the dice fell on something that cannot be changed
    so.
    """
    i = rng.randrange(len(own)) if own else 0
    if not own:
        return own
    what, handle, *rest = own[i]
    if what == "background":
        body = mistake(rank, list(rest[1]), rng)
        return (
            None
            if body is None or not _legal(body)
            else [*own[:i], (what, handle, rest[0], tuple(body)), *own[i + 1 :]]
        )
    kind = rng.choice(
        (
            "swap",
            "swap",
            "move",
            "move",
            "delete",
            "return",
            "repeat",
            "retarget",
            "retarget",
            "flip",
            "unbundle",
            "forget",
            "stray",
        )
    )
    if kind in ("swap", "move"):
        own.insert((i + 1) % len(own) if kind == "swap" else rng.randrange(len(own)), own.pop(i))
        return own
    if kind == "forget" and what == "wait":
        return [*own[:i], *own[i + 1 :]]
    if kind == "return" and rng.random() < 0.5:
        return own[:i]
    if what != "start":
        return None
    members, ops = rest
    if kind == "stray":  # posted once more, and nobody waits
        at = rng.choice((i + 1, len(own), len(own)))
        return [*own[:at], (what, handle + "'", members, ops), *own[at:]]
    k = rng.randrange(len(ops))
    if kind == "delete":
        return [x for x in own if x[1] != handle]
    if kind == "repeat":
        return [
            *own[: i + 1],
            (what, handle + "'", members, ops),
            ("wait", handle + "'"),
            *own[i + 1 :],
        ]
    if kind == "unbundle" and len(ops) > 1:  # an exchange becomes a send, then a receive
        parts = [
            [(what, f"{handle}.{j}", members, (op,)), ("wait", f"{handle}.{j}")]
            for j, op in enumerate(ops)
        ]
        return [
            *own[:i],
            *sum(rng.sample(parts, len(parts)), []),
            *(x for x in own[i + 1 :] if x[1] != handle),
        ]
    if ops[k][0] == "native":
        return None
    if kind == "retarget":
        peers = [peer for peer in members if peer not in (rank, ops[k][1])]
        changed = (ops[k][0], rng.choice(peers), *ops[k][2:]) if peers else ops[k]
    elif kind == "flip":
        changed = ("recv", ops[k][1]) if ops[k][0] == "send" else ("send", ops[k][1], 0)
    else:
        return None
    return [*own[:i], (what, handle, members, (*ops[:k], changed, *ops[k + 1 :])), *own[i + 1 :]]


def _legal(own):
    """Is every handle made once, and waited for only after that?"""
    known = set()
    for what, handle, *_ in own:
        if (what == "wait") != (handle in known):
            return False
        known.add(handle)
    return True


def finished(code, rng):
    """Code with computation between the instructions, and a value of its own in each message."""
    values = iter(range(1, 10_000))

    def finish(own):
        for what, handle, *rest in own:
            if rng.random() < 0.2:  # 80 ms is longer than one look of the detector
                yield "spin", rng.choice((20, 200, 200, 1000, 1000, 4000) * 3 + (20_000, 80_000))
            if what == "start":
                rest[1] = tuple(
                    op if op[0] == "recv" else (*op[:2], next(values)) for op in rest[1]
                )
            elif what == "background":
                rest[1] = tuple(finish(rest[1]))
            yield (what, handle, *rest)

    return tuple(tuple(finish(own)) for own in code)


# ---- the model -----------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """How a program ends.

    kind     "ok", "leftover" (all functions returned, some op never met its match), "deadlock", or "mismatch"
    ranks    those that never end
    results  handle -> what its wait returned, per rank; complete only where kind is "ok"
    threads  rank -> {thread: (is it a leftover?, [needs])} of what never ends; a need is ("rank", r) or ("thread", t)
    forgotten  where kind is "ok": the ranks that did not wait for all that they had started
    """

    kind: str
    ranks: set
    results: list
    threads: dict
    forgotten: set = frozenset()

    def supported(self, ranks, leftovers_only=False):
        """The threads of `ranks` that are stuck even if all others could still move: (rank, thread)
        pairs.
        """
        stuck = {
            (r, t)
            for r in ranks
            for t, (left, _) in self.threads.get(r, {}).items()
            if left or not leftovers_only
        }
        while True:
            free = {
                (r, t)
                for r, t in stuck
                if not any(self._dead(need, r, stuck) for need in self.threads[r][t][1])
            }
            if not free:
                return stuck
            stuck -= free

    def _dead(self, need, rank, stuck):
        what, name = need
        return (
            (rank, name) in stuck
            if what == "thread"
            else all((name, t) in stuck for t in self.threads.get(name, {}))
        )


def model(program):
    """The Outcome of this program."""
    return _Net(program).outcome()


class _Net:
    """Posted ops in lists by channel; every thread is a generator that yields what it waits for."""

    def __init__(self, program):
        self.program = program
        self.posted = defaultdict(
            list
        )  # (comm, from, to, "send" or "recv") or (comm, rank) -> values
        self.results = [{} for _ in program.code]
        self.queues = [
            {} for _ in program.code
        ]  # rank -> lane -> jobs not begun; a lane is a communicator's members
        self.outstanding = [[] for _ in program.code]
        self.waited = set()
        self.moves, self.mismatch = 0, False

    def outcome(self):
        threads = {(rank, "main"): self.main(rank) for rank in range(self.program.world_size)}
        waiting, before = {}, -1
        while before != self.moves:
            before = self.moves
            for rank, lanes in enumerate(self.queues):
                for lane in lanes:
                    threads.setdefault((rank, lane), self.lane(rank, lane))
            for name in list(threads):
                waiting[name] = next(threads[name], "over")
        if self.mismatch:
            return Outcome("mismatch", set(), [], {})
        stuck = {}
        for (rank, thread), waits in waiting.items():
            if waits not in ("over", "idle"):
                stuck.setdefault(rank, {})[thread] = (waits[0], self.needs(waits[1]))
        leftover = all(left for own in stuck.values() for left, _ in own.values())
        kind = "ok" if not stuck else "leftover" if leftover else "deadlock"
        forgotten = {
            rank for rank, parts in enumerate(self.outstanding) if not self.waited.issuperset(parts)
        }
        return Outcome(kind, set(stuck), self.results, stuck, forgotten)

    def main(self, rank):
        yield from self.run(rank, self.program.code[rank], 0, self.results[rank])
        for lane in list(self.queues[rank]):
            yield from self.job_ends(self.queues[rank][lane][-1])
        for part in self.outstanding[rank]:
            yield from self.part_ends(part, left=True)

    def lane(self, rank, lane):
        done = 0
        while True:
            while done < len(self.queues[rank][lane]):
                job = self.queues[rank][lane][done]
                yield from self.run(rank, job["body"], 1, job["results"])
                job["over"] = True
                done += 1
                self.moves += 1
            yield "idle"

    def run(self, rank, code, twin, results):
        handles = {}
        for what, handle, *rest in code:
            self.moves += 1
            if what == "start":
                handles[handle] = [self.post(rank, (rest[0], twin), op) for op in rest[1]]
                self.outstanding[rank] += handles[handle]
            elif what == "background":
                job = handles[handle] = {
                    "body": rest[1],
                    "results": {},
                    "over": False,
                    "lane": rest[0],
                }
                self.queues[rank].setdefault(rest[0], []).append(job)
            elif what == "wait" and isinstance(handles[handle], dict):
                yield from self.job_ends(handles[handle])
                results[handle] = handles[handle]["results"]
            elif what == "wait":
                for part in handles[handle]:
                    yield from self.part_ends(part)
                self.waited.update(handles[handle])
                results[handle] = [
                    value for part in handles[handle] for value in self.received(part)
                ]

    def post(self, rank, comm, op):
        if op[0] == "native":
            entry = (comm, rank)
        else:
            entry = (comm, rank, op[1], "send") if op[0] == "send" else (comm, op[1], rank, "recv")
        self.posted[entry].append(op)
        number = len(self.posted[entry]) - 1
        if op[0] == "native":
            others = [self.posted[comm, r][number : number + 1] for r in comm[0]]
            self.mismatch |= any(other and other[0][1] != op[1] for other in others)
        return (rank, comm, op, number)

    def missing(self, part):
        """The ranks that have not posted what this op must meet."""
        rank, comm, op, number = part
        if op[0] == "native":
            return [r for r in comm[0] if len(self.posted[comm, r]) <= number]
        partner = (comm, rank, op[1], "recv") if op[0] == "send" else (comm, op[1], rank, "send")
        return [] if len(self.posted[partner]) > number else [op[1]]

    def part_ends(self, part, left=False):
        while self.missing(part):
            yield left, part
        self.moves += 1

    def job_ends(self, job):
        while not job["over"]:
            yield False, job
        self.moves += 1

    def needs(self, waited):
        return (
            [("thread", waited["lane"])]
            if isinstance(waited, dict)
            else [("rank", r) for r in self.missing(waited)]
        )

    def received(self, part):
        """What a wait for this op returns: a list of tensors, as lists of numbers."""
        rank, comm, op, number = part
        width, n, members = self.program.width, len(comm[0]), comm[0]
        if op[0] == "send" or op[1] == "barrier":
            return []
        if op[0] == "recv":
            return [numbers(self.posted[comm, op[1], rank, "send"][number][2], width)]
        inputs = [
            numbers(self.posted[comm, r][number][2], native_rows(op[1], n) * width) for r in members
        ]
        mine = slice(members.index(rank) * width, (members.index(rank) + 1) * width)
        if op[1] == "all_gather":
            return [sum(inputs, [])]
        if op[1] == "all_to_all":
            return [[x for given in inputs for x in given[mine]]]
        total = [sum(column) for column in zip(*inputs)]
        return [total if op[1] == "all_reduce" else total[mine]]


def numbers(value, length):
    """The content of a message."""
    return list(range(1000 * value, 1000 * value + length))


def native_rows(name, n):
    """What goes into reduce_scatter and all_to_all has a part for each of n ranks."""
    return n if name in ("reduce_scatter", "all_to_all") else 1
