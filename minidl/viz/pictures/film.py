"""Which moments of a run does its film show, and what is under way in each?

    run     1  2  3  4  5  6  7  8      steps: messages that belong together
    stops   1-2   3-4   5-6   7-8  end  what the slider names; each has a few frames

On a virtual clock a frame is a moment of the run. On a real clock a step is what could happen at
once, and each message is shown as far along as the others.
Left out: where anything stands; see stage.
"""

import math
from itertools import chain
from statistics import median
from typing import NamedTuple

from minidl.viz.drawing.units import seconds_text
from minidl.viz.reading.matching import received_and_lost, started, travel_seconds
from minidl.viz.reading.states import RankStates
from minidl.viz.reading.waves import waves

FRAMES = 60  # of a film
DOTS = 2400  # dots in all frames together
SHARES = {  # frames of a stop -> how far along its messages each of them shows
    1: (0.5,),
    2: (0.2, 0.8),
    3: (0.1, 0.5, 0.9),
    4: (0.0, 0.33, 0.67, 1.0),
    5: (0.0, 0.25, 0.5, 0.75, 1.0),
}


class Instant(NamedTuple):
    """One frame of a film, before it is drawn."""

    stop: str  # its name on the slider, "" if the slider does not stop here
    words: str  # which step it is, and the time
    travelling: list  # (message, share of its way) of each message to be seen
    times: list  # each rank's time in seconds


class Film:
    """The steps of a run, and which moments of it are shown.

    steps   lists of messages
    ticks   whether the messages of a step end at the same moment
    joined  how many steps share a stop of the slider
    stops   the messages of each stop, a list a stop
    frames  how many frames a stop has
    most    how many messages a frame shows
    lost    messages that were never received
    """

    def __init__(self, trace, messages, end):
        self.n = trace.world_size
        self.end = end
        self.stopped = bool(trace.waits)
        self.states = RankStates(trace)
        received, self.lost = received_and_lost(messages)
        self.steps, self.ticks = waves(received)
        # Of more steps than frames, neighbours share a stop of the slider.
        self.joined = max(1, math.ceil(len(self.steps) / (FRAMES - 1)))
        self.stops = []
        for first in range(0, len(self.steps), self.joined):
            joined = self.steps[first : first + self.joined]
            self.stops.append(list(chain(*joined)))
        # One frame is kept for the end of the run.
        fitting = (FRAMES - 1) // max(1, len(self.stops))
        self.frames = max(1, min(max(SHARES), fitting))
        # the fewer frames, the more dots each of them may have
        self.most = max(16, DOTS // (1 + self.frames * len(self.stops)))

    def instants(self):
        """Every frame as an Instant, in order; the last one is the end of the run."""
        # Joined steps, and steps on a real clock, do not happen at one moment.
        one_clock = self.ticks and self.joined == 1
        shares = SHARES[self.frames]
        room = FRAMES - 1 - self.frames * len(self.stops)  # frames left for computations
        before = 0.0  # when the last stop ended
        for number, messages in enumerate(self.stops):
            words = f"{self.stop_name(number)} of {len(self.steps)}"
            begin = min(map(started, messages))
            end = max(message.recv.done for message in messages)
            if one_clock:
                if before < end:  # the clock does not go back: messages of two steps overlap
                    begin = max(begin, before)
                if room > 0 and self.states.computes(before, begin):
                    room -= 1
                    now = (before + begin) / 2
                    yield self._instant("", words, now, self._under_way(now, []))
            for i, share in enumerate(shares):
                stop = ""
                if i == len(shares) // 2:  # the slider stops half-way
                    stop = str(number * self.joined + 1)
                now = begin + share * (end - begin)
                # Just inside of the step: at its very ends a rank is in the next state already.
                inside = min(max(share, 0.001), 0.999)
                if one_clock:
                    travelling = self._under_way(now, messages)
                    times = [begin + inside * (end - begin)] * self.n
                else:
                    travelling = [(message, share) for message in messages]
                    times = self._own_times(messages, inside)
                yield self._instant(stop, words, now, travelling, times)
            before = end
        # The last frame shows the end: who is done, and who still waits.
        words = "the run has stopped" if self.lost or self.stopped else "the run is over"
        yield self._instant("end", words, self.end, [])

    def _instant(self, stop, words, now, travelling, times=None):
        """An Instant; without `times` it is `now` on each rank."""
        words = f"{words}\n{seconds_text(now)}"
        return Instant(stop, words, travelling, times or [now] * self.n)

    def stop_name(self, number):
        """Which steps a stop shows: "step 3", or "steps 5 to 8"."""
        first = number * self.joined + 1
        last = min(len(self.steps), first + self.joined - 1)
        if first == last:
            return f"step {first}"
        return f"steps {first} to {last}"

    def _under_way(self, now, step):
        """(message, share of its way) of all that is sent and not received, and of the step's."""
        inside = set(map(id, step))
        travelling = []
        for message in chain(*self.steps):
            if id(message) in inside or message.send.posted <= now < message.recv.done:
                travelling.append((message, self._share(message, now)))
        return travelling

    def _share(self, message, now):
        """Which share of its way a message has gone."""
        seconds = travel_seconds(message)
        if not seconds:
            return float(now >= message.recv.done)
        share = (now - started(message)) / seconds
        return min(1.0, max(0.0, share))

    def _own_times(self, step, share):
        """Each rank's time: on a real clock the messages of a step are not simultaneous."""
        own = {}
        for message in step:
            now = started(message) + share * travel_seconds(message)
            # A rank that sends and receives in this step shows what it sends.
            own[message.send.rank] = now
            own.setdefault(message.recv.rank, now)
        middle = median(own.values())
        return [own.get(rank, middle) for rank in range(self.n)]
