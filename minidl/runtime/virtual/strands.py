"""Many threads, one running at a time, always the one whose virtual clock is furthest behind.

    heap: (clock, order, strand) ...       a strand that waits gives the turn to the first of the heap;
                                           who makes it ready puts it back, with the time of its waking

Turns change hands by releasing one lock and acquiring another, with no thread in the middle. As nobody
runs ahead of the smallest clock, everything happens in the order of virtual time, and equal times are
settled by the strand's order: the same program always runs the same way. When nobody is ready, either
all have ended or nobody can ever go on: a deadlock, known at once and for certain.
"""

import ctypes
import os
import threading
from contextlib import suppress
from heapq import heappop, heappush, heappushpop

from minidl.runtime.processes.guard import Broken

STACK = 4 << 20


class Strand:
    """A thread with a virtual clock. rank: whose it is; order: unique, ranks first; words(): what it waits for."""

    __slots__ = ("rank", "order", "clock", "lock", "thread", "ident", "waiting", "ended", "idle")

    def __init__(self, rank, order):
        self.rank, self.order, self.clock = rank, order, 0.0
        self.lock = threading.Lock()
        self.lock.acquire()
        self.thread = self.ident = self.waiting = None
        self.ended, self.idle = False, False


class Strands:
    """The strands of one run. `switched(rank)` is called whenever another strand takes its turn."""

    def __init__(self, switched):
        self.heap, self.all, self.switched = [], [], switched
        self.running = None
        self.broken, self.limit = (
            None,
            float("inf"),
        )  # why all must stop; the last moment that still counts
        self._core = core_of_this_thread()
        self._quiet = threading.Event()  # nobody is ready: the run is over, or stuck

    def spawn(self, rank, order, body, clock=0.0):
        """A new strand that will run `body(strand)` from the virtual time `clock` on."""
        strand = Strand(rank, order)
        strand.clock = clock

        def main():
            strand.ident = threading.get_ident()
            stay_on(self._core)
            strand.lock.acquire()
            self.switched(rank)
            try:
                if not self.broken:
                    body(strand)
            except Broken:
                pass  # the run is over, and this strand with it
            finally:
                strand.ended = True
                self._next()

        size = threading.stack_size(STACK)
        try:
            strand.thread = threading.Thread(target=main, name=f"rank {rank}", daemon=True)
            strand.thread.start()
        finally:
            threading.stack_size(size)
        self.all.append(strand)
        heappush(self.heap, (clock, order, strand))
        return strand

    def ready(self, strand, clock):
        """`strand` can go on from the virtual time `clock`."""
        strand.clock = clock
        heappush(self.heap, (clock, strand.order, strand))

    def pause(self, strand):
        """Let those run whose clocks are behind this strand's."""
        heap = self.heap
        if heap and heap[0] < (strand.clock, strand.order):
            following = heappushpop(heap, (strand.clock, strand.order, strand))[2]
            self._turn(strand, following)
        elif self.broken or strand.clock > self.limit:
            raise Broken(self.broken)

    def block(self, strand):
        """Wait until somebody makes this strand ready."""
        if self.heap:
            following = heappop(self.heap)[2]
            if following is not strand:
                self._turn(strand, following)
        else:
            self.running = None
            self._quiet.set()
            self._turn(strand, None)

    def go(self, seconds=None):
        """Give the first strand its turn and wait until nobody is ready; False if that takes longer than `seconds`."""
        self._quiet.clear()
        self._next()
        return self._quiet.wait(seconds)

    def stop(self, reason, seconds):
        """Raise Broken in every strand, one after the other; those that do not end in time stay behind, suspended."""
        self.broken = reason
        if self.running is not None:  # it computes; the exception reaches it between two bytecodes
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self.running.ident), ctypes.py_object(Broken)
            )
            self._quiet.wait(seconds)
        self.heap = [(s.clock, s.order, s) for s in self.all if not s.ended]
        self.heap.sort()
        while self.heap and self.go(seconds):
            pass
        return [strand for strand in self.all if not strand.ended]

    def _turn(self, strand, following):
        if following is not None:
            self.running = following
            following.lock.release()
        strand.lock.acquire()
        self.switched(strand.rank)
        if self.broken or strand.clock > self.limit:
            raise Broken(self.broken)

    def _next(self):
        if self.heap:
            self.running = heappop(self.heap)[2]
            self.running.lock.release()
        else:
            self.running = None
            self._quiet.set()


def core_of_this_thread():
    """The core on which this thread runs, which the system has chosen as the least busy one; None where that cannot be told."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    core, allowed = (
        getattr(ctypes.CDLL(None), "sched_getcpu", lambda: -1)(),
        os.sched_getaffinity(0),
    )
    return core if core in allowed else min(allowed)


def stay_on(core):
    """Keep the calling thread on one core, and let it run until it waits.

    A turn that changes cores takes twice as long. And so does one in which the following thread, woken, pushes
    this one aside before it has let go of Python's own lock, only to wait for that: see preemption.py.
    """
    if core is not None:
        os.sched_setaffinity(0, {core})
        with suppress(OSError):  # not allowed in this container
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
