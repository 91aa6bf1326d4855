"""Background work of a caged rank: a thread that runs only while the judge lets it.

comm.background(fn, ...)  --[background ...]-->  judge: it waits in the Comm's lane
                          <--[go]---             its turn: the lane's thread here runs fn,
                          --[start ..., ...]-->  and asks a relay of its own
"""

import os
import queue
import socket
import threading

import torch

from minidl.comm import Work
from minidl.runtime.words.calling import calling_place
from minidl_grader.judge.cage.channel import Channel, Closed
from minidl_grader.judge.cage.line import Line, Over


class CagedJob(Work):
    """A function that runs in a lane. result, error: what it returned or raised."""

    def __init__(self, side, number, function):
        self.side = side
        self.number = number
        self.function = function
        self.result = None
        self.error = None

    def run(self):
        """Do the work; called in the lane."""
        with self.side.metered():
            self.result = self.function()
        self.function = None

    def wait(self):
        try:
            self.side.line().ask("join", self.number, list(calling_place()))
        except Exception:
            if self.error is not None:  # the judge has its name and words, the error itself is here
                raise self.error from None
            raise
        self.side.jobs.pop(self.number, None)  # from now on only the caller holds the result
        return self.result


class Lanes:
    """The lanes of a rank, by number. When the judge opens one, a connection arrives at the door.

    describe  makes [type, message, lines] of an exception
    """

    def __init__(self, door, describe):
        self.door, self.describe, self.open = door, describe, []

    def __getitem__(self, number):
        while len(self.open) <= number:
            _, [descriptor], _, _ = socket.recv_fds(self.door, 1, 1)
            channel = Channel(socket.socket(fileno=descriptor))
            self.open.append(Lane(channel, self.describe))
        return self.open[number]


class Lane:
    """A thread for background work, started when first needed.

    It runs only while the judge lets it.
    """

    def __init__(self, channel, describe):
        self.channel = channel
        self.describe = describe
        self.jobs = queue.SimpleQueue()
        self.thread = None

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
        line = Line(job.side, self.channel)
        job.side.local.line = line
        try:
            _, *news = self.channel.receive()  # the judge says: go
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
