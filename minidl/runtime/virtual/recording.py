"""The record of a virtual run: what is kept while it runs, and the Trace that is made of it afterwards.

    while it runs    rank 0: posting, posting, mark, ...    a start costs one append
    afterwards       {"rank": [0, 0, 0, ...], "posted": [0.0, 2e-05, ...], ...}

A Posting (network.py) holds the sends and receives of one start, a Mark is anything else that a rank did. The columns
are made one by one from all of them, which takes a fifth of the time that a row for each would take.
"""

from minidl.runtime.comms.record import dtype_name
from minidl.runtime.words.sources import place_name
from minidl.trace import Trace


class Mark:
    """A computation or a span of one rank: a Posting and its only Ticket in one."""

    __slots__ = ("kind", "comm", "rank", "order", "time", "place", "path", "waited", "done")
    peer, number, nbytes, signature, values = -1, 0, 0, ((), None), None

    def __init__(self, kind, comm, rank, time, place, order, path):
        self.kind, self.comm, self.rank, self.time, self.place = kind, comm, rank, time, place
        self.order, self.path, self.waited, self.done = (
            order,
            path,
            time,
            None,
        )  # nobody waits for it before it begins

    @property
    def tickets(self):
        """Itself: it stands for one event."""
        return (self,)

    def end(self, clock):
        """It is over."""
        self.done = clock


class Record:
    """Everything that the ranks of one run did, as long as there is room; messages beyond are counted only."""

    def __init__(self, size, room, delays=None, slow=()):
        self.room, self.delays, self.slow, self.full = room, delays, slow, False
        self.entries = [[] for _ in range(size)]  # of each rank, its Postings and Marks
        self.unrecorded = [(0, 0)] * size

    def room_for(self, entry, events):
        """Is there room for these events of a Posting or a Mark? Then it is kept."""
        self.room -= events
        if self.room < 0:
            self.room, self.full = 0, True
            return False
        self.entries[entry.rank].append(entry)
        return True

    def count(self, ticket):
        """A message beyond the room."""
        if ticket.sends:
            messages, total = self.unrecorded[ticket.posting.rank]
            self.unrecorded[ticket.posting.rank] = messages + 1, total + ticket.nbytes

    def trace(self, waits, ended, limit):
        """The Trace of the run, of which nothing after `limit` happened. Its columns are made when somebody looks at them."""
        trace = Trace(
            len(self.entries), (), waits, self.unrecorded, ended, later=lambda: self._columns(limit)
        )
        trace.whole = not self.full
        return trace

    def _columns(self, limit):
        """(columns of the Trace, values of small tensors); the record is empty afterwards, so that its many objects are gone."""
        events = [
            [(entry, ticket) for entry in own for ticket in entry.tickets] for own in self.entries
        ]
        self.entries = ()
        rows = [row for own in events for row in own]
        entries, tickets = zip(*rows) if rows else ((), ())
        names = {
            signature: (tuple(signature[0]), dtype_name(signature[1]) if signature[1] else "")
            for signature in {ticket.signature for ticket in tickets}
        }
        lines = {place: place_name(place) for place in {entry.place for entry in entries}}
        done = [
            None
            if entry.waited is None or ticket.done is None or ticket.done > limit
            else ticket.done
            for entry, ticket in rows
        ]
        columns = {
            "rank": [entry.rank for entry in entries],
            "thread": [thread for own in events for thread in _threads(own)],
            "seq": [seq for own in events for seq in range(len(own))],
            "kind": [ticket.kind for ticket in tickets],
            "comm": [ticket.comm for ticket in tickets],
            "peer": [ticket.peer for ticket in tickets],
            "number": [ticket.number for ticket in tickets],
            "shape": [names[ticket.signature][0] for ticket in tickets],
            "dtype": [names[ticket.signature][1] for ticket in tickets],
            "nbytes": [ticket.nbytes for ticket in tickets],
            "posted": [entry.time for entry in entries],
            "waited": [entry.waited for entry in entries],
            "done": done,
            "span": [entry.path for entry in entries],
            "line": [lines[entry.place] for entry in entries],
            "fate": [
                "unfinished" if end is None else self._fate(*row) for end, row in zip(done, rows)
            ],
        }
        values = {
            (rank, seq): ticket.values
            for rank, own in enumerate(events)
            for seq, (_, ticket) in enumerate(own)
            if ticket.values is not None
        }
        return columns, values

    def _fate(self, entry, ticket):
        if ticket.peer < 0:
            return "delivered"
        late = self.delays and self.delays.get((ticket.way.source, ticket.way.to))
        return "delayed" if late else "slowed" if entry.rank in self.slow else "delivered"


def _threads(events):
    """For each event the number of its thread; threads are numbered in the order in which they came."""
    numbers = {}
    return [numbers.setdefault(entry.order, len(numbers)) for entry, _ in events]
