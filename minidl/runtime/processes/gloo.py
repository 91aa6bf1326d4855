"""Comm on torch.distributed: gloo's sends and receives, and gloo's own collectives. GPUs use nccl.py instead.

    one process group of the whole world          sub-groups and twins share its connections:
    tag = epoch of the run | context of the comm  a message meets only those of its own comm and run

A native collective of a sub-group gets a process group of its own, made by its members when first
used (meeting.py). Receives are posted before sends. Left out: checking and deadlocks (guard.py), recording
(record.py), faults (faults.py), and how a process comes to be a rank (worker.py, torchrun.py).
"""

import re
import threading
import time
from collections import defaultdict
from contextlib import nullcontext

import torch
import torch.distributed as dist

from minidl.comm import Native, Recv, Send, Work
from minidl.errors import RankDied, RankTimeout
from minidl.runtime.comms.base import Parts, RuntimeComm, comm_name, label, landing, lasting
from minidl.runtime.gpu.nccl import Crossing, NoWires
from minidl.runtime.processes.guard import Broken, description, spell
from minidl.runtime.processes.lane import Lane
from minidl.runtime.processes.meeting import Meeting
from minidl.runtime.processes.preemption import interrupt_nobody
from minidl.runtime.processes.process_group import FOREVER, run_native
from minidl.runtime.words.calling import here, waiting_for

CONTEXTS = 12  # bits of a tag that name the communicator
EPOCHS = 18  # bits that name the run
LOST_LINK = re.compile("closed by peer|pair closure|reset by peer|Broken pipe|Connection refused")


class Node:
    """What the communicators of one process share: connections, numbers, threads, the clock, the GPU if there is one."""

    def __init__(self, rank, world_size, store, guard=None, report_progress=None):
        self.rank, self.world_size = rank, world_size
        self.store, self.guard, self.report_progress = store, guard, report_progress
        self.lock = threading.RLock() if guard is None else guard.lock
        self.connections = dist.distributed_c10d._get_default_group()
        interrupt_nobody()
        self.contexts, self.groups, self.lanes = {"world": 0}, {}, {}
        self.gpu, self.wires = None, NoWires()
        self.begin(0, time.perf_counter())

    def begin(self, epoch, began):
        """A new run: messages of earlier ones are never met."""
        self.tags, self.began = epoch % (1 << EPOCHS) << CONTEXTS, began
        self.numbers, self.meter = defaultdict(int), None
        self.outstanding = {}  # id -> Part that nobody has waited for
        if self.gpu is not None:
            self.gpu.begin()

    def now(self):
        """Seconds since the run began."""
        return time.perf_counter() - self.began

    def number(self, *channel):
        """The number of the next message on a channel, where no board counts them."""
        self.numbers[channel] += 1
        return self.numbers[channel] - 1

    def context(self, name):
        """A small number for the communicator `name`, the same on every rank."""
        if name not in self.contexts:
            proposal = str(self.store.add("contexts", 1))
            chosen = int(self.store.compare_set(f"context {name}", "", proposal))
            if chosen >= 1 << CONTEXTS:
                raise ValueError(
                    f"more than {(1 << CONTEXTS) - 1} different groups in one world: make a new World"
                )
            self.contexts[name] = chosen
        return self.contexts[name]

    def lane(self, name):
        """The background thread of the communicator `name`."""
        if name not in self.lanes:
            self.lanes[name] = Lane(name, self.guard, self.gpu)
        self.lanes[name].meter = self.meter
        return self.lanes[name]

    def start_native(self, op, comm, needs):
        """Start a native collective on `comm`; returns (work, results or None where they are not known yet)."""
        if comm.name == "world":
            return run_native(self.connections, op, comm.rank, comm.world_size)
        if comm.name not in self.groups:
            store = dist.PrefixStore(f"group {comm.name}", self.store)
            self.groups[comm.name] = Meeting(comm, store, FOREVER, self.guard, needs)
        return self.groups[comm.name].start(op)

    def finish(self):
        """End what the run left under way: background jobs, then works that nobody waited for."""
        for lane in list(self.lanes.values()):
            lane.finish()
        for part in list(self.outstanding.values()):
            part.leftover = True
            part.wait()
        if self.gpu is not None:
            self.gpu.finish()


