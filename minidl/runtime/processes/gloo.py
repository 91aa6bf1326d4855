"""Comm on torch.distributed: gloo's sends and receives, and the backend's own collectives.

    one process group of the whole world          sub-groups and twins share its connections:
    tag = epoch of the run | context of the comm  a message meets only those of its own comm and run

A native collective of a sub-group gets a process group of its own, made by its members when first
used (meeting.py). Receives are posted before sends. What is on a GPU travels by nccl.py. Left out:
agreement and deadlocks (guard.py), and how a process comes to be a rank (worker.py, joining.py).
"""

import threading
import time
from collections import defaultdict
from contextlib import nullcontext

import torch
import torch.distributed as dist

from minidl.runtime.comms.base import RuntimeComm
from minidl.runtime.comms.faults import Faults
from minidl.runtime.comms.node import RankNode
from minidl.runtime.comms.record import SPANS, Record
from minidl.runtime.processes.lane import ThreadLane, check_current
from minidl.runtime.processes.meeting import GroupMeeting
from minidl.runtime.processes.nccl import NoWires
from minidl.runtime.processes.posted_op import PostedOp, PostedOps
from minidl.runtime.processes.preemption import interrupt_nobody
from minidl.runtime.processes.process_group import FOREVER, Native, run_native

CONTEXTS = 12  # bits of a tag that name the communicator
EPOCHS = 18  # bits that name the run


class ProcessNode(RankNode):
    """What the communicators of one process share: also its connections, and its GPU if it has one.

    guard   the Guard of a rank of a World; None under torchrun, where no kernel watches
    report  called with (i, n) for progress, or None
    """

    def __init__(self, rank, world_size, store, guard=None, report=None):
        super().__init__(rank, world_size)
        self.guard = guard
        self.report = report
        self.lock = threading.RLock() if guard is None else guard.lock
        self.gpu = None
        self.wires = NoWires()
        self.connect(store)
        self.begin(0, time.perf_counter())

    def connect(self, store):
        """Use torch's process group of all ranks. A Comm that the learner has kept does, too."""
        self.store = store
        self.connections = dist.distributed_c10d._get_default_group()
        interrupt_nobody()
        self.contexts = {"world": 0}
        self.groups = {}  # name of a sub-group -> its GroupMeeting

    def disconnect(self):
        """Let go of all connections."""
        # A thread whose wait was broken takes its own part out meanwhile.
        for part in list(self.outstanding.values()):
            part.work = None
        self.outstanding = {}
        self.connections = None
        self.groups = {}
        self.lanes = {}
        self.gpu = None
        self.wires = NoWires()

    def begin(self, epoch, began, faults=(), die=None):
        """A new run: messages of earlier ones are never met."""
        self.tags = epoch % (1 << EPOCHS) << CONTEXTS
        self.began = began
        self.numbers = defaultdict(int)
        self.meter = None
        self.faults = Faults(faults, self.rank, die)
        self.record = Record(self.rank, self.faults, main=threading.get_ident())
        self.outstanding = {}  # id -> PostedOp that no thread has waited for
        self.forgotten = []
        SPANS.set("")  # a run that was broken may have left spans open
        self._absence = threading.local()  # when each thread last left the Comm
        if self.gpu is not None:
            self.gpu.begin()

    def now(self):
        return time.perf_counter() - self.began

    def moment(self):
        return time.perf_counter() - self.began, threading.get_ident()

    def stamp(self):
        return self.now() if self.gpu is None else self.gpu.mark()

    def sleep(self, seconds):
        time.sleep(seconds)

    def progress(self, i, n):
        if self.report:
            self.report(i, n)

    def metered(self):
        return nullcontext() if self.meter is None else self.meter.reading()

    def unmetered(self, function, *args):
        return function(*args)

    def enter(self):
        if self.faults.factor > 1 and hasattr(self._absence, "began"):
            time.sleep((time.perf_counter() - self._absence.began) * (self.faults.factor - 1))

    def leave(self):
        if self.faults.factor > 1:
            self._absence.began = time.perf_counter()

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
                    f"more than {(1 << CONTEXTS) - 1} different groups in one world: make a new "
                    "World"
                )
            self.contexts[name] = chosen
        return self.contexts[name]

    def new_lane(self, name):
        return ThreadLane(name, self)

    def start_native(self, op, comm, needs):
        """Start a collective on `comm`: (work, results), or None for results not known yet."""
        if comm.name == "world":
            return run_native(self.connections, op, comm.rank, comm.world_size)
        if comm.name not in self.groups:
            store = dist.PrefixStore(f"group {comm.name}", self.store)
            self.groups[comm.name] = GroupMeeting(comm, store, FOREVER, self.guard, needs)
        return self.groups[comm.name].start(op)

    def process_groups(self):
        """All process groups of gloo that this node has."""
        meetings = [meeting.group for meeting in self.groups.values() if meeting.group is not None]
        return [dist.group.WORLD, *meetings]

    def finish(self):
        super().finish()
        if self.gpu is not None:
            self.gpu.finish()


