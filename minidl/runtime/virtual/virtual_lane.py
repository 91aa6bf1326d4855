"""Background work of a virtual rank: a strand of its own for each communicator.

The lane's clock goes on from where it was, or from when the job was handed over if that is later; a
strand that waits for a job goes on at the job's end. The counterpart of processes/lane.py.
"""

from minidl.runtime.comms.background import BackgroundJob, BackgroundLane
from minidl.runtime.comms.faults import Crashed
from minidl.runtime.comms.node import Broken
from minidl.runtime.words.deadlock import Need


class VirtualLane(BackgroundLane):
    """A strand that runs a communicator's background jobs, one after the other."""

    passes = (Broken, Crashed)

    def __init__(self, name, node):
        super().__init__(name, node)
        self.queue = []
        order = (node.rank << 20) + 1 + len(node.lanes)
        self.strand = node.strands.spawn(node.rank, order, self._work, node.now())

    def submit(self, function):
        """Run `function()` after earlier jobs; returns the job."""
        job = VirtualJob(self, function)
        self.jobs.append(job)
        self.queue.append(job)
        if self.strand.idle:
            self.strand.idle = False
            self.node.strands.ready(self.strand, max(self.strand.clock, self.node.now()))
        return job

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


class VirtualJob(BackgroundJob):
    """A function in a virtual lane. end: when it ended, in virtual seconds; None before that."""

    waiter = None
    end = None

    @property
    def ended(self):
        """Whether the function has ended."""
        return self.end is not None

    def run(self, strand):
        """Do the work; called in the lane's strand."""
        self.perform()
        self.end = strand.clock
        if self.waiter is not None:
            self.lane.node.strands.ready(self.waiter, max(self.waiter.clock, self.end))

    def needs(self):
        """The Need of a thread that waits for it: the end of the lane's strand."""
        return None if self.ended else [Need(thread=self.lane.strand.order)]

    def _await(self):
        node = self.lane.node
        strand = node.strand()
        if not self.ended:
            node.block(strand, self)
        elif self.end > strand.clock:
            strand.clock = self.end
            node.strands.pause(strand)
