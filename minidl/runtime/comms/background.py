"""Work beside the computation: a lane for each communicator, and jobs in it, one after the other.

    main thread   background(f) -> BackgroundJob . . compute . . job.wait() -> what f returned
    lane          . . . . . . . . f . . . . . . . .    messages of its own, which mix with no other

A world says what a lane is: a thread (processes/lane.py), or a strand on the virtual clock
(virtual/virtual_lane.py).
"""

from contextlib import suppress
from contextvars import copy_context

from minidl.comm import Work
from minidl.runtime.words.calling import calling_place, learners_calling_place
from minidl.runtime.words.facts import Blocked


class BackgroundJob(Work):
    """A function in a lane. A world adds `_await`, which returns when the function has ended."""

    def __init__(self, lane, function):
        self.lane = lane
        self.function = function
        self.context = copy_context()  # so that what it does is recorded in the spans around it
        self.place = calling_place()
        self.own_place = learners_calling_place()
        self.result = None
        self.error = None
        self.noticed = False  # whether anybody has waited for it

    def perform(self):
        """Call the function; its error is kept for those who wait."""
        try:
            with self.lane.node.metered():
                self.result = self.context.run(self.function)
        except self.lane.passes:
            raise
        except BaseException as error:
            self.error = error
        self.function = None
        self.context = None

    def wait(self):
        """Return what the function returned, or raise what it raised."""
        self._await()
        self.noticed = True
        with suppress(ValueError):  # what it returned is now the waiter's alone to keep
            self.lane.jobs.remove(self)
        if self.error is not None:
            raise self.error
        return self.result

    def blocked(self):
        """What a thread that waits for it is blocked in."""
        return Blocked("background", self.lane.name, -1, 0, self.place, own_place=self.own_place)


class BackgroundLane:
    """What runs a communicator's background jobs, one after the other. name: of its twin."""

    passes: tuple = ()  # exceptions that end the lane and not only its job

    def __init__(self, name, node):
        self.name = name
        self.node = node
        self.jobs = []  # those that no thread has waited for

    def finish(self):
        """Wait for all jobs; raise the error of one that no thread waited for."""
        jobs = self.jobs
        self.jobs = []
        for job in jobs:
            if not (job.noticed and job.ended):
                job.wait()
