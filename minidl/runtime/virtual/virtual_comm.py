"""Comm on a virtual clock: the ranks are strands of one process, the network is arithmetic.

    rank 0 --post at 3 us--> Fabric --over at 25 us--> rank 0 is ready at 25 us

A rank's clock moves when it waits for messages and when it says compute(seconds); everything else takes no
virtual time. Sends are rendezvous unless the world is buffered. The record is made here, in the network's
own terms: a send and a receive that met bear the times at which they did. Left out: turns (strands.py), times
(network.py), waiting (virtual_work.py), the record (recording.py), and how a run begins and ends (virtual_world.py).
"""

import threading
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

from minidl.comm import Recv, Send
from minidl.errors import MismatchError
from minidl.runtime.comms.base import RuntimeComm, comm_name, label, landing, lasting
from minidl.runtime.comms.faults import Op, Span
from minidl.runtime.comms.record import FEW
from minidl.runtime.metering.device import metered, unseen
from minidl.runtime.virtual.network import Posting, Ticket
from minidl.runtime.virtual.recording import Mark
from minidl.runtime.virtual.strands import Broken
from minidl.runtime.virtual.virtual_lane import VirtualLane
from minidl.runtime.virtual.virtual_work import VirtualWork, size_of
from minidl.runtime.words.calling import here


class VirtualNode:
    """What the communicators of one virtual rank share."""

    def __init__(self, run, rank):
        self.run, self.rank = run, rank
        self.strands, self.fabric, self.damage = run.strands, run.fabric, run.damage[rank]
        self.record, self.path = run.record, ContextVar("spans", default="")
        self.outstanding, self.lanes = {}, {}

    def finish(self):
        """End what the rank left under way: background jobs, then works that nobody waited for."""
        for lane in list(self.lanes.values()):
            lane.finish()
        for work in list(self.outstanding):
            work.leftover = True
            work.wait()

    def metered(self):
        """A context manager: what is computed inside counts for this rank, where somebody asked for it."""
        return metered(self.run.meters, self)

    def strand(self):
        """The strand that runs now; it must be one of this rank's own."""
        strand = self.strands.running
        if strand is None or strand.ident != threading.get_ident():
            if self.strands.broken:
                raise Broken(self.strands.broken)
            raise RuntimeError(
                "in a VirtualWorld only the rank's own thread and comm.background may use comm: "
                "a thread of your own has no place on the virtual clock"
            )
        if self.strands.broken:
            raise Broken(self.strands.broken)
        return strand

    def mark(self, kind, comm, strand):
        """Record that a computation or a span begins; returns the Mark."""
        mark = Mark(kind, comm, self.rank, strand.clock, here(), strand.order, self.path.get())
        self.record.room_for(mark, 1)
        return mark

    def advance(self, strand, seconds):
        """Let virtual time pass for this strand; a Crash at Seconds(t) happens on the way."""
        clock = strand.clock + seconds
        if self.damage.deadline is not None and clock >= self.damage.deadline.t:
            strand.clock = max(strand.clock, self.damage.deadline.t)
            self.damage.reach(self.damage.deadline)
        strand.clock = clock
        self.strands.pause(strand)


