"""What every Comm of the runtime does, whatever carries it: check, meet faults, record, then act.

    start(ops)    check ops -> reach faults -> record -> _start    how bytes travel, in each world
    compute(s)    check s   -> record -> sleep, longer on a rank that a fault makes slow
    span(name)    check     -> reach faults -> record

These methods are final. A world adds `_start`, and a RankNode with a clock. Fault, record and check
therefore concern every message of every world, and each is written once.
"""

from contextlib import contextmanager
from typing import final

from minidl.comm import Comm, Recv, Send, check_tensor
from minidl.runtime.comms.node import STREAM
from minidl.runtime.comms.record import SPANS, Mark, Posting, numbers
from minidl.runtime.words.calling import call, calling_place


class RuntimeComm(Comm):
    """The ranks `members` of a world, as rank `node.rank` sees them.

    name     of the communicator: "world", "0,2", "world+1" for the first twin
    members  world ranks of its ranks, in order
    origins  the labels of those that were twinned on the way to it
    stream   the name of the twin whose background work may use it; "" for the rank's own thread
    """

    def __init__(self, node, members, origins=(), stream=""):
        self.node = node
        self.members = tuple(members)
        self.origins = origins
        self.stream = stream
        self.rank = self.members.index(node.rank)
        self.world_size = len(self.members)
        self.label = label(self.members, node.world_size)
        self.name = comm_name(self.label, origins)

    # --- What a world adds ---------------------------------------------------------------------

    def _start(self, ops, peers, posting):
        """Post all ops to these world ranks, fill posting.tickets in their order; return a Work."""
        raise NotImplementedError

    def _sleep(self, seconds):
        """Let this time pass for the thread that runs now."""
        self.node.sleep(seconds)

    def _introduce(self, parent, ranks):
        """This Comm was made as parent.group(ranks), or as its twin where ranks is None."""

    def _submit(self, twin, function):
        """Run `function()` after earlier background work of `twin`; returns its Work."""
        return self.node.lane(twin.name).submit(function)

    # --- Final ---------------------------------------------------------------------------------

    @final
    def start(self, ops):
        ops = list(ops)
        return self._post(ops, [self._peer(op) for op in ops])  # all are right, or none is posted

    def native(self, name, *args, **kwargs):
        """Start a collective that the backend brings along, on the backends that do."""
        raise TypeError(
            f"a VirtualWorld has no native {name}: use minidl.collectives, which sends messages "
            "that can be counted"
        )

    @final
    def compute(self, seconds):
        seconds = lasting(seconds)
        node = self.node
        mark = self._mark("compute")
        node.enter()
        self._sleep(seconds * node.faults.factor)
        node.leave()
        node.record.end(mark, node.moment()[0])

    @final
    @contextmanager
    def span(self, name):
        if "/" in name:
            raise ValueError(
                f"a span's name has no slash, because spans nest as outer/inner: {name!r}"
            )
        node = self.node
        if node.faults.active:
            node.faults.enter(name)
        path = SPANS.get()
        token = SPANS.set(f"{path}/{name}" if path else name)
        mark = self._mark("span", node.stamp())
        try:
            yield
        finally:
            node.record.end(mark, node.stamp())
            SPANS.reset(token)

    @final
    def progress(self, i, n):
        self.node.progress(i, n)

    @final
    def now(self):
        return self.node.now()

    @final
    def group(self, ranks):
        ranks = list(ranks)
        group = type(self)(self.node, self.chosen(ranks), self.origins, self.stream)
        group._introduce(self, ranks)
        return group

    @final
    def twin(self):
        """A Comm of the same ranks whose messages never mix with this one's. Local."""
        origins = (*self.origins, self.label)
        twin = type(self)(self.node, self.members, origins, self.twin_name)
        twin._introduce(self, None)
        return twin

    @property
    def failures(self):
        """How many runs of this world have ended with an error."""
        return self.node.failures

    @property
    def twin_name(self):
        """The name of its twin, and of the lane in which that is used."""
        return comm_name(self.label, (*self.origins, self.label))

    @final
    def background(self, fn, *args):
        """Run `fn(*args)` in the lane of this Comm's twin, which stands for this Comm inside.

        Raises RuntimeError on a Comm that belongs to another thread.
        """
        self._check_stream()
        twin = self.twin()
        # A learner may name `comm` among the arguments, as for a call in the foreground.
        args = tuple(twin if arg is self else arg for arg in args)

        def function():
            token = STREAM.set(twin.stream)
            try:
                return call(fn, twin, args, {})
            finally:
                STREAM.reset(token)

        return self._submit(twin, function)

    def chosen(self, ranks):
        """The world ranks of group(ranks); raises ValueError in words for a wrong choice."""
        distinct = len(set(ranks)) == len(ranks)
        if not distinct or not all(0 <= rank < self.world_size for rank in ranks):
            raise ValueError(
                f"group({ranks}): ranks must be distinct and between 0 and {self.world_size - 1}"
            )
        if self.rank not in ranks:
            raise ValueError(
                f"rank {self.rank} is not in group({ranks}): only its members may ask for a group"
            )
        return [self.members[rank] for rank in ranks]

    def _post(self, ops, peers):
        """The one way of every operation: faults, record, and then the world's own `_start`."""
        node = self.node
        self._check_stream()
        if node.faults.active:
            node.enter()
            node.faults.post(len(ops))
        time, thread = node.moment()
        posting = Posting(node.rank, time, calling_place(), thread, SPANS.get())
        kept = node.record.keep(posting, len(ops))
        work = self._start(ops, peers, posting)
        if kept:
            for op, ticket in zip(ops, posting.tickets):
                if op.sends and ticket.nbytes <= FEW_BYTES:
                    ticket.values = node.unmetered(numbers, op.tensor)
        else:
            node.record.count(posting.tickets)
        node.leave()
        return work

    def _mark(self, kind, time=None):
        now, thread = self.node.moment()
        mark = Mark(
            kind, self.name, now if time is None else time, calling_place(), thread, SPANS.get()
        )
        self.node.record.keep(mark)
        return mark

    def _peer(self, op):
        """The world rank that `op` talks to; raises in words for a wrong op or rank."""
        if not isinstance(op, (Send, Recv)):
            raise TypeError(f"start() takes Send and Recv, not {type(op).__name__}")
        check_tensor(op.tensor, "send" if op.sends else "receive like")
        peer = op.peer
        if peer == self.rank or not 0 <= peer < self.world_size:
            verb = "send to" if op.sends else "receive from"
            reason = f"ranks go from 0 to {self.world_size - 1}"
            if peer == self.rank:
                reason = "a rank cannot send to itself"
            raise ValueError(f"rank {self.rank} cannot {verb} rank {peer}: {reason}")
        if not op.sends and op.into is not None:
            check_landing(op)
        return self.members[peer]

    def _check_stream(self):
        """Raise RuntimeError where a background function uses a Comm that is not its own.

        Its messages would meet those of the thread to which the Comm belongs, in any order.
        """
        stream = STREAM.get()
        if stream and stream != self.stream:
            raise RuntimeError(
                f"a background function uses the Comm {self.name!r}, which is not its own, so "
                "its messages could mix with others. Give the function a parameter `comm` and use "
                "that: comm.background(lambda comm: ring.all_reduce(x, comm))"
            )


FEW_BYTES = 128  # a tensor that has more of them has more elements than the record keeps


def label(members, world_size):
    """How a set of ranks is called in the record: "world", or "0,2"."""
    everyone = len(members) == world_size and members == tuple(range(world_size))
    return "world" if everyone else ",".join(map(str, members))


def comm_name(label, origins):
    """A communicator's name: "0,2"; "0,2+1" for its twin; "0,2+world" for a group of a twin.

    origins: the labels of those that have been twinned on the way here. Different ways give
    different names, for they run in different threads.
    """
    return label + "".join("+1" if origin == label else f"+{origin}" for origin in origins)


def lasting(seconds):
    """`seconds`; raises ValueError if nothing can take that long."""
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"compute() takes a finite number of seconds, 0 or more, not {seconds!r}")
    return seconds


def check_landing(op):
    """Raise ValueError if a Recv's `into` cannot hold what it receives."""
    into, like = op.into, op.like
    if into is not like and (into.shape != like.shape or into.dtype != like.dtype):
        raise ValueError(
            f"into has shape {tuple(into.shape)} and {into.dtype}, "
            f"like has {tuple(like.shape)} and {like.dtype}"
        )
    if not into.is_contiguous():
        raise ValueError("into must be contiguous")
