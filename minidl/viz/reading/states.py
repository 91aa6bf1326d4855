"""What does a rank do at this moment: compute, wait for another rank, or move a message?

    waited          met               done
      |////////////////|=================|      // waiting    == message under way
                                                before and between: computing; after the last: done

Reads the events of main threads only: a background thread never keeps a rank from going on.
"""

import math
from bisect import bisect_right
from typing import NamedTuple

from minidl.viz.reading.intervals import main_threads, meetings

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
        self.computations = []
        self.meetings = [[] for _ in range(trace.world_size)]
        threads = main_threads(trace)
        for event in trace:
            if event.thread == threads[event.rank]:
                done = math.inf if event.done is None else event.done
                self.ended[event.rank] = max(self.ended[event.rank], done)
                if event.kind == "compute":
                    self.computations.append((event.posted, done))
        for meeting in meetings(trace, end=math.inf):
            self.meetings[meeting.event.rank].append(meeting)
        for own in self.meetings:
            own.sort(key=lambda meeting: (meeting.waited, meeting.done))

    def computes(self, low, high):
        """Whether any rank computes for more than half of the time between low and high."""
        half = 0.5 * (high - low)
        return half > 0 and any(
            min(end, high) - max(start, low) > half for start, end in self.computations
        )

    def at(self, rank, time):
        """The RankState of a rank at this second."""
        current = self._meetings_at(rank, time)
        if not current:
            if time >= self.ended[rank]:
                return RankState("done", "done")
            return RankState("computing", "computes")
        moving = [meeting.event.kind for meeting in current if time >= meeting.met]
        if moving:
            verbs = [verb for kind, verb in VERBS.items() if kind in moving]
            return RankState("message under way", " and ".join(verbs) or f"in {moving[0]}")
        peers = {meeting.event.peer for meeting in current if meeting.event.peer >= 0}
        if len(peers) == 1:
            return RankState("waiting", f"waits for {peers.pop()}")
        return RankState("waiting", "waits")

    def _meetings_at(self, rank, time):
        """The Meetings in which the rank is at this second."""
        own = self.meetings[rank]
        begun = bisect_right(own, time, key=lambda meeting: meeting.waited)
        return [
            meeting for meeting in own[max(0, begun - OVERLAPPING) : begun] if time < meeting.done
        ]
