"""The record of a virtual run: what is kept while it runs, and the Trace that is made of it afterwards.

    while it runs    rank 0: ticket, ticket, mark, ...      an operation costs one append
    afterwards       {"rank": [0, 0, 0, ...], "posted": [0.0, 2e-05, ...], ...}

A Ticket (network.py) is one side of a message, a Mark is anything else that a rank did. The columns are made
one by one from all of them, which takes a fifth of the time that a row for each would take.
"""

from minidl.runtime.sources import place_name
from minidl.runtime.traced import dtype_name
from minidl.trace import Trace


class Mark:
    """A computation or a span of one rank; it has the fields of a Ticket that the record needs."""

    __slots__ = ("kind", "channel", "place", "time", "waited", "done", "order", "path")
    peer, number, nbytes, signature = -1, 0, 0, ((), None)

    def __init__(self, kind, comm, place, time, order, path):
        self.kind, self.channel, self.place, self.time = kind, (comm,), place, time
        self.order, self.path, self.waited, self.done = order, path, None, None

    def end(self, clock):
        """It is over; nobody waited for it before it began."""
        self.waited, self.done = self.time, clock


class Record:
    """Everything that the ranks of one run did, as long as there is room; messages beyond are counted only."""

    def __init__(self, size, room, delays):
        self.room, self.delays = room, delays
        self.entries, self.values = [[] for _ in range(size)], [{} for _ in range(size)]
        self.unrecorded = [(0, 0)] * size

    def keep(self, rank, entry):
        """Append a Ticket or a Mark; returns its number among those of its rank, or None if there is no room."""
        if self.room <= 0:
            if entry.kind == "send":
                messages, total = self.unrecorded[rank]
                self.unrecorded[rank] = messages + 1, total + entry.nbytes
            return None
        self.room -= 1
        entries = self.entries[rank]
        entries.append(entry)
        return len(entries) - 1

    def trace(self, waits, ended):
        """The Trace of the run; the record is empty afterwards, so that its many objects are gone at once."""
        trace = Trace(len(self.entries), (), waits, self.unrecorded, ended)
        trace.columns = self._columns()
        trace.values = {(rank, seq): numbers for rank, own in enumerate(self.values) for seq, numbers in own.items()}
        self.entries = self.values = ()
        return trace

    def _columns(self):
        entries = [entry for own in self.entries for entry in own]
        names = {signature: (tuple(signature[0]), dtype_name(signature[1]) if signature[1] else "")
                 for signature in {entry.signature for entry in entries}}
        lines = {place: place_name(place) for place in {entry.place for entry in entries}}
        return {
            "rank": [rank for rank, own in enumerate(self.entries) for _ in own],
            "thread": [thread for own in self.entries for thread in _threads(own)],
            "seq": [seq for own in self.entries for seq in range(len(own))],
            "kind": [entry.kind for entry in entries],
            "comm": [entry.channel[0] for entry in entries],
            "peer": [entry.peer for entry in entries],
            "number": [entry.number for entry in entries],
            "shape": [names[entry.signature][0] for entry in entries],
            "dtype": [names[entry.signature][1] for entry in entries],
            "nbytes": [entry.nbytes for entry in entries],
            "posted": [entry.time for entry in entries],
            "waited": [entry.waited for entry in entries],
            "done": [entry.done if entry.waited is not None else None for entry in entries],
            "span": [entry.path for entry in entries],
            "line": [lines[entry.place] for entry in entries],
            "fate": [self._fate(entry) for entry in entries],
        }

    def _fate(self, entry):
        if entry.waited is None:
            return "unfinished"
        return "delayed" if self.delays and self.delays.get(entry.channel[1:]) else "delivered"


def _threads(entries):
    """For each entry the number of its thread; threads are numbered in the order in which they came."""
    numbers = {}
    return [numbers.setdefault(entry.order, len(numbers)) for entry in entries]
