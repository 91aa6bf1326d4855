"""The record of what one rank did: what is kept while it runs, and the columns made of it.

    while it runs    Posting, Posting, Mark, ...                              one for each start()
    afterwards       {"rank": [0, 0, ...], "posted": [0.0, 2e-05, ...], ...}  as trace.Trace has it

A Posting stands for one start() and holds a ticket for each of its ops; a Mark is a computation or
a span. The same record serves both worlds. A ticket is the world's own object for an op under way:
a Ticket of the virtual network or a PostedOp between processes. It has `kind`, `comm`, `peer`,
`number`, `signature` (shape, dtype), `nbytes`, `posted`, `waited`, `done` and `values`.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from operator import attrgetter

from minidl.trace import MARKERS

FEW = 8  # elements of a sent tensor whose values are kept
SPANS: ContextVar[str] = ContextVar("spans", default="")  # path of the open spans, "epoch/step"


@dataclass(slots=True, eq=False)
class Posting:
    """What one rank posted at once at `time`, by `thread` on line `place`, in the spans `path`.

    waited: when the rank began to wait for it, None before that.
    """

    rank: int
    time: float
    place: tuple | None = None
    thread: int = 0
    path: str = ""
    waited: float | None = None
    tickets: list = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Mark:
    """A computation or a span: a Posting and its only ticket in one."""

    kind: str
    comm: str
    posted: float
    place: tuple
    thread: int
    path: str
    done: float | None = None

    # What it has in common with every ticket, and nothing to say about.
    peer = -1
    number = 0
    nbytes = 0
    signature = ((), None)
    values = None

    @property
    def tickets(self):
        """Itself: it stands for one event."""
        return (self,)

    @property
    def waited(self):
        """Its beginning: nothing else comes before it is under way."""
        return self.posted


class Room:
    """How many more events the ranks of one run may record together."""

    def __init__(self, events):
        self.events = events
        self.full = False

    def take(self, events):
        """Whether there is room for these events; if so, they take it."""
        self.events -= events
        self.full = self.full or self.events < 0
        return not self.full


class Record:
    """What one rank did in one run.

    faults  the rank's Faults, which tell the fate of a message
    room    the Room of the run; None for a record without a limit
    main    the rank's main thread, which is thread 0; None to number threads as they appear
    """

    def __init__(self, rank, faults, room=None, main=None):
        self.rank = rank
        self.faults = faults
        self.room = room
        self.main = main
        self.entries = []
        self.unrecorded = (0, 0)  # messages and bytes sent after the record was full

    def keep(self, entry, events=1):
        """Keep a Posting or a Mark with so many events; returns whether there was room for it."""
        if self.room is not None and not self.room.take(events):
            return False
        self.entries.append(entry)
        return True

    def end(self, mark, time):
        """A computation or a span has ended."""
        mark.done = time

    def count(self, tickets):
        """Count messages for which there was no room."""
        messages, nbytes = self.unrecorded
        for ticket in tickets:
            if ticket.kind == "send":
                messages += 1
                nbytes += ticket.nbytes
        self.unrecorded = (messages, nbytes)

    def events(self):
        """(entry, ticket) of every event, in the order of `seq`."""
        return [(entry, ticket) for entry in self.entries for ticket in entry.tickets]

    def threads(self, events):
        """The number of each event's thread, counted in the order in which threads appear."""
        numbers = {} if self.main is None else {self.main: 0}
        return [numbers.setdefault(entry.thread, len(numbers)) for entry, _ in events]

    def fate(self, ticket):
        """What became of an event that has ended."""
        if not self.faults.active or ticket.kind in MARKERS:
            return "delivered"
        link = (self.rank, ticket.peer) if ticket.kind == "send" else (ticket.peer, self.rank)
        return self.faults.fate(*link)


def columns_of(records, place_name=lambda place: place, limit=None):
    """(columns, values) of a Trace of these Records; column by column, which is the fastest way.

    place_name  (file, line) -> how the column `line` says it
    limit       what ended after this moment has not ended
    """
    owned = [(record, record.events()) for record in records]
    rows = [row for _, events in owned for row in events]
    entries, tickets = zip(*rows) if rows else ((), ())

    def column(name):
        return list(map(attrgetter(name), tickets))

    signatures = set(column("signature"))
    shapes = {signature: tuple(signature[0]) for signature in signatures}
    dtypes = {signature: dtype_name(signature[1]) for signature in signatures}
    lines = {place: place_name(place) for place in {entry.place for entry in entries}}
    waited = column("waited")
    done = column("done")
    for i, end in enumerate(done):
        if waited[i] is None or (limit is not None and end is not None and end > limit):
            done[i] = None
    fates = [record.fate(ticket) for record, events in owned for _, ticket in events]
    columns = {
        "rank": [record.rank for record, events in owned for _ in events],
        "thread": [thread for record, events in owned for thread in record.threads(events)],
        "seq": [seq for _, events in owned for seq in range(len(events))],
        "kind": column("kind"),
        "comm": column("comm"),
        "peer": column("peer"),
        "number": column("number"),
        "shape": [shapes[ticket.signature] for ticket in tickets],
        "dtype": [dtypes[ticket.signature] for ticket in tickets],
        "nbytes": column("nbytes"),
        "posted": column("posted"),
        "waited": waited,
        "done": done,
        "span": [entry.path for entry in entries],
        "line": [lines[entry.place] for entry in entries],
        "fate": ["unfinished" if end is None else fate for end, fate in zip(done, fates)],
    }
    numbered = zip(columns["rank"], columns["seq"], column("values"))
    values = {(rank, seq): small for rank, seq, small in numbered if small is not None}
    return columns, values


def event_rows(record):
    """(rows, {seq: values}) of one Record, as they travel; the column `line` holds (file, line)."""
    columns, values = columns_of([record])
    rows = list(map(list, zip(*columns.values())))
    own_values = {seq: few for (_, seq), few in values.items()}
    return rows, own_values


def dtype_name(dtype):
    """ "float32" for torch.float32; "" for None."""
    return str(dtype).removeprefix("torch.") if dtype else ""


def size_in_words(shape, dtype):
    """ "(4,) float32"."""
    return f"{tuple(shape)} {dtype_name(dtype)}"


def numbers(tensor):
    """What is in a small tensor, as a list; None for a large one or one without values."""
    if tensor.numel() > FEW or tensor.is_meta:
        return None
    return tensor.flatten().tolist()
