"""Many threads, one running at a time, always the one whose virtual clock is furthest behind.

    heap: (clock, order, strand) ...   a strand that waits gives the turn to the first of the heap;
                                       the strand that makes it ready puts it back, with the time
                                       at which it goes on

The turn changes hands by releasing one lock and acquiring another, with no thread in the middle.
As no strand runs ahead of the smallest clock, everything happens in the order of virtual time, and
the strand's order settles equal times: the same program always runs the same way. If no strand is
ready, either all have ended or none can ever go on: a deadlock, known at once and for certain.
"""

import ctypes
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush, heappushpop

import torch

from minidl.runtime.comms.node import Broken
from minidl.runtime.words.modules import imports

STACK = 4 << 20  # bytes of a strand's stack
IMPORT = 10.0  # seconds that a strand is given to end an import before it is stopped


@dataclass(slots=True, eq=False)
class Strand:
    """A thread with a virtual clock.

    rank   the rank that it belongs to
    order  a number of its own; those of the ranks' main strands are smaller than all others
    """

    rank: int
    order: int
    clock: float
    lock: object = field(default_factory=threading.Lock)  # free when the strand's turn begins
    ident: int = None
    waiting: object = None  # what it waits for
    ended: bool = False
    idle: bool = False

    def __post_init__(self):
        self.lock.acquire()

    def entry(self):
        """Its place in the heap."""
        return self.clock, self.order, self


class Strands:
    """The strands of one run. `switched(rank)` is called whenever another strand takes its turn."""

    def __init__(self, switched):
        self.switched = switched
        self.heap = []  # the strands that are ready
        self.all = []
        self.running = None
        self.broken = None  # why all must stop
        self.limit = float("inf")  # a strand whose clock passes it must stop
        self._core = core_of_this_thread()
        self._quiet = threading.Event()  # no strand is ready: the run has ended, or is stuck

    def spawn(self, rank, order, body, clock=0.0):
        """A new strand that will run `body(strand)` from the virtual time `clock` on."""
        strand = Strand(rank, order, clock)

        def main():
            strand.ident = threading.get_ident()
            stay_on(self._core)
            torch.set_num_threads(1)  # of this thread: two on one core would wait for each other
            strand.lock.acquire()
            self.switched(rank)
            try:
                if not self.broken:
                    body(strand)
            except Broken:
                pass  # the run has ended, and this strand with it
            finally:
                strand.ended = True
                self._next()

        size = threading.stack_size(STACK)
        try:
            threading.Thread(target=main, name=f"rank {rank}", daemon=True).start()
        finally:
            threading.stack_size(size)
        self.all.append(strand)
        heappush(self.heap, strand.entry())
        return strand

    def ready(self, strand, clock):
        """`strand` can go on from the virtual time `clock`."""
        strand.clock = clock
        heappush(self.heap, strand.entry())

    def pause(self, strand):
        """Let those run whose clocks are behind this strand's."""
        own = strand.entry()
        if self.heap and self.heap[0] < own:
            _, _, following = heappushpop(self.heap, own)
            self._hand_over(strand, following)
        else:
            self._check(strand)

    def block(self, strand):
        """Wait until another strand makes this one ready."""
        if not self.heap:
            self.running = None
            self._quiet.set()
            self._hand_over(strand, None)
            return
        _, _, following = heappop(self.heap)
        if following is not strand:
            self._hand_over(strand, following)

    def go(self, seconds=None):
        """Run until no strand is ready; False if that takes longer than `seconds`."""
        self._quiet.clear()
        self._next()
        return self._quiet.wait(seconds)

    def stop(self, reason, seconds):
        """Raise Broken in every strand, one after the other.

        Returns the strands that do not end within `seconds` each: they stay behind, suspended.
        """
        self.broken = reason
        if self.running is not None:  # it computes; the exception reaches it between two bytecodes
            self._await_import()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.running.ident), ctypes.py_object(Broken)
            )
            self._quiet.wait(seconds)
        self.heap = sorted(strand.entry() for strand in self.all if not strand.ended)
        while self.heap and self.go(seconds):
            pass
        return [strand for strand in self.all if not strand.ended]

    def _await_import(self):
        """Let the running strand end its import: half of one would spoil the whole process."""
        deadline = time.monotonic() + IMPORT
        while self.running is not None and time.monotonic() < deadline:
            if not imports(sys._current_frames().get(self.running.ident)):
                return
            self._quiet.wait(0.02)

    def _hand_over(self, strand, following):
        """Give the turn to `following` and wait for the next turn of `strand`."""
        if following is not None:
            self.running = following
            following.lock.release()
        strand.lock.acquire()
        self.switched(strand.rank)
        self._check(strand)

    def _check(self, strand):
        """Raise Broken in a strand that must stop."""
        if self.broken or strand.clock > self.limit:
            raise Broken(self.broken)

    def _next(self):
        """Give the turn to the first of the heap."""
        if self.heap:
            _, _, self.running = heappop(self.heap)
            self.running.lock.release()
        else:
            self.running = None
            self._quiet.set()


def core_of_this_thread():
    """The core on which the system, which prefers idle ones, runs this thread; None if unknown."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    sched_getcpu = getattr(ctypes.CDLL(None), "sched_getcpu", lambda: -1)
    core = sched_getcpu()
    allowed = os.sched_getaffinity(0)
    return core if core in allowed else min(allowed)


def stay_on(core):
    """Keep the calling thread on one core, and let it run until it waits.

    A turn that changes cores takes twice as long. So does one in which the following thread, woken,
    interrupts this one before it has released Python's own lock, only to wait for that lock: see
    preemption.py.
    """
    if core is not None:
        os.sched_setaffinity(0, {core})
        with suppress(OSError):  # not allowed in this container
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
