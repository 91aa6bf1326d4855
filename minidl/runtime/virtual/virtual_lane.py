"""Background work of a virtual rank: a strand of its own for each communicator, one job after the other.

The lane's clock goes on from where it was, or from when the job was handed over if that is later; who
waits for a job wakes at the job's end. The counterpart of lane.py on the virtual clock.
"""

from contextlib import suppress
from contextvars import copy_context

from minidl.comm import Work
from minidl.runtime.comms.faults import Crashed
from minidl.runtime.processes.guard import Broken
from minidl.runtime.words.calling import here


class VirtualLane:
    """A strand that runs a communicator's background jobs, one after the other."""

    def __init__(self, node, name):
        self.node, self.name, self.jobs, self.queue = node, name, [], []
        clock, order = node.strand().clock, (node.rank << 20) + 1 + len(node.lanes)
        self.strand = node.strands.spawn(node.rank, order, self._work, clock)

    def submit(self, function):
        """Run `function()` after what is already there; returns the job."""
        job = VirtualJob(self, function)
        self.jobs.append(job)
        self.queue.append(job)
        if self.strand.idle:
            self.strand.idle = False
            self.node.strands.ready(self.strand, max(self.strand.clock, self.node.strand().clock))
        return job

    def finish(self):
        """Wait for all jobs; raise the error of one that nobody waited for."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            if not (job.noticed and job.ended):
                job.wait()

    def _work(self, strand):
        while True:
            while not self.queue:
                strand.idle = True
                self.node.strands.block(strand)
            try:
                self.queue.pop(0).run(strand)
            except Crashed as crash:  # the rank dies with all of its strands
                self.node.run.crashed(self.node.rank, crash)
                return


class VirtualJob(Work):
    """A function in a virtual lane."""

    def __init__(self, lane, function):
        self.lane, self.function, self.context = lane, function, copy_context()
        self.result = self.error = self.waiter = None
        self.ended, self.noticed, self.place = False, False, here()

    def run(self, strand):
        """Do the work; called in the lane's strand."""
        try:
            with self.lane.node.metered():
                self.result = self.context.run(self.function)
        except (Broken, Crashed):
            raise
        except BaseException as error:
            self.error = error
        self.function = self.context = None
        self.ended, self.end = True, strand.clock
        if self.waiter is not None:
            self.lane.node.strands.ready(self.waiter, max(self.waiter.clock, self.end))

    def wait(self):
        node = self.lane.node
        strand = node.strand()
        if not self.ended:
            self.waiter, strand.waiting = strand, self
            try:
                node.strands.block(strand)
            finally:
                self.waiter = strand.waiting = None
        elif self.end > strand.clock:
            strand.clock = self.end
            node.strands.pause(strand)
        self.noticed = True
        with suppress(ValueError):  # what it returned is now the waiter's alone to keep
            self.lane.jobs.remove(self)
        if self.error is not None:
            raise self.error
        return self.result

    def met(self):
        """Is it over?"""
        return self.ended

    def in_words(self):
        """(kind, comm, peer, number, place, leftover, size), for a report."""
        return ("background", self.lane.name, -1, 0, self.place, False, "")
