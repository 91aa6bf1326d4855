"""Comm on a virtual clock: the ranks are strands of one process, the network is arithmetic.

    rank 0 --posts at 3 us--> Fabric --done at 25 us--> rank 0 is ready at 25 us

A rank's clock moves when it waits for messages and when it calls compute(seconds); nothing else
takes virtual time. A send returns when it has been received, unless the world is buffered. Left
out: turns (strands.py), times (network.py), and how a run begins and ends (virtual_run.py).
"""

import threading
from contextlib import nullcontext

from minidl.runtime.comms.base import RuntimeComm
from minidl.runtime.comms.faults import Seconds
from minidl.runtime.comms.node import Broken, RankNode
from minidl.runtime.comms.record import Record
from minidl.runtime.metering.device import unseen
from minidl.runtime.virtual.network import Ticket
from minidl.runtime.virtual.virtual_lane import VirtualLane
from minidl.runtime.virtual.virtual_work import VirtualWork, claim_of, move
from minidl.runtime.words.facts import disagreement


class VirtualNode(RankNode):
    """What the communicators of one virtual rank share."""

    def __init__(self, run, rank):
        super().__init__(rank, run.size)
        self.run = run
        self.strands = run.strands
        self.fabric = run.fabric
        self.meters = run.meters
        self.faults = run.faults[rank]
        self.record = Record(rank, self.faults, run.room)

    def metered(self):
        return nullcontext() if self.meters is None else self.meters.reading(self)

    def unmetered(self, function, *args):
        return function(*args) if self.meters is None else unseen(function, *args)

    def strand(self):
        """The strand that runs now; it must be one of this rank's own."""
        strand = self.strands.running
        if self.strands.broken:
            raise Broken(self.strands.broken)
        if strand is None or strand.ident != threading.get_ident():
            raise RuntimeError(
                "in a VirtualWorld only the rank's own thread and comm.background may use comm: "
                "a thread of your own has no place on the virtual clock"
            )
        return strand

    def now(self):
        return self.strand().clock

    def moment(self):
        strand = self.strand()
        return strand.clock, strand.order

    def stamp(self):
        running = self.strands.running
        return None if running is None else running.clock

    def sleep(self, seconds):
        self.advance(self.strand(), seconds)

    def advance(self, strand, seconds):
        """Let virtual time pass for this strand; a fault at Seconds(t) strikes on the way."""
        clock = strand.clock + seconds
        deadline = self.faults.deadline
        if clock >= deadline:
            strand.clock = max(strand.clock, deadline)
            self.faults.reach(Seconds(deadline))
        strand.clock = clock
        self.strands.pause(strand)

    def block(self, strand, work):
        """Stop this strand until `work`, which it waits for, makes it ready."""
        work.waiter = strand
        strand.waiting = work
        try:
            self.strands.block(strand)
        finally:
            work.waiter = strand.waiting = None

    def progress(self, i, n):
        self.run.echo.progress(self.rank, i, n)

    def new_lane(self, name):
        return VirtualLane(name, self)


class VirtualComm(RuntimeComm):
    """The ranks `members` of a virtual world, as one of them sees them."""

    def __init__(self, *args):
        super().__init__(*args)
        self._ways = {}  # (sends, peer) -> the OneWay to that rank, or from it

    def _start(self, ops, peers, posting):
        work = VirtualWork(self.node, self.name, posting)
        self.node.outstanding[work] = work
        for op, peer in zip(ops, peers):
            self._post_one(op, peer, posting, work)
        return work

    def _post_one(self, op, peer, posting, work):
        fabric = self.node.fabric
        sends = op.sends
        tensor = op.tensor
        payload = tensor if sends else op.into
        if sends and fabric.buffered:
            payload = tensor.detach().clone()
        way = self._ways.get((sends, peer)) or self._new_way(sends, peer)
        ticket = Ticket(sends, way, posting, tensor.nbytes, (tensor.shape, tensor.dtype), payload)
        posting.tickets.append(ticket)
        other = fabric.post(ticket)
        if other is not None:
            self._meet(ticket, other)
        elif ticket.done is None:
            work.missing += 1
            ticket.work = work

    def _new_way(self, sends, peer):
        rank = self.node.rank
        link = (rank, peer) if sends else (peer, rank)
        way = self._ways[sends, peer] = self.node.fabric.way(self.name, *link)
        return way

    def _meet(self, ticket, other):
        """The other side was posted before: the data move, and who waits for it may go on."""
        if other.signature != ticket.signature:
            found = disagreement("message", ticket.number, claim_of(ticket), claim_of(other))
            self.node.run.disagree(found)
            raise found.error()
        send, recv = (ticket, other) if ticket.sends else (other, ticket)
        tensor = send.payload
        send.payload = None
        if self.node.meters is None:
            move(tensor, recv)
        else:
            self.node.meters.land(move, tensor, send, recv)
        if other.work is not None:
            other.work.met_one()
            other.work = None
