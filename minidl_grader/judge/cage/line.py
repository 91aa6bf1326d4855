"""What a caged rank's threads ask the judge, and how the answers come.

    note, note, ask   --[start ..., span ..., wait 7]-->   judge: relay.py
                      <--[is, ...]---                      raise, over: what the learner's line then sees

Virtual time moves in the judge only when a rank waits, so what is started may go out together with the next question, and
one message each way is enough for an exchange. On a meter an answer also brings the time, and which messages have met their
other side since the last one: from then on what came is held here, and what went is not.
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
        self.side, self.channel, self.pending, self.clock = side, channel, [], 0.0

    def note(self, *request):
        """Send this together with the next question."""
        self.pending.append(list(request))
        if len(self.pending) >= MOST_PENDING:
            self.tell()

    def tell(self, *last):
        """Send what is noted, and `last`."""
        requests, self.pending = [*self.pending, *last], []
        try:
            self.channel.send(*requests)
        except Closed:
            os._exit(0)

    def ask(self, *request):
        """Send what is noted and this question; returns the answer. Raises what the judge says is to be raised."""
        return self._ask(request) if self.side.meter is None else unseen(self._ask, request)

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
        """On a meter an answer also brings the time, and what has become of messages: what came counts from now on."""
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
    """What the communicators of one call share. works, jobs: those under way, on a meter; else nobody needs them."""

    def __init__(self, main, lanes, rank, world_size, metering=None):
        super().__init__(rank, world_size)
        self.faults = Faults((), rank, die=None)  # faults strike in the judge's world
        self.record = CagedRecord(self)
        self.works, self.jobs, self.meter, self.buffered = {}, {}, None, False
        if metering is not None:
            charged, self.buffered = metering
            self.meter = Meter(
                lambda: self.line().clock,
                (lambda flops: self.line().ask("flops", flops)) if charged else None,
            )
        self.lanes = lanes
        self.here = threading.local()
        self.here.line, self.main, self.count, self.sending = (
            Line(self, main),
            threading.get_ident(),
            0,
            {},
        )

    def metered(self):
        """A context manager: what this thread does inside is metered, if anything is."""
        return nullcontext() if self.meter is None else self.meter.reading()

    def line(self):
        """The line of the thread that asks."""
        line = getattr(self.here, "line", None)
        if line is None:
            raise RuntimeError(
                "only the rank's own thread and comm.background may use comm: a thread of your own has no place on the virtual clock"
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
