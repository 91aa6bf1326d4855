"""Background work of a caged rank: a thread that runs only while the judge lets it.

comm.background(fn, ...)  --[background ...]-->  judge: puts it into its lane, and when its turn comes
                          <--[go]---             the thread here runs fn; its questions go to a relay of its own
"""

import os
import queue
import threading

import torch

from minidl.comm import Work
from minidl.runtime.words.calling import here
from minidl_grader.judge.cage.channel import Closed
from minidl_grader.judge.cage.line import Line, Over


class CagedJob(Work):
    """A function that runs in a lane."""

    def run(self):
        """Do the work; called in the lane."""
        with self.side.metered():
            self.result = self.function()
        self.function = None

    def __init__(self, side, number, function):
        self.side, self.number, self.function, self.result, self.error = (
            side,
            number,
            function,
            None,
            None,
        )

    def wait(self):
        try:
            self.side.line().ask("join", self.number, list(here()))
        except Exception as told:
            raise self.error if self.error is not None else told
        self.side.jobs.pop(self.number, None)  # what it returned is now the waiter's alone to keep
        return self.result


class Lane:
    """A thread for background work, started when first needed. It runs only while the judge lets it."""

    def __init__(self, channel, describe):
        self.channel, self.describe, self.jobs, self.thread = (
            channel,
            describe,
            queue.SimpleQueue(),
            None,
        )

    def submit(self, job):
        """Run a job after those that are there already; returns it."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._work, name="background", daemon=True)
            self.thread.start()
        self.jobs.put(job)
        return job

    def _work(self):
        torch.set_num_threads(1)
        while True:
            self._do(self.jobs.get())

    def _do(self, job):
        line = job.side.here.line = Line(job.side, self.channel)
        try:
            _, *news = self.channel.receive()  # the judge says: now
            if news:
                line.hear(*news)
            job.run()
            line.tell(["end"])
        except Over:
            line.tell(["over"])
        except Closed:
            os._exit(0)
        except BaseException as error:
            job.error = error
            line.tell(["failed", *self.describe(error), None])
