"""Ops under way between processes: a PostedOp for each, which is also what the record keeps of it.

    start([Send, Recv])  -->  PostedOps  -->  PostedOp  -- posted . . . . . waited ==== done
                                     -->  PostedOp  -- posted . . . . . . . . . . . waited = done

Gloo says that an op has ended only after the wait for it, so `done` is never earlier than `waited`.
What goes from GPU to GPU has the GPU's own times (gpu/gpu_clock.py) instead.
"""

import re
import time
from dataclasses import InitVar, dataclass

from torch import Tensor

from minidl.comm import Work
from minidl.errors import RankDied, RankTimeout
from minidl.runtime.comms.base import RuntimeComm
from minidl.runtime.comms.node import Broken
from minidl.runtime.comms.record import Posting
from minidl.runtime.processes.descriptions import description
from minidl.runtime.words.facts import Blocked

LOST_LINK = re.compile("closed by peer|pair closure|reset by peer|Broken pipe|Connection refused")


class PostedOps(Work):
    """The ops of one start(). posting: what the record keeps of it, with a PostedOp for each op."""

    def __init__(self, posting):
        self.posting = posting
        self.received = None

    def wait(self):
        if self.received is not None:
            return self.received
        received = ()
        try:
            for part in self.posting.tickets:
                part.wait()
                received += part.received
        except Exception:
            for part in self.posting.tickets:
                part.reported = True
            raise
        for part in self.posting.tickets:
            part.received = ()  # the record keeps the part, and must not keep the tensor
        self.received = received
        return received


@dataclass(slots=True, eq=False)
class PostedOp:
    """One op under way. It keeps no tensor longer than until its wait has ended.

    on         the Comm                   work      what torch has under way; None when it has ended
    signature  (shape, dtype)             received  what its wait returns; None if not known yet
    root       of a collective, or None   delay     seconds by which a fault delays it
    moments    (ready, over) on the GPU, for what went from GPU to GPU
    reported   whether a wait for it, or for what was started with it, has raised its error
    """

    kind: str
    on: RuntimeComm
    peer: int
    posting: Posting
    tensor: InitVar[Tensor | None]
    received: tuple | None
    root: int | None = None
    number: int = 0
    signature: tuple = ((), None)
    nbytes: int = 0
    on_gpu: bool = False
    work: object = None
    delay: float = 0
    leftover: bool = False
    reported: bool = False
    moments: tuple | None = None
    waited: float | None = None
    done: float | None = None
    values: list | None = None

    def __post_init__(self, tensor):
        if tensor is not None:
            self.signature = (tensor.shape, tensor.dtype)
            self.nbytes = tensor.nbytes
            self.on_gpu = tensor.is_cuda

    @property
    def node(self):
        """The ProcessNode of this rank."""
        return self.on.node

    @property
    def comm(self):
        """The communicator's name."""
        return self.on.name

    @property
    def posted(self):
        """When it was posted, or when the GPU was ready for it."""
        return self.moments[0] if self.moments else self.posting.time

    def wait(self):
        """Return when it has ended, and note the times."""
        node = self.node
        if self.waited is None:
            self.waited = node.now()
        if self.work is not None:
            node.enter()
            began = node.now()
            self.end()
            if self.delay:
                self._wait_for_delay(began)
            node.leave()
        if self.done is None:
            self.done = self.moments[1] if self.moments else node.now()

    def end(self):
        """Block until torch has ended it, visible to those who look for deadlocks."""
        if self.work is None:
            return
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
        if self.received is None:
            self.received = self.work.results
        self.moments = getattr(self.work, "moments", None)
        self.work = None
        node.outstanding.pop(id(self), None)

    def _wait_for_delay(self, began):
        """Wait on until the delayed message may be there; `began`: when the wait for it began."""
        arrived = self.node.now()
        if arrived - began <= 1e-3:
            # It was there before: at the earliest when the later one of both sides had posted it.
            peer_posted = self.node.guard.peer_posted(self) or 0.0
            arrived = max(self.posting.time, peer_posted)
        time.sleep(max(0.0, arrived + self.delay - self.node.now()))

    def needs(self, guard):
        """What must be posted before it can end."""
        return getattr(self.work, "needs", None) or guard.needs(self)

    def blocked(self):
        """What a thread that waits for it is blocked in."""
        size = ""
        if self.peer >= 0:
            size = description(*self.signature, self.on_gpu)
        place = self.posting.place
        return Blocked(self.kind, self.comm, self.peer, self.number, place, self.leftover, size)

    def explained(self, error):
        """What to raise in place of the error of gloo."""
        guard = self.node.guard
        if guard is not None and guard.broken:
            return Broken(guard.broken)
        if LOST_LINK.search(str(error)):
            lost = RankDied(self.blocked().in_words())
            lost.blocked = self.blocked()
            return lost
        if "Timed out" in str(error):
            words = self.blocked().in_words()
            return RankTimeout(f"rank {self.node.rank} {words} and gave up")
        return error
