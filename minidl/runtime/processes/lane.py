"""Work beside the computation: one thread per communicator, one job after the other."""

import contextvars
import queue
import threading
from contextlib import nullcontext, suppress

from minidl.comm import Work
from minidl.runtime.processes.guard import Broken
from minidl.runtime.words.calling import here


class Job(Work):
    """A function under way in a lane. wait() returns what it returned, or raises what it raised."""

    def __init__(self, lane, function):
        self.lane, self.function = lane, function
        self.context = contextvars.copy_context()
        self.over = threading.Event()
        self.result = self.error = None
        self.noticed = False
        self.place = here()

    def needs(self, guard):
        """What a thread that waits for this job lacks: the end of the lane's thread."""
        return [(None, self.lane.thread.ident, 0)]

    def in_words(self):
        """(kind, comm, peer, number, place, leftover, size), for a report."""
        return ("background", self.lane.name, -1, 0, self.place, False, "")

    def run(self):
        """Do the work; called in the lane's thread."""
        try:
            with metered(self.lane.meter):
                self.result = self.context.run(self.function)
        except BaseException as error:
            self.error = error
        self.function = None
        self.over.set()

    def wait(self):
        if not self.over.is_set():
            guard = self.lane.guard
            if guard:
                guard.block(self)
            try:
                while not self.over.wait(0.1):  # short, so that an interrupt is noticed
                    if guard and guard.broken:
                        raise Broken(guard.broken)
            finally:
                if guard:
                    guard.unblock()
        self.noticed = True
        with suppress(ValueError):  # what it returned is now the waiter's alone to keep
            self.lane.jobs.remove(self)
        if self.error is not None:
            raise self.error
        return self.result


def metered(meter):
    """What this thread does inside is read by the meter, if there is one."""
    return nullcontext() if meter is None else meter.reading()


class Lane:
    """A thread that runs jobs in the order in which they came, named after its communicator. gpu: its rank's, if any."""

    def __init__(self, name, guard=None, gpu=None):
        self.name, self.guard, self.gpu, self.meter = name, guard, gpu, None
        self.jobs, self.queue = [], queue.SimpleQueue()
        self._idle = guard.idle if guard else set()
        self._pending, self._lock = 0, threading.Lock()
        self.thread = threading.Thread(target=self._work, name=f"background of {name}", daemon=True)
        self.thread.start()

    def submit(self, function):
        """Run `function()` after what is already there; returns the Job."""
        job = Job(self, function)
        self.jobs.append(job)
        with self._lock:
            self._pending += 1
            self._idle.discard(
                self.thread.ident
            )  # before the job can be seen: a thread with work is never idle
        self.queue.put(job)
        return job

    def finish(self):
        """Wait for all jobs; raise the error of one that nobody waited for."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            if not (job.noticed and job.over.is_set()):
                job.wait()

    def close(self):
        """End the thread after the job in hand."""
        self.queue.put(None)

    def _work(self):
        if self.gpu is not None:
            self.gpu.adopt()
        while True:
            with self._lock:
                if self._pending == 0:
                    self._idle.add(threading.get_ident())
            job = self.queue.get()
            if job is None:
                self._idle.discard(threading.get_ident())  # another thread may get the same number
                return
            try:
                job.run()
            except Broken as error:  # it came between two lines of run()
                job.error = job.error or error
                job.over.set()
            with self._lock:
                self._pending -= 1
