"""What does a rank do at this moment: compute, wait for another rank, or move a message?

    waited          met               done
      |////////////////|=================|      // waiting    == message under way
                                                before and between: computing; after the last: done

Reads the events of main threads only: a background thread never keeps a rank from going on.
"""

import math
from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple

from minidl.viz.reading.intervals import (
    clip,
    done_by,
    main_events,
    main_lanes,
    split_waits,
    total,
)

VERBS = {"send": "sends", "recv": "receives"}
OVERLAPPING = 64  # waits of one rank at the same time


class RankState(NamedTuple):
    """What a rank does at a moment."""

    name: str  # "computing", "message under way", "waiting" or "done"
    words: str  # the same for a reader, with the peer if there is one: "waits for 2"


class RankStates:
    """What each rank's main thread does at any moment of a run."""

    def __init__(self, trace):
        self.ended = [-math.inf] * trace.world_size  # when each rank's last event was done
        for event in main_events(trace):
            done = done_by(event, math.inf)
            self.ended[event.rank] = max(self.ended[event.rank], done)
        self.computing = main_lanes(trace, "computing", math.inf)
        # A rank can have several waits at once: a send and a receive of one exchange.
        self.waits = [[] for _ in self.ended]
        waits = split_waits(trace, end=math.inf)
        for wait in sorted(waits, key=attrgetter("waited", "done")):
            self.waits[wait.event.rank].append(wait)

    def computes(self, low, high):
        """Whether any rank computes for more than half of the time between low and high."""
        half = 0.5 * (high - low)
        for lane in self.computing.values():
            if total(clip(lane, low, high)) > half > 0:
                return True
        return False

    def at(self, rank, time):
        """The RankState of a rank at this second."""
        # No wait: the rank computes, or has nothing left to do.
        current = self._waits_at(rank, time)
        if not current:
            if time >= self.ended[rank]:
                return RankState("done", "done")
            return RankState("computing", "computes")
        moving = [wait.event.kind for wait in current if time >= wait.met]
        if moving:
            verbs = [verb for kind, verb in VERBS.items() if kind in moving]
            words = " and ".join(verbs) or f"in {moving[0]}"
            return RankState("message under way", words)
        peers = {wait.event.peer for wait in current} - {-1}
        words = "waits"
        if len(peers) == 1:
            words = f"waits for {peers.pop()}"
        return RankState("waiting", words)

    def _waits_at(self, rank, time):
        """The waits in which the rank is at this second."""
        waits = self.waits[rank]
        # A film asks for thousands of moments, so only the latest waits are searched.
        begun = bisect_right(waits, time, key=attrgetter("waited"))
        first = max(0, begun - OVERLAPPING)
        return [wait for wait in waits[first:begun] if time < wait.done]
