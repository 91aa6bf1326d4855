"""What does a rank do at this moment: compute, wait for another rank, or move a message?

    waited          both posted        done
      |////////////////|=================|        // waiting    == message under way
                                                  before and between: computing; after its last event: done

Reads the events of main threads only. Left out: background threads, which never keep a rank from going on.
"""

import math
from collections import defaultdict

from minidl.viz.pictures.cost import meeting
from minidl.viz.reading.intervals import main_threads


class Doing:
    """What each rank's main thread does at a moment."""

    def __init__(self, trace, ready):
        threads = main_threads(trace)
        self.last, self.waits, self.ready = [-math.inf] * trace.world_size, defaultdict(list), ready
        self.busy = []
        for e in trace:
            if e.thread != threads[e.rank]:
                continue
            over = math.inf if e.done is None else e.done
            self.last[e.rank] = max(self.last[e.rank], over)
            if e.kind == "compute":
                self.busy.append((e.posted, over))
            elif e.kind != "span" and e.waited is not None:
                self.waits[e.rank].append((e.waited, over, e))
        for waits in self.waits.values():
            waits.sort(key=lambda wait: wait[:2])
        self.seen = [0] * trace.world_size

    def computes(self, low, high):
        """Does any rank compute for a good part of the time between low and high?"""
        return high > low and any(
            min(b, high) - max(a, low) > 0.5 * (high - low) for a, b in self.busy
        )

    def now(self, rank, time):
        """("computing", "message under way", "waiting" or "done"; the same in words that name the peer)."""
        current = self._current(rank, time)
        if not current:
            return ("done", "done") if time >= self.last[rank] else ("computing", "computes")
        moving = [
            e
            for e in current
            if e.done is not None and time >= self.ready.get(meeting(e), math.inf)
        ]
        if moving:
            kinds = {e.kind for e in moving}
            words = [
                word for kind, word in (("send", "sends"), ("recv", "receives")) if kind in kinds
            ]
            return "message under way", " and ".join(words) or f"in {moving[0].kind}"
        peers = sorted({e.peer for e in current if e.peer >= 0})
        return "waiting", f"waits for {peers[0]}" if len(peers) == 1 else "waits"

    def _current(self, rank, time):
        waits, at = self.waits[rank], self.seen[rank]
        while at and waits[at - 1][0] > time:
            at -= 1
        while at < len(waits) and waits[at][0] <= time:
            at += 1
        self.seen[rank] = at
        return [e for a, b, e in waits[max(0, at - 64) : at] if a <= time < b]
