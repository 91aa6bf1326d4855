"""Comm on a virtual clock: the ranks are strands of one process, the network is arithmetic.

    rank 0 --post at 3 us--> Fabric --over at 25 us--> rank 0 is ready at 25 us

A rank's clock moves when it waits for messages and when it says compute(seconds); everything else takes no
virtual time. Sends are rendezvous unless the world is buffered. The record is made here, in the network's
own terms: a send and a receive that met bear the times at which they did. Left out: turns (strands.py),
times (network.py), and how a run begins and ends (virtual_world.py).
"""

import threading
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from minidl.comm import Send, Work
from minidl.errors import MismatchError
from minidl.runtime.calling import here
from minidl.runtime.faulty import Op, Span
from minidl.runtime.network import Ticket
from minidl.runtime.strands import Broken
from minidl.runtime.traced import DONE, FATE, FEW, SEQ, WAITED, dtype_name
from minidl.runtime.virtual_lane import VirtualLane
from minidl.runtime.wrapping import RuntimeComm, comm_name, label, landing



class VirtualNode:
    """What the communicators of one virtual rank share."""

    def __init__(self, run, rank):
        self.run, self.rank = run, rank
        self.strands, self.fabric, self.damage = run.strands, run.fabric, run.damage[rank]
        (self.rows, self.values), self.path = run.records[rank], ContextVar("spans", default="")
        self.outstanding, self.lanes, self.thread_numbers = {}, {}, {}

    def finish(self):
        """End what the rank left under way: background jobs, then works that nobody waited for."""
        for lane in list(self.lanes.values()):
            lane.finish()
        for work in list(self.outstanding.values()):
            work.leftover = True
            work.wait()

    def strand(self):
        """The strand that runs now; it must be one of this rank's own."""
        strand = self.strands.running
        if strand is None or strand.ident != threading.get_ident():
            if self.strands.broken:
                raise Broken(self.strands.broken)
            raise RuntimeError("in a VirtualWorld only the rank's own thread and comm.background may use comm: "
                               "a thread of your own has no place on the virtual clock")
        if self.strands.broken:
            raise Broken(self.strands.broken)
        return strand

    def row(self, kind, comm, peer, number, shape, dtype, nbytes, posted, place):
        """Record an event, as long as there is room; returns its row or None."""
        run = self.run
        if run.room <= 0:
            run.count_only(self.rank, kind, nbytes)
            return None
        run.room -= 1
        thread = self.thread_numbers.setdefault(threading.get_ident(), len(self.thread_numbers))
        row = [self.rank, thread, len(self.rows), kind, comm, peer, number, shape, dtype, nbytes,
               posted, None, None, self.path.get(), place, "unfinished"]
        self.rows.append(row)
        return row

    def advance(self, strand, seconds):
        """Let virtual time pass for this strand; a Crash at Seconds(t) happens on the way."""
        clock = strand.clock + seconds
        if self.damage.deadline is not None and clock >= self.damage.deadline.t:
            strand.clock = max(strand.clock, self.damage.deadline.t)
            self.damage.reach(self.damage.deadline)
        strand.clock = clock
        self.strands.pause(strand)


class VirtualWork(Work):
    """Ops under way; the waiter is made ready once, when the last of them is over."""

    __slots__ = ("node", "comm", "tickets", "missing", "waiter", "result", "place", "leftover")

    def __init__(self, node, comm, place):
        self.node, self.comm, self.place = node, comm, place
        self.tickets, self.missing, self.waiter, self.result, self.leftover = [], 0, None, None, False

    def wait(self):
        if self.result is not None:
            return self.result
        node = self.node
        strand = node.strand()
        began = strand.clock
        if self.missing:
            self.waiter, strand.waiting = strand, self
            try:
                node.strands.block(strand)
            finally:
                self.waiter = strand.waiting = None
        result, last = [], began
        for ticket in self.tickets:
            done, row = ticket.done, ticket.row
            if done > last:
                last = done
            if row is not None:
                row[WAITED], row[DONE], row[FATE] = began, done, self.fate(ticket)
            if not ticket.sends:
                result.append(ticket.payload)
            ticket.work = None                          # no cycle of references is left for the garbage collector
        self.tickets, self.result = (), tuple(result)
        del node.outstanding[id(self)]
        if last > strand.clock:
            strand.clock = last
            node.strands.pause(strand)
        return self.result

    def fate(self, ticket):
        """ "delayed" on a link with a Delay, else "delivered"."""
        delays = self.node.fabric.delays
        slow = delays and delays.get((ticket.rank, ticket.peer) if ticket.sends else (ticket.peer, ticket.rank))
        return "delayed" if slow else "delivered"

    def over(self, ticket):
        """The other side of `ticket` has come."""
        self.missing -= 1
        if not self.missing and self.waiter is not None:
            last = self.waiter.clock
            for ticket in self.tickets:
                if ticket.done > last:
                    last = ticket.done
            self.node.strands.ready(self.waiter, last)

    def met(self):
        """Have all other sides come?"""
        return not self.missing

    def in_words(self):
        """(kind, comm, peer, number, place, leftover, size) of the first op that has not met its other side."""
        ticket = next((t for t in self.tickets if t.done is None), self.tickets[0])
        shape, dtype = ticket.signature
        return ("send" if ticket.sends else "recv", self.comm.name, ticket.peer, ticket.number, ticket.place, self.leftover,
                f"{shape} {dtype_name(dtype)}")