class DistributedComm(RuntimeComm):
    """The ranks `members` of a world, as rank `node.rank` sees them."""

    def __init__(self, *args):
        super().__init__(*args)
        self.node.context(self.name)  # raises if there are too many
        if self.node.gpu is not None:
            self.device = self.node.gpu.device

    @property
    def context(self):
        """The number of this communicator in tags and on the board."""
        return self.node.context(self.name)

    def native(self, name, tensor=None, output=None, root=None, op="sum"):
        """Start a collective that the backend brings along; see process_group.Native."""
        return self._post([Native(name, tensor, output, root, op)], [-1])

    def _start(self, ops, peers, posting):
        check_current()
        parts = [None] * len(ops)
        for sends in (False, True):  # receives first
            for i, op in enumerate(ops):
                if op.sends is sends:
                    begin = self._begin_message if peers[i] >= 0 else self._begin_native
                    parts[i] = part = begin(op, peers[i], posting)
                    self.node.outstanding[id(part)] = part
        posting.tickets = parts
        return PostedOps(posting)

    def _begin_message(self, op, peer, posting):
        node = self.node
        sends = op.sends
        if sends:
            tensor = op.tensor.contiguous()
        elif op.into is None:
            tensor = torch.empty_like(op.like, memory_format=torch.contiguous_format)
        else:
            tensor = op.into
        part = PostedOp(op.kind, self, peer, posting, op.tensor, () if sends else (tensor,))
        if tensor.requires_grad:
            tensor = tensor.detach()
        if node.faults.active:
            source, to = (node.rank, peer) if sends else (peer, node.rank)
            part.delay = node.faults.delay(source, to)
        with node.lock:
            if node.guard is not None:
                part.number = node.guard.publish(tensor, sends, self.context, peer, posting)
            else:
                part.number = node.number(self.context, peer, sends)
            try:
                if node.wires.carries(tensor):
                    part.work = node.wires.message(part, tensor, sends)
                else:
                    post = node.connections.send if sends else node.connections.recv
                    part.work = post([tensor], peer, node.tags | self.context)
            except RuntimeError as error:  # the peer is gone
                raise part.explained(error) from None
        return part

    def _begin_native(self, op, peer, posting):
        node = self.node
        tensor = op.output if op.tensor is None else op.tensor
        part = PostedOp(op.kind, self, peer, posting, tensor, None, op.root)
        needs = ()
        if node.guard is not None:
            with node.lock:
                part.number = node.guard.publish_native(
                    op, self.context, self.members, posting.place
                )
            needs = node.guard.everybody(part)
        else:
            part.number = node.number(self.context, peer, "native")
        if node.wires.carries(tensor):
            part.work = node.wires.native(part, op)
        else:
            part.work, part.received = node.start_native(op, self, needs)
        return part