class VirtualComm(RuntimeComm):
    """The ranks `members` of a virtual world, as one of them sees them."""

    def __init__(self, node, members, origins=()):
        self.node, self.members, self._origins = node, tuple(members), origins
        self.rank, self.world_size = self.members.index(node.rank), len(self.members)
        self._label = (
            "world" if self.members is node.run.ranks else label(self.members, node.run.size)
        )
        self.name = comm_name(self._label, origins)
        self._to, self._from = {}, {}  # rank -> the Way there, and the one from there

    def start(self, ops):
        node, place = self.node, here()
        strand = node.strand()
        ops = list(ops)
        ways = [self._way(op) for op in ops]  # all are right, or none is posted
        posting = Posting(node.rank, strand.clock, place, strand.order, node.path.get())
        work = VirtualWork(node, self, posting)
        if node.damage.moments:
            for _ in ops:
                node.damage.reach(Op(node.damage.posted))
                node.damage.posted += 1
        node.outstanding[work] = None
        kept = node.record.room_for(posting, len(ops))
        for op, way in zip(ops, ways):
            self._post(op, way, posting, work, kept)
        return work

    def _way(self, op):
        """The Way that `op` goes; raises in words for a wrong op or rank."""
        if type(op) is Send:
            known = self._to.get(op.to) if isinstance(op.tensor, Tensor) else None
        else:
            known = (
                self._from.get(op.source)
                if type(op) is Recv and isinstance(op.like, Tensor)
                else None
            )
        return known or self._new_way(op)

    def _new_way(self, op):
        me, peer, fabric = self.node.rank, self.peer(op), self.node.fabric
        if peer < 0:
            raise TypeError(
                f"a VirtualWorld has no native {op.name}: use minidl.collectives, which sends messages that can be counted"
            )
        if type(op) is Send:
            way = self._to[op.to] = fabric.way(self.name, me, peer)
        else:
            way = self._from[op.source] = fabric.way(self.name, peer, me)
        return way

    def _post(self, op, way, posting, work, kept):
        node, sends = self.node, type(op) is Send
        if sends:
            tensor = op.tensor
            payload = tensor.detach().clone() if node.fabric.buffered else tensor
        else:
            tensor = op.like
            payload = None if op.into is None else landing(op)
        ticket = Ticket(sends, way, posting, tensor.nbytes, (tensor.shape, tensor.dtype), payload)
        posting.tickets.append(ticket)
        other = node.fabric.post(ticket)
        if not kept:
            node.record.count(ticket)
        elif sends and ticket.nbytes <= 64 and tensor.numel() <= FEW and not tensor.is_meta:
            ticket.values = numbers(tensor) if node.run.meters is None else unseen(numbers, tensor)
        if other is not None:
            self._meet(ticket, other)
        elif ticket.done is None:
            work.missing += 1
            ticket.work = work

    def _meet(self, ticket, other):
        """The other side was there before: the data move, and who waits for it may go on."""
        if other.signature != ticket.signature:
            self._disagree(ticket, other)
        send, recv = (ticket, other) if ticket.sends else (other, ticket)
        tensor, send.payload = send.payload, None
        if self.node.run.meters is None:
            move(tensor, recv)
        else:
            self.node.run.meters.land(move, tensor, send, recv)
        if other.work is not None:
            work, other.work = other.work, None
            work.over()

    def group(self, ranks):
        return VirtualComm(self.node, self.chosen(ranks), self._origins)

    def twin(self):
        return VirtualComm(self.node, self.members, (*self._origins, self._label))

    def lane(self):
        name = comm_name(self._label, (*self._origins, self._label))
        if name not in self.node.lanes:
            self.node.lanes[name] = VirtualLane(self.node, name)
        return self.node.lanes[name]

    def compute(self, seconds):
        node = self.node
        strand = node.strand()
        mark = node.mark("compute", self.name, strand)
        node.advance(strand, lasting(seconds) * node.damage.factor)
        mark.end(strand.clock)

    def progress(self, i, n):
        self.node.run.echo.progress(self.node.rank, i, n)

    @contextmanager
    def span(self, name):
        if "/" in name:
            raise ValueError(
                f"a span's name has no slash, because spans nest as outer/inner: {name!r}"
            )
        node = self.node
        node.damage.reach(Span(name, node.damage.entered[name]))
        node.damage.entered[name] += 1
        token = node.path.set(f"{node.path.get()}/{name}".lstrip("/"))
        mark = node.mark("span", self.name, node.strand())
        try:
            yield
        finally:
            if node.strands.running is not None:
                mark.end(node.strands.running.clock)
            node.path.reset(token)

    def now(self):
        return self.node.strand().clock

    def _disagree(self, ticket, other):
        def side(t):
            return t.posting.rank, "sends" if t.sends else "expects", size_of(t), t.posting.place

        source, to = (side(ticket), side(other)) if ticket.sends else (side(other), side(ticket))
        self.node.run.disagree(ticket.number, source, to)
        raise MismatchError(
            f"message {ticket.number}: rank {source[0]} sends {source[2]}, but rank {to[0]} expects {to[2]}"
        )


def numbers(tensor):
    """What is in a small tensor, for the record."""
    return tensor.tolist() if tensor.dim() == 1 else tensor.flatten().tolist()


def move(tensor, recv):
    """The data of a message go where the receiver wants them, or into a new tensor."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if recv.payload is None:
        recv.payload = tensor.clone() if tensor.is_contiguous() else tensor.contiguous()
    else:
        recv.payload.detach().copy_(tensor)
