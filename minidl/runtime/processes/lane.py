"""Background work of a process: a thread for each communicator, one job after the other."""

import queue
import threading

from minidl.runtime.comms.background import BackgroundJob, BackgroundLane
from minidl.runtime.comms.node import Broken
from minidl.runtime.processes.guard import await_event
from minidl.runtime.words.deadlock import Need

_thread = threading.local()  # .lane: the lane whose thread this is


def check_current():
    """Raise Broken in the thread of a lane that was retired: its run has ended."""
    lane = getattr(_thread, "lane", None)
    if lane is not None and lane.retired:
        raise Broken("the run has ended")


class ThreadLane(BackgroundLane):
    """A thread that runs jobs in the order in which they were submitted."""

    def __init__(self, name, node):
        super().__init__(name, node)
        self.queue = queue.SimpleQueue()
        self.retired = False
        self._idle = node.guard.idle if node.guard else set()
        self._pending = 0
        self._lock = threading.Lock()
        self.thread = threading.Thread(target=self._work, name=f"background of {name}", daemon=True)
        self.thread.start()

    def submit(self, function):
        """Run `function()` after earlier jobs; returns the ThreadJob."""
        job = ThreadJob(self, function)
        self.jobs.append(job)
        with self._lock:
            self._pending += 1
            # Before the job can be seen: a thread with work is never idle.
            self._idle.discard(self.thread.ident)
        self.queue.put(job)
        return job

    def close(self):
        """End the thread after the job in hand."""
        self.queue.put(None)

    def retire(self):
        """The run has failed: what the thread still has to do posts no message any more."""
        self.retired = True
        self.close()

    def _work(self):
        _thread.lane = self
        if self.node.gpu is not None:
            self.node.gpu.adopt()
        while True:
            with self._lock:
                if self._pending == 0:
                    self._idle.add(threading.get_ident())
            job = self.queue.get()
            if job is None:
                self._idle.discard(threading.get_ident())  # another thread may get this number
                return
            try:
                job.perform()
            except Broken as error:  # it was raised between two lines of perform()
                job.error = job.error or error
            job.over.set()
            with self._lock:
                self._pending -= 1


class ThreadJob(BackgroundJob):
    """A function under way in a lane."""

    def __init__(self, lane, function):
        super().__init__(lane, function)
        self.over = threading.Event()

    @property
    def ended(self):
        """Whether the function has ended."""
        return self.over.is_set()

    def needs(self, guard):
        """What a thread that waits for this job lacks: the end of the lane's thread."""
        return [Need(thread=self.lane.thread.ident)]

    def _await(self):
        if self.ended:
            return
        guard = self.lane.node.guard
        if guard is None:
            self.over.wait()
            return
        guard.block(self)
        try:
            await_event(self.over, guard.check)
        finally:
            guard.unblock()
