"""What happened: one Event for everything a rank did with its communicator, kept in columns.

    rank 0  --send #0 (4,) float32-->  rank 1          two events, one message
            posted      waited   done                  seconds since the run began

The record is the picture, the measurement and the grade: pictures read only events, and every
claim is made in counted messages and bytes. This module counts and pairs events. It draws
nothing: a picture is a function of a Trace, and `Trace.pictures` names those that exist.
"""

import importlib
from collections import defaultdict
from operator import itemgetter
from typing import NamedTuple


class Event(NamedTuple):
    """One thing that one rank did.

    kind    "send", "recv", "compute", "span", or the name of a native collective
    comm    which communicator: "world", the ranks of a group ("0,2"), "+1" for a background twin
    peer    the other rank, as numbered in the world; -1 where there is none
    number  how many of this kind went before on this comm to or from this peer
    posted  waited  done    seconds since the run began: handed over; the wait began; it was over.
            waited and done are None where it never came so far.
    span    the path of the spans that were open, "epoch/step"
    line    the line of code that did it, "In [3], line 4"
    fate    "delivered", "delayed", "slowed", or "unfinished"
    """

    rank: int
    thread: int
    seq: int
    kind: str
    comm: str
    peer: int
    number: int
    shape: tuple
    dtype: str
    nbytes: int
    posted: float
    waited: float | None
    done: float | None
    span: str
    line: str
    fate: str


class Message(NamedTuple):
    """A send and the receive that it met; `recv` is None when nobody received it."""

    send: Event
    recv: Event | None


class Wait(NamedTuple):
    """Rank `rank` waits for rank `peer` to post the matching `awaits` ("send", "recv" or a collective)."""

    rank: int
    peer: int
    awaits: str
    comm: str
    number: int
    line: str
    text: str


NOT_TRAFFIC = ("recv", "compute", "span")
MEMORY = ("parameters", "gradients", "optimizer state", "activations")  # kinds of what a rank holds


