"""Messages under way on the virtual clock, and what waiting for them does to the clock of a rank.

rank 0   start: 3 us    wait: 4 us  ........  on from 25 us       ticket.done = 25 us, ticket.waited = 4 us
"""

from minidl.comm import Work
from minidl.runtime.comms.record import dtype_name


class VirtualWork(Work):
    """Ops under way; the waiter is made ready once, when the last of them is over. missing: other sides that have not come."""

    __slots__ = ("node", "comm", "posting", "missing", "waiter", "result", "leftover")

    def __init__(self, node, comm, posting):
        self.node, self.comm, self.posting = node, comm, posting
        self.missing, self.waiter, self.result, self.leftover = 0, None, None, False

    def wait(self):
        if self.result is not None:
            return self.result
        node, posting = self.node, self.posting
        strand = node.strand()
        posting.waited = last = strand.clock
        if self.missing:
            self.waiter, strand.waiting = strand, self
            try:
                node.strands.block(strand)
            finally:
                self.waiter = strand.waiting = None
        result = []
        for ticket in posting.tickets:
            if ticket.done > last:
                last = ticket.done
            if not ticket.sends:
                result.append(ticket.payload)
                ticket.payload = None  # the record keeps the ticket, and not what hangs on it
        self.result = tuple(result)
        del node.outstanding[self]
        if last > strand.clock:
            strand.clock = last
            node.strands.pause(strand)
        return self.result

    def over(self):
        """One more of the other sides has come."""
        self.missing -= 1
        if not self.missing and self.waiter is not None:
            last = self.waiter.clock
            for ticket in self.posting.tickets:
                if ticket.done > last:
                    last = ticket.done
            self.node.strands.ready(self.waiter, last)

    def met(self):
        """Have all other sides come?"""
        return not self.missing

    def in_words(self):
        """(kind, comm, peer, number, place, leftover, size) of the first op that has not met its other side."""
        tickets = self.posting.tickets
        ticket = next((t for t in tickets if t.done is None), tickets[0])
        return (
            ticket.kind,
            self.comm.name,
            ticket.peer,
            ticket.number,
            self.posting.place,
            self.leftover,
            size_of(ticket),
        )


def size_of(ticket):
    """ "(4,) float32" """
    shape, dtype = ticket.signature
    return f"{tuple(shape)} {dtype_name(dtype)}"
