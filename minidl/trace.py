"""What happened: one Event for everything a rank did with its communicator, kept in columns.

    rank 0  --send #0 (4,) float32-->  rank 1          two events, one message
            posted      waited   done                  seconds since the run began

The record is the picture, the measurement and the grade: pictures read only events, and every
claim is made in counted messages and bytes. This module declares the kinds of events, and counts
and pairs them. It draws nothing: `Trace.pictures` names the pictures that exist.
"""

import importlib
from collections import Counter
from operator import attrgetter, itemgetter
from typing import NamedTuple

MESSAGES = ("send", "recv")  # one side of a message each
MARKERS = ("compute", "span")  # a stretch of the rank's own time; nothing travels
COLLECTIVES = (  # one call of the backend's own collective, whatever it sends inside
    "all_reduce",
    "reduce",
    "broadcast",
    "all_gather",
    "reduce_scatter",
    "gather",
    "scatter",
    "all_to_all",
    "barrier",
)
MEMORY = ("parameters", "gradients", "optimizer state", "activations")  # kinds of what a rank holds


class Event(NamedTuple):
    """One thing that one rank did.

    kind    one of MESSAGES, MARKERS or COLLECTIVES
    comm    which communicator: "world", the ranks of a group ("0,2"), "+1" for a background twin
    peer    the other rank, as numbered in the world; -1 if there is none
    number  how many of this kind went before on this comm to or from this peer
    posted  waited  done    seconds since the run began: handed over; the wait began; it ended.
            waited and done are None if it never got that far.
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

    @property
    def is_message(self):
        """Whether it is one side of a message."""
        return self.kind in MESSAGES

    @property
    def is_marker(self):
        """Whether it marks a stretch of the rank's own time: a computation or a span."""
        return self.kind in MARKERS

    @property
    def is_collective(self):
        """Whether it is a call of the backend's own collective."""
        return self.kind in COLLECTIVES

    @property
    def place(self):
        """(file, line number), as in ("In [3]", 4); (line, None) if `line` has another form."""
        file, separator, number = self.line.rpartition(", line ")
        if separator and number.isdigit():
            return file, int(number)
        return self.line, None


class Message(NamedTuple):
    """A send and the receive that it met; `recv` is None if it was never received."""

    send: Event
    recv: Event | None


class Wait(NamedTuple):
    """Rank `rank` waits for rank `peer` to post the matching `awaits`: a kind of event."""

    rank: int
    peer: int
    awaits: str
    comm: str
    number: int
    line: str
    text: str