class Trace:
    """The events of one run, in columns: `trace.columns["nbytes"]` is a list, one entry an event.

    world_size  how many ranks the run had
    columns     field of Event -> list, sorted by rank, then by the order in which it happened
    waits       who waited for whom when the run stopped; empty when it ended well
    values      (rank, seq) of a send -> its numbers, where the tensor has few of them
    whole       False where events are missing: the record was full, or this is what where() chose of another Trace
    unrecorded  (messages, bytes) that each rank sent after the record was full: counted, and no more
    flops       floating-point operations of each rank, where they were metered; else None
    held        rank -> [(operation, seconds, kind of memory, bytes more or less), ...], where it was metered
    computing   rank -> [(begin, end), ...] in seconds, where a Device charged FLOPs to the virtual clock
    """

    pictures: dict[str, str] = {}  # name of a picture -> "module:function", filled by the package

    def __init__(self, world_size, events=(), waits=(), unrecorded=None, ended=0.0, later=None):
        """later: () -> (columns, values), called when somebody first looks at them; in place of `events`."""
        self.world_size, self.waits, self._later = world_size, list(waits), later
        if later is None:
            rows = sorted(events, key=itemgetter(0, 2))
            self.columns = (
                dict(zip(Event._fields, map(list, zip(*rows))))
                if rows
                else {f: [] for f in Event._fields}
            )
            self.values = {}
        self.flops, self.held, self.computing, self.whole = None, {}, {}, True
        self.unrecorded = unrecorded or [(0, 0)] * world_size
        self._ended = ended

    def __len__(self):
        return len(self.columns["rank"])

    def __iter__(self):
        return map(Event._make, zip(*self.columns.values()))

    def __repr__(self):
        return f"Trace({self.world_size} ranks, {len(self)} events)"

    def where(self, **wanted):
        """A smaller Trace: the events whose fields equal `wanted`, as in where(rank=0, kind="send")."""
        unknown = set(wanted) - set(Event._fields)
        if unknown:
            raise ValueError(
                f"an Event has no {', '.join(sorted(unknown))}; it has {', '.join(Event._fields)}"
            )
        keep = [event for event in self if all(getattr(event, k) == v for k, v in wanted.items())]
        smaller = Trace(self.world_size, keep, self.waits)
        smaller.whole = self.whole and len(keep) == len(self)
        smaller.flops, smaller.held, smaller.computing = self.flops, self.held, self.computing
        return smaller

    def messages(self):
        """Every message as a (send, recv) pair, in the order in which the sends were posted.

        In a Trace that is not whole, those are left out that are over and whose receive is not here.
        """
        received = {(e.comm, e.peer, e.rank, e.number): e for e in self if e.kind == "recv"}
        sends = sorted((e for e in self if e.kind == "send"), key=lambda e: e.posted)
        pairs = [Message(e, received.get((e.comm, e.rank, e.peer, e.number))) for e in sends]
        return (
            pairs if self.whole else [m for m in pairs if m.recv is not None or m.send.done is None]
        )

    def sent(self, what="messages"):
        """How many "messages" or "nbytes" each rank sent: a list, one entry a rank."""
        if what not in ("messages", "nbytes"):
            raise ValueError(f'sent() counts "messages" or "nbytes", not {what!r}')
        totals = [pair[what == "nbytes"] for pair in self.unrecorded]
        for rank, kind, nbytes in zip(*(self.columns[f] for f in ("rank", "kind", "nbytes"))):
            if kind == "send":
                totals[rank] += 1 if what == "messages" else nbytes
        return totals

    def seconds(self):
        """How long the run took, from its beginning to the last event's end."""
        ends = [
            done if done is not None else posted
            for posted, done in zip(self.columns["posted"], self.columns["done"])
        ]
        return max(ends, default=self._ended) if len(self) and not self._ended else self._ended

    def metered(self, readings):
        """Take what was metered: {rank: (flops, changes of what is held)}."""
        if readings:
            self.flops = [readings.get(rank, (0, []))[0] for rank in range(self.world_size)]
            self.held = {rank: changes for rank, (_, changes) in readings.items()}

    def memory_kinds(self, rank, span=None):
        """{kind: the most bytes that this rank held of it at once}; of the time within spans of this name, if one is given.

        Raises ValueError where memory was not metered, or the rank has no such span.
        """
        return {kind: max(totals) for kind, totals in self.memory_over_time(rank, span)[1].items()}

    def memory_over_time(self, rank, span=None):
        """([(operation, seconds), ...], {kind: bytes held after each of them}) of a rank, as memory_kinds() raises.

        With a span the first moment is its beginning, with what was held already. Let time pass before it, by a barrier:
        where a virtual clock stands still, what came at the same second counts, too.
        """
        if rank not in self.held:
            raise ValueError(
                f"memory of rank {rank} was not metered: run it with world.run(..., meter=True)"
            )
        times = [(float("-inf"), float("inf"))] if span is None else self._times_of(rank, span)
        begin, totals, moments, rows = times[0][0], [0] * len(MEMORY), [], []
        for operation, seconds, kind, nbytes in self.held[rank]:
            inside = any(posted <= seconds <= done for posted, done in times)
            totals[kind] += nbytes
            now = (
                (operation, seconds) if inside else (operation, begin) if seconds < begin else None
            )
            if now and moments and (moments[-1] == now or moments[-1][1] == begin and not inside):
                moments[-1], rows[-1] = now, tuple(totals)
            elif now:
                moments.append(now)
                rows.append(tuple(totals))
        return moments, {kind: [row[i] for row in rows] for i, kind in enumerate(MEMORY)}

    def _times_of(self, rank, span):
        """[(beginning, end), ...] of the spans of this name on this rank."""
        times = [
            (e.posted, float("inf") if e.done is None else e.done)
            for e in self
            if e.kind == "span" and e.rank == rank and e.span.rpartition("/")[2] == span
        ]
        if not times:
            raise ValueError(f"rank {rank} has no span {span!r}")
        return times

    def collectives(self):
        """How often each native collective was called: {name: calls, summed over ranks}."""
        counts = defaultdict(int)
        for kind in self.columns["kind"]:
            if kind != "send" and kind not in NOT_TRAFFIC:
                counts[kind] += 1
        return dict(counts)

    def __getstate__(self):
        self.columns  # not later, where it has come to
        return vars(self)

    def __getattr__(self, name):
        if name in ("columns", "values") and vars(self).get("_later"):
            later, self._later = self._later, None
            self.columns, self.values = later()
            return vars(self)[name]
        if name not in type(self).pictures:
            known = ", ".join(sorted(type(self).pictures))
            raise AttributeError(f"Trace has no {name!r}; its pictures are: {known}")
        module, function = type(self).pictures[name].split(":")
        draw = getattr(importlib.import_module(module), function)
        return lambda *args, **kwargs: draw(self, *args, **kwargs)

    def __dir__(self):
        return [*super().__dir__(), *type(self).pictures]