class VirtualComm(RuntimeComm):
    """The ranks `members` of a virtual world, as one of them sees them."""

    def __init__(self, node, members, origins=()):
        self.node, self.members, self._origins = node, tuple(members), origins
        self.rank, self.world_size = self.members.index(node.rank), len(self.members)
        self._label = label(self.members, node.run.size)
        self.name = comm_name(self._label, origins)

    def start(self, ops):
        node, place = self.node, here()
        strand = node.strand()
        ops = list(ops)
        peers = [self.peer(op) for op in ops]
        work = VirtualWork(node, self, place)
        if node.damage.moments:
            for _ in ops:
                node.damage.reach(Op(node.damage.posted))
                node.damage.posted += 1
        node.outstanding[id(work)] = work
        for op, peer in zip(ops, peers):
            self._post(op, peer, place, strand.clock, work)
        return work

    def _post(self, op, peer, place, clock, work):
        node, sends = self.node, type(op) is Send
        if peer < 0:
            raise TypeError(f"a VirtualWorld has no native {op.name}: use minidl.collectives, which sends messages that can be counted")
        tensor = op.tensor if sends else op.like
        shape, dtype = tuple(tensor.shape), tensor.dtype
        nbytes = tensor.nbytes
        fabric, me = node.fabric, node.rank
        if sends:
            payload = tensor.detach() if not fabric.buffered else tensor.detach().clone()
        else:
            payload = landing(op)
        channel = (self.name, me, peer) if sends else (self.name, peer, me)
        ticket = Ticket(sends, me, peer, channel, nbytes, (shape, dtype), place, clock, payload)
        ticket.work = work
        other = fabric.post(ticket)
        ticket.row = node.row("send" if sends else "recv", self.name, peer, ticket.number, shape, dtype_name(dtype), nbytes, clock, place)
        if sends and ticket.row is not None and nbytes <= 64 and tensor.numel() <= FEW and not tensor.is_meta:
            node.values[ticket.row[SEQ]] = tensor.flatten().tolist()
        work.tickets.append(ticket)
        if other is None:
            if ticket.done is None:
                work.missing += 1
            return
        if other.signature != ticket.signature:
            self._disagree(ticket, other)
        send, recv = (ticket, other) if sends else (other, ticket)
        if recv.payload is None:
            recv.payload = send.payload.clone(memory_format=torch.contiguous_format)
        else:
            recv.payload.detach().copy_(send.payload)
        send.payload = None
        if not (fabric.buffered and other.sends):
            other.work.over(other)

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
        row = node.row("compute", self.name, -1, 0, (), "", 0, strand.clock, here())
        node.advance(strand, seconds * node.damage.factor)
        if row is not None:
            row[WAITED], row[DONE], row[FATE] = row[10], strand.clock, "delivered"

    def progress(self, i, n):
        self.node.run.echo.progress(self.node.rank, i, n)

    @contextmanager
    def span(self, name):
        if "/" in name:
            raise ValueError(f"a span's name has no slash, because spans nest as outer/inner: {name!r}")
        node = self.node
        node.damage.reach(Span(name, node.damage.entered[name]))
        node.damage.entered[name] += 1
        token = node.path.set(f"{node.path.get()}/{name}".lstrip("/"))
        row = node.row("span", self.name, -1, 0, (), "", 0, node.strand().clock, here())
        try:
            yield
        finally:
            if row is not None and node.strands.running is not None:
                row[WAITED], row[DONE], row[FATE] = row[10], node.strands.running.clock, "delivered"
            node.path.reset(token)

    def now(self):
        return self.node.strand().clock

    def _disagree(self, ticket, other):
        def side(t):
            shape, dtype = t.signature
            return t.rank, "sends" if t.sends else "expects", f"{shape} {dtype_name(dtype)}", t.place
        source, to = (side(ticket), side(other)) if ticket.sends else (side(other), side(ticket))
        self.node.run.disagree(ticket.number, source, to)
        raise MismatchError(f"message {ticket.number}: rank {source[0]} sends {source[2]}, but rank {to[0]} expects {to[2]}")