class Part(Work):
    """One op under way."""

    __slots__ = (
        "node",
        "op",
        "comm",
        "peer",
        "number",
        "work",
        "result",
        "place",
        "leftover",
        "moments",
    )
    fate = "delivered"

    def __init__(self, node, op, comm, peer, number, work, result, place):
        self.node, self.op, self.comm, self.peer, self.number = node, op, comm, peer, number
        self.work, self.result, self.place, self.leftover = work, result, place, False
        self.moments = None  # (ready, over) on the GPU, for what went from GPU to GPU

    def wait(self):
        if self.work is None:
            return self.result
        node = self.node
        guard = node.guard
        if guard is not None:
            guard.block(self)
        try:
            self.work.wait()
        except RuntimeError as error:
            raise self.explained(error) from None
        finally:
            if guard is not None:
                guard.unblock()
        if self.result is None:
            self.result = self.work.results
        if type(self.work) is Crossing:
            self.moments = self.work.ready, self.work.over
        self.work = None
        node.outstanding.pop(id(self), None)
        return self.result

    def needs(self, guard):
        """What must be posted before this can end."""
        return self.work.needs if type(self.work) is Crossing else guard.needs(self)

    def in_words(self):
        """(kind, comm, peer, number, place, leftover, size), for a report."""
        kind = (
            "send" if type(self.op) is Send else "recv" if type(self.op) is Recv else self.op.name
        )
        tensor = self.op.tensor if kind == "send" else self.op.like if kind == "recv" else None
        size = (
            "" if tensor is None else spell(description(tensor.shape, tensor.dtype, tensor.is_cuda))
        )
        return (kind, self.comm.name, self.peer, self.number, self.place, self.leftover, size)

    def explained(self, error):
        """What to raise in place of the error of gloo."""
        if self.node.guard is not None and self.node.guard.broken:
            return Broken(self.node.guard.broken)
        if LOST_LINK.search(str(error)):
            lost = RankDied(waiting_for(*self.in_words()))
            lost.waiting = self.in_words()
            return lost
        if "Timed out" in str(error):
            return RankTimeout(f"rank {self.node.rank} {waiting_for(*self.in_words())} and gave up")
        return error


class DistributedComm(RuntimeComm):
    """The ranks `members` of a world, as rank `node.rank` sees them."""

    def __init__(self, node, members, origins=()):
        self.node, self.members, self._origins = node, tuple(members), origins
        self.rank, self.world_size = self.members.index(node.rank), len(self.members)
        self._label = label(self.members, node.world_size)
        self.name = comm_name(self._label, origins)
        self.context = node.context(self.name)
        if node.gpu is not None:
            self.device = node.gpu.device

    def start(self, ops):
        ops, place = list(ops), here()
        peers = [self.peer(op) for op in ops]  # refuse all before posting one
        if len(ops) == 1:
            return Parts([self._post(ops[0], peers[0], place)], place)
        parts = [None] * len(ops)
        for sends in (False, True):  # receives first
            for i, op in enumerate(ops):
                if (type(op) is Send) is sends:
                    parts[i] = self._post(op, peers[i], place)
        return Parts(parts, place)

    def group(self, ranks):
        return DistributedComm(self.node, self.chosen(ranks), self._origins)

    def twin(self):
        return DistributedComm(self.node, self.members, (*self._origins, self._label))

    def lane(self):
        return self.node.lane(comm_name(self._label, (*self._origins, self._label)))

    def compute(self, seconds):
        time.sleep(lasting(seconds))

    def progress(self, i, n):
        if self.node.report_progress:
            self.node.report_progress(i, n)

    def span(self, name):
        return nullcontext()

    def now(self):
        return self.node.now()

    def _post(self, op, peer, place):
        kind = type(op)
        if kind is Native:
            return self._post_native(op, peer, place)
        node, sending = self.node, kind is Send
        if sending:
            tensor = op.tensor.contiguous()
        else:
            tensor = (
                torch.empty_like(op.like, memory_format=torch.contiguous_format)
                if op.into is None
                else landing(op)
            )
        result = tensor
        if tensor.requires_grad:
            tensor = tensor.detach()
        with node.lock:
            if node.guard is not None:
                number = node.guard.publish(tensor, sending, self.context, peer, place)
            else:
                number = node.number(self.context, peer, sending)
            post = node.connections.send if sending else node.connections.recv
            part = Part(node, op, self, peer, number, None, () if sending else (result,), place)
            try:
                if node.wires.carries(tensor):
                    part.work = node.wires.message(part, tensor, sending)
                else:
                    part.work = post([tensor], peer, node.tags | self.context)
            except RuntimeError as error:  # the peer is gone
                raise part.explained(error) from None
        node.outstanding[id(part)] = part
        return part

    def _post_native(self, op, peer, place):
        node, number, needs = self.node, 0, ()
        part = Part(node, op, self, peer, number, None, None, place)
        if node.guard is not None:
            with node.lock:
                part.number = node.guard.publish_native(op, self.context, self.members, place)
            needs = node.guard.everybody(part)
        else:
            part.number = node.number(self.context, peer, "native")
        if node.wires.carries(op.tensor if op.tensor is not None else op.output):
            part.work = node.wires.native(part)
        else:
            part.work, part.result = node.start_native(op, self, needs)
        node.outstanding[id(part)] = part
        return part