class Trace:
    """The events of one run, in columns: `trace.columns["nbytes"]` is a list, one entry an event.

    world_size  how many ranks the run had
    columns     field of Event -> list, sorted by rank, then by the order in which it happened
    waits       who waited for whom when the run stopped; empty if it ended well
    values      (rank, seq) of a send -> its numbers, if the tensor has few of them
    whole       False if events are missing: the record was full, or where() chose some of them
    unrecorded  (messages, bytes) that each rank sent after the record was full
    flops       floating-point operations of each rank, if they were metered; else None
    held        rank -> [(operation, seconds, kind of memory, bytes more or less), ...], if metered
    computing   rank -> [(begin, end), ...] in seconds, if a Device charged FLOPs to a virtual clock
    """

    pictures: dict[str, str] = {}  # name of a picture -> "module:function", filled by the package

    def __init__(self, world_size, events=(), waits=(), unrecorded=None, ended=0.0, later=None):
        """later: () -> (columns, values), called at first use; it replaces `events`."""
        self.world_size = world_size
        self.waits = list(waits)
        self.unrecorded = unrecorded or [(0, 0)] * world_size
        self.whole = True
        self.flops = None
        self.held = {}
        self.computing = {}
        self._ended = ended
        self._later = later
        if later is None:
            events = sorted(events, key=itemgetter(0, 2))
            self.columns = {
                field: list(map(itemgetter(i), events)) for i, field in enumerate(Event._fields)
            }
            self.values = {}

    def __len__(self):
        return len(self.columns["rank"])

    def __iter__(self):
        return map(Event._make, zip(*self.columns.values()))

    def __repr__(self):
        return f"Trace({self.world_size} ranks, {len(self)} events)"

    def where(self, **wanted):
        """A smaller Trace: the events whose fields equal `wanted`, as in where(kind="send")."""
        unknown = set(wanted) - set(Event._fields)
        if unknown:
            names = ", ".join(sorted(unknown))
            raise ValueError(f"an Event has no {names}; it has {', '.join(Event._fields)}")
        wanted = wanted.items()
        keep = [e for e in self if all(getattr(e, field) == value for field, value in wanted)]
        smaller = Trace(self.world_size, keep, self.waits)
        smaller.whole = self.whole and len(keep) == len(self)
        smaller.flops = self.flops
        smaller.held = self.held
        smaller.computing = self.computing
        return smaller

    def messages(self):
        """Every message as a (send, recv) pair, in the order in which the sends were posted.

        A Trace that is not whole leaves out messages that ended and whose receive is missing.
        """
        received = {(e.comm, e.peer, e.rank, e.number): e for e in self if e.kind == "recv"}
        sends = [event for event in self if event.kind == "send"]
        pairs = []
        for send in sorted(sends, key=attrgetter("posted")):
            recv = received.get((send.comm, send.rank, send.peer, send.number))
            if self.whole or recv is not None or send.done is None:
                pairs.append(Message(send, recv))
        return pairs

    def sent(self, what="messages"):
        """How many "messages" or "nbytes" each rank sent: a list, one entry a rank."""
        if what not in ("messages", "nbytes"):
            raise ValueError(f'sent() counts "messages" or "nbytes", not {what!r}')
        bytes_wanted = what == "nbytes"
        totals = [nbytes if bytes_wanted else messages for messages, nbytes in self.unrecorded]
        columns = self.columns
        for rank, kind, nbytes in zip(columns["rank"], columns["kind"], columns["nbytes"]):
            if kind == "send":
                totals[rank] += nbytes if bytes_wanted else 1
        return totals

    def seconds(self):
        """How long the run took, from its beginning to the end of its last event."""
        if self._ended or not len(self):
            return self._ended
        times = zip(self.columns["posted"], self.columns["done"])
        return max(posted if done is None else done for posted, done in times)

    def metered(self, readings):
        """Take what was metered: {rank: (flops, changes of what is held)}."""
        if readings:
            self.flops = [0] * self.world_size
        for rank, (flops, changes) in readings.items():
            self.flops[rank] = flops
            self.held[rank] = changes

    def memory_kinds(self, rank, span=None):
        """{kind: most bytes that this rank held of it at once}.

        span: only the time within spans of this name counts.
        Raises ValueError if memory was not metered, or the rank has no such span.
        """
        _, held = self.memory_over_time(rank, span)
        return {kind: max(totals, default=0) for kind, totals in held.items()}

    def memory_over_time(self, rank, span=None):
        """([(operation, seconds), ...], {kind: bytes held after each of them}) of a rank.

        With a span the first moment is its beginning, with what was held already. Let time pass
        before it, by a barrier: on a virtual clock, what came at the same second counts, too.
        Raises ValueError as memory_kinds() does.
        """
        if rank not in self.held:
            raise ValueError(
                f"memory of rank {rank} was not metered: run it with world.run(..., meter=True)"
            )
        times = self._times_of(rank, span)
        begin = times[0][0]
        totals = [0] * len(MEMORY)
        rows = {}  # moment -> what is held then, a number for each kind of memory
        for operation, seconds, kind, nbytes in self.held[rank]:
            totals[kind] += nbytes
            if seconds < begin:  # what was held already belongs to the moment of the beginning
                rows = {(operation, begin): tuple(totals)}
            elif any(posted <= seconds <= done for posted, done in times):
                rows[operation, seconds] = tuple(totals)
        held = zip(*rows.values()) if rows else [()] * len(MEMORY)
        return list(rows), dict(zip(MEMORY, map(list, held)))

    def _times_of(self, rank, span):
        """[(beginning, end), ...] of the spans of this name on this rank; None: all the time."""
        forever = float("inf")
        if span is None:
            return [(-forever, forever)]
        times = []
        for event in self.where(rank=rank, kind="span"):
            if event.span.split("/")[-1] == span:
                times.append((event.posted, forever if event.done is None else event.done))
        if not times:
            raise ValueError(f"rank {rank} has no span {span!r}")
        return times

    def collectives(self):
        """How often each collective of the backend was called: {name: calls, summed over ranks}."""
        return dict(Counter(event.kind for event in self if event.is_collective))

    def __getstate__(self):
        columns = self.columns  # made now: what would make them later cannot travel
        return vars(self) | {"columns": columns}

    def __getattr__(self, name):
        if name in ("columns", "values") and vars(self).get("_later"):
            later = self._later
            self._later = None
            self.columns, self.values = later()
            return vars(self)[name]
        pictures = type(self).pictures
        if name not in pictures:
            known = ", ".join(sorted(pictures))
            raise AttributeError(f"Trace has no {name!r}; its pictures are: {known}")
        module, function = pictures[name].split(":")
        draw = getattr(importlib.import_module(module), function)
        return lambda *args, **kwargs: draw(self, *args, **kwargs)

    def __dir__(self):
        return [*super().__dir__(), *type(self).pictures]
