"""The record of what one rank did: what is kept while it runs, and the columns made of it.

    while it runs    Posting, Posting, Mark, ...                              one for each start()
    afterwards       {"rank": [0, 0, ...], "posted": [0.0, 2e-05, ...], ...}  as trace.Trace has it

A Posting stands for one start() and holds a ticket for each of its ops; a Mark is a computation or
a span. The same record serves both worlds. A ticket is the world's own object for an op under way:
a Ticket of the virtual network or a Part of gloo. It has `kind`, `comm`, `peer`, `number`,
`signature` (shape, dtype), `nbytes`, `posted`, `waited`, `done` and `values`.
"""

from contextvars import ContextVar

FEW = 8  # elements of a sent tensor whose values are kept
SPANS: ContextVar[str] = ContextVar("spans", default="")  # path of the open spans, "epoch/step"


class Posting:
    """What one rank posted at once at `time`, by `thread` on line `place`, in the spans `path`.

    waited: when the rank began to wait for it, None before that.
    """

    __slots__ = ("rank", "thread", "time", "place", "path", "waited", "tickets")

    def __init__(self, rank, time, place=None, thread=0, path=""):
        self.rank = rank
        self.thread = thread
        self.time = time
        self.place = place
        self.path = path
        self.waited = None
        self.tickets = []


class Mark:
    """A computation or a span: a Posting and its only ticket in one."""

    __slots__ = ("kind", "comm", "thread", "posted", "place", "path", "done")
    peer = -1
    number = 0
    nbytes = 0
    signature = ((), None)
    values = None

    def __init__(self, kind, comm, time, place, thread, path):
        self.kind = kind
        self.comm = comm
        self.posted = time
        self.place = place
        self.thread = thread
        self.path = path
        self.done = None

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
        if self.events < 0:
            self.events = 0
            self.full = True
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
        sends = [ticket.nbytes for ticket in tickets if ticket.kind == "send"]
        messages, nbytes = self.unrecorded
        self.unrecorded = (messages + len(sends), nbytes + sum(sends))

    def events(self):
        """(entry, ticket) of every event, in the order of `seq`."""
        return [(entry, ticket) for entry in self.entries for ticket in entry.tickets]

    def threads(self, events):
        """The number of each event's thread, counted in the order in which threads appear."""
        numbers = {} if self.main is None else {self.main: 0}
        return [numbers.setdefault(entry.thread, len(numbers)) for entry, _ in events]

    def fate(self, ticket):
        """What became of an event that has ended."""
        if not self.faults.active or ticket.kind in ("compute", "span"):
            return "delivered"
        if ticket.kind == "send":
            return self.faults.fate(self.rank, ticket.peer)
        return self.faults.fate(ticket.peer, self.rank)


def columns_of(records, place_name=lambda place: place, limit=None):
    """(columns, values) of a Trace of these Records; column by column, which is the fastest way.

    place_name  (file, line) -> how the column `line` says it
    limit       what ended after this moment has not ended
    """
    owned = [(record, record.events()) for record in records]
    rows = [row for _, events in owned for row in events]
    entries, tickets = zip(*rows) if rows else ((), ())
    signatures = {ticket.signature for ticket in tickets}
    shapes = {signature: tuple(signature[0]) for signature in signatures}
    dtypes = {signature: dtype_name(signature[1]) for signature in signatures}
    lines = {place: place_name(place) for place in {entry.place for entry in entries}}
    waited = [ticket.waited for ticket in tickets]
    done = [ticket.done for ticket in tickets]
    for i, end in enumerate(done):
        if waited[i] is None or (limit is not None and end is not None and end > limit):
            done[i] = None
    fates = [record.fate(ticket) for record, events in owned for _, ticket in events]
    columns = {
        "rank": [record.rank for record, events in owned for _ in events],
        "thread": [thread for record, events in owned for thread in record.threads(events)],
        "seq": [seq for _, events in owned for seq in range(len(events))],
        "kind": [ticket.kind for ticket in tickets],
        "comm": [ticket.comm for ticket in tickets],
        "peer": [ticket.peer for ticket in tickets],
        "number": [ticket.number for ticket in tickets],
        "shape": [shapes[ticket.signature] for ticket in tickets],
        "dtype": [dtypes[ticket.signature] for ticket in tickets],
        "nbytes": [ticket.nbytes for ticket in tickets],
        "posted": [ticket.posted for ticket in tickets],
        "waited": waited,
        "done": done,
        "span": [entry.path for entry in entries],
        "line": [lines[entry.place] for entry in entries],
        "fate": ["unfinished" if end is None else fate for end, fate in zip(done, fates)],
    }
    values = {
        (record.rank, seq): ticket.values
        for record, events in owned
        for seq, (_, ticket) in enumerate(events)
        if ticket.values is not None
    }
    return columns, values


def event_rows(record):
    """(rows, {seq: values}) of one Record, as they travel; the column `line` holds (file, line)."""
    columns, values = columns_of([record])
    rows = [list(row) for row in zip(*columns.values())]
    return rows, {seq: numbers for (_, seq), numbers in values.items()}


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
    return tensor.tolist() if tensor.dim() == 1 else tensor.flatten().tolist()
