"""Messages under way on the virtual clock, and what waiting for them does to the clock of a rank.

    rank 0    start: 3 us    wait: 4 us  . . . . . .  goes on at 25 us

The tickets say ticket.posted = 3 us, ticket.waited = 4 us, ticket.done = 25 us.
"""

from dataclasses import dataclass

from minidl.comm import Work
from minidl.runtime.comms.node import RankNode
from minidl.runtime.comms.record import Posting, size_in_words
from minidl.runtime.virtual.strands import Strand
from minidl.runtime.words.deadlock import Need
from minidl.runtime.words.facts import Blocked, Claim


@dataclass(slots=True, eq=False)
class VirtualWork(Work):
    """Ops under way; the waiting strand is made ready once, when the last of them has ended.

    missing: how many of the ops have not met their other side.
    """

    node: RankNode
    comm: str
    posting: Posting
    missing: int = 0
    waiter: Strand | None = None
    result: tuple | None = None
    leftover: bool = False
    reported: bool = False  # whether a wait for it has raised its error, as in PostedOp

    def wait(self):
        if self.result is not None:
            return self.result
        node = self.node
        strand = node.strand()
        self.posting.waited = last = strand.clock
        if self.missing:
            node.block(strand, self)
        result = []
        for ticket in self.posting.tickets:
            if ticket.done > last:
                last = ticket.done
            if not ticket.sends:
                result.append(ticket.payload)
                ticket.payload = None  # the record keeps the ticket, and must not keep the tensor
        self.result = tuple(result)
        del node.outstanding[self]
        if last > strand.clock:
            strand.clock = last
            node.strands.pause(strand)
        return self.result

    def end(self):
        """End what the rank has left under way; the same as to wait for it."""
        self.wait()

    def met_one(self):
        """One more of the ops has met its other side."""
        self.missing -= 1
        if not self.missing and self.waiter is not None:
            ends = [ticket.done for ticket in self.posting.tickets]
            self.node.strands.ready(self.waiter, max(self.waiter.clock, *ends))

    def needs(self):
        """The Needs of a thread that waits for it, and that are not met."""
        return [Need((self._first().peer,))] if self.missing else None

    def blocked(self):
        """What a thread waits for here: the first op that has not met its other side."""
        return blocked_in(self._first(), self.comm, self.leftover)

    def _first(self):
        tickets = self.posting.tickets
        return next((ticket for ticket in tickets if ticket.done is None), tickets[0])


def blocked_in(ticket, comm, leftover):
    """The Blocked of this ticket."""
    size = size_in_words(*ticket.signature)
    place = ticket.posting.place
    return Blocked(ticket.kind, comm, ticket.peer, ticket.number, place, leftover, size)


def claim_of(ticket):
    """What its rank posts, for a Disagreement."""
    verb = "sends" if ticket.sends else "expects"
    posting = ticket.posting
    return Claim(posting.rank, verb, size_in_words(*ticket.signature), posting.place)


def move(tensor, recv):
    """Move the data of a message where the receiver wants them, or into a new tensor."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if recv.payload is None:
        recv.payload = tensor.clone() if tensor.is_contiguous() else tensor.contiguous()
    else:
        recv.payload.detach().copy_(tensor)
