"""What a caged rank's threads ask the judge, and how answers arrive.

    note, note, ask   --[start ..., span ..., wait 7]-->   judge: relay.py
                      <--[is, ...]---                      or raise: an error at the learner's line
                                                           or over: the run has ended elsewhere

In the judge virtual time moves only while a rank waits. So what is started can be sent together
with the next question, and an exchange costs one message each way. On a meter an answer also brings
the time, and which messages have met their other side since the last answer: from then on the rank
holds what it received, and no longer holds what it sent.
"""

import os
import threading
from contextlib import nullcontext

from minidl.errors import MismatchError
from minidl.runtime.comms.faults import Faults
from minidl.runtime.comms.node import RankNode
from minidl.runtime.metering.device import unseen
from minidl.runtime.metering.meter import Meter
from minidl_grader.judge.cage.channel import Closed

KNOWN = {
    kind.__name__: kind
    for kind in (ValueError, TypeError, RuntimeError, MismatchError, NotImplementedError)
}
MOST_PENDING = 64


class Over(BaseException):
    """The run has ended elsewhere; unwinds the learner's function."""


class Line:
    """One thread's connection to its relay."""

    def __init__(self, side, channel):
        self.side = side
        self.channel = channel
        self.pending = []
        self.clock = 0.0

    def note(self, *request):
        """Send this together with the next question."""
        self.pending.append(list(request))
        if len(self.pending) >= MOST_PENDING:
            self.tell()

    def tell(self, *last):
        """Send what is noted, and `last`."""
        requests = [*self.pending, *last]
        self.pending = []
        try:
            self.channel.send(*requests)
        except Closed:
            os._exit(0)

    def ask(self, *request):
        """Send what is noted and this question.

        Returns the answer. Raises the error that the judge sends.
        """
        if self.side.meter is None:
            return self._ask(request)
        return unseen(self._ask, request)  # what asking takes is not the learner's

    def _ask(self, request):
        for work in self.side.sending.values():
            work.note_changes(self)
        self.tell(list(request))
        try:
            kind, *answer = self.channel.receive()
        except Closed:
            os._exit(0)
        if kind == "over":
            raise Over
        if kind == "raise":
            raise KNOWN.get(answer[0], RuntimeError)(answer[1])
        return answer if self.side.meter is None else self.hear(*answer)

    def hear(self, clock, news, *answer):
        """Take in the time and the news of messages that an answer brings on a meter."""
        self.clock = clock
        for number, i, tensor in news:
            self.side.works[number].met(i, tensor)
        return answer


class CagedRecord:
    """In place of a Record: the judge keeps that, and is told when a span ends."""

    def __init__(self, side):
        self.side = side

    def keep(self, entry, events=1):
        """Nothing is kept here."""
        return False

    def count(self, tickets):
        """Nothing is counted here."""

    def end(self, mark, time):
        """A computation or a span has ended."""
        if mark.kind == "span":
            self.side.line().note("unspan")


class Side(RankNode):
    """What the communicators of one call share.

    lanes    threads for background work, by number;  jobs: work there that nobody has waited for
    sending  {number: CagedWork} with sends under way;  works: the same, all of them, on a meter
    meter    what this call computes and holds, or None;  buffered: is there room for every message?
    local    .line is the Line of the thread that looks
    """

    def __init__(self, main, lanes, rank, world_size, metering=None):
        super().__init__(rank, world_size)
        self.faults = Faults((), rank, die=None)  # faults strike in the judge's world
        self.record = CagedRecord(self)
        self.lanes = lanes
        self.jobs = {}
        self.sending = {}
        self.works = {}
        self.count = 0
        self.local = threading.local()
        self.local.line = Line(self, main)
        self.meter = None
        self.buffered = False
        if metering is not None:
            charged, self.buffered = metering
            self.meter = Meter(lambda: self.line().clock, self._charge if charged else None)

    def _charge(self, flops):
        self.line().ask("flops", flops)

    def metered(self):
        """A context manager: what this thread does inside is metered, if there is a meter."""
        return nullcontext() if self.meter is None else self.meter.reading()

    def line(self):
        """The line of the thread that asks."""
        line = getattr(self.local, "line", None)
        if line is None:
            raise RuntimeError(
                "only the rank's own thread and comm.background may use comm: "
                "a thread of your own has no place on the virtual clock"
            )
        return line

    def now(self):
        return self.line().ask("now", 0)[0]

    def moment(self):
        self.line()  # raises if this thread may not post
        return 0.0, 0

    def stamp(self):
        return 0.0

    def progress(self, i, n):
        """Not shown: no one watches a cage."""

    def number(self):
        """A number that nothing else has."""
        self.count += 1
        return self.count
