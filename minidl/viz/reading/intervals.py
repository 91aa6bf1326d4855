"""When was a thread of a rank computing, waiting, or under way with a message?

    posted     waited     met        done
      |----------|//////////|==========|      under way: posted to done    waiting: waited to done
                  a side is   the message     met: every side has posted
                  late        moves

A stretch is a pair (start, end) in seconds, and lanes are {rank: stretches} or
{(rank, thread): stretches}. A wait that never ended lasts to the end of the picture.
Left out: drawing, and why a rank waited.
"""

from collections import defaultdict, deque
from typing import NamedTuple

from minidl.trace import Event
from minidl.viz.reading.matching import all_posted, matching_key


def extent(trace):
    """(start, end): the first and last recorded times, and a tenth more if a wait never ended."""
    if not len(trace):
        return 0.0, 1.0
    columns = trace.columns
    start = min(columns["posted"])
    times = columns["posted"] + columns["waited"] + columns["done"]
    # filter() drops None, for what did not happen.
    end = max(filter(None, times), default=start)
    if None in columns["done"]:
        # some room, to show that the wait goes on
        end += 0.1 * (end - start) or 1e-3
    if end == start:
        end += 1e-6
    return start, end


def window(trace, since, until):
    """(start, end) of the part from `since` to `until` seconds; None stands for the extent's own.

    Raises ValueError if nothing lies between them.
    """
    start, end = extent(trace)
    if since is not None:
        start = since
    if until is not None:
        end = until
    if not end > start:
        raise ValueError(f"until={end} does not lie after since={start}")
    return start, end


# What a thread does.


def threads_of(trace):
    """The (rank, thread) pairs that have events, in order."""
    return sorted(set(zip(trace.columns["rank"], trace.columns["thread"])))


def main_threads(trace):
    """{rank: the thread that ran the function}: the one with the lowest number."""
    return dict(reversed(threads_of(trace)))  # the lowest one is the last that is set


def main_events(trace):
    """The events of the main threads: no other thread keeps a rank from going on."""
    threads = main_threads(trace)
    return [event for event in trace if event.thread == threads[event.rank]]


def done_by(event, end):
    """When the event was done; `end` if it never was."""
    return end if event.done is None else event.done


def stretches(trace, activity, end):
    """{(rank, thread): stretches} of one activity: "computing", "waiting" or "under way"."""
    lanes = defaultdict(list)
    for event in trace:
        begin = _begin(event, activity)
        if begin is not None:
            lanes[event.rank, event.thread].append((begin, done_by(event, end)))
    if activity == "computing" and trace.computing:
        start = extent(trace)[0]
        for rank, thread in main_threads(trace).items():
            # What a Device charged, as far as the picture goes.
            charged = trace.computing.get(rank, ())
            lanes[rank, thread] += clip(charged, start, end)
    return {lane: union(pieces) for lane, pieces in lanes.items()}


def _begin(event, activity):
    """When the event began to be this activity, or None if it never was."""
    if event.is_marker:
        computes = activity == "computing" and event.kind == "compute"
        return event.posted if computes else None
    begins = {"waiting": event.waited, "under way": event.posted}
    return begins.get(activity)


def main_lanes(trace, activity, end):
    """{rank: stretches} of one activity of each rank's main thread."""
    lanes = stretches(trace, activity, end)
    mains = main_threads(trace).items()
    return {lane[0]: lanes[lane] for lane in mains if lane in lanes}


def waited(trace):
    """How long each rank's main thread waited: a list of seconds, one entry a rank."""
    waiting = main_lanes(trace, "waiting", extent(trace)[1])
    return [total(waiting.get(rank, ())) for rank in range(trace.world_size)]


class SplitWait(NamedTuple):
    """A thread's wait for the other sides of a message or a collective, in seconds."""

    event: Event
    waited: float  # the wait begins
    met: float  # every side has posted: before it a side is late, after it the message moves
    done: float  # the wait ends


def split_waits(trace, end, main=True):
    """The waits of the main threads, or those of the others; a wait without end lasts to `end`.

    `met` is `end`, too, if the wait never ended.
    """
    threads = main_threads(trace)
    # A wait is split where the last side posted: before, a rank is late; after, the message moves.
    posted = all_posted(trace)
    waits = []
    for event in trace:
        on_main = event.thread == threads[event.rank]
        if event.is_marker or event.waited is None or on_main != main:
            continue
        met = end
        if event.done is not None:
            met = min(max(event.waited, posted[matching_key(event)]), event.done)
        waits.append(SplitWait(event, event.waited, met, done_by(event, end)))
    return waits


def late_and_under_way(trace, end=None):
    """(late, under way): {rank: stretches} of the main threads, each wait split where it was met.

    late: a side has not posted; under way: all have. A wait that never ended is late up to `end`,
    or left out if that is None.
    """
    late = defaultdict(list)
    under_way = defaultdict(list)
    for wait in split_waits(trace, end):
        if wait.done is not None:
            late[wait.event.rank].append((wait.waited, wait.met))
            under_way[wait.event.rank].append((wait.met, wait.done))
    for rank in late:
        under_way[rank] = union(under_way[rank], split_touching=True)
        # While one message moves, the rank does not wait for a late one.
        late[rank] = without(union(late[rank]), under_way[rank])
    return late, under_way


# Arithmetic: stretches in, stretches out.


def union(stretches, split_touching=False):
    """The same seconds, as stretches that do not overlap, in order.

    split_touching: stretches that only touch stay two, so that messages can be counted.
    """
    joined = []
    # A little less than the end: stretches that touch in spite of rounding stay two.
    slack = 1e-12 if split_touching else 0.0
    for start, end in sorted(stretches):
        if joined:
            first, last = joined[-1]
            if start <= last * (1 - slack):
                joined[-1] = first, max(last, end)
                continue
        if end > start:
            joined.append((start, end))
    return joined


def total(stretches):
    """How many seconds the stretches last."""
    return sum((end - start for start, end in stretches), 0.0)


def clip(stretches, start, end):
    """What of the stretches lies between start and end."""
    return [
        (max(low, start), min(high, end)) for low, high in stretches if high > start and low < end
    ]


def without(stretches, others):
    """What of the stretches lies in none of the others; both are unions."""
    remaining = []
    others = deque(others)
    for start, end in stretches:
        while others and others[0][1] <= start:
            others.popleft()
        # The last of those that cut this stretch may reach into the next one, so they stay.
        for low, high in others:
            if low >= end:
                break
            if low > start:
                remaining.append((start, low))
            start = high
        if end > start:
            remaining.append((start, end))
    return remaining


def coarse(stretches, start, end, bins):
    """At most `bins` / 2 + 1 stretches: the bins of which the stretches fill half or more."""
    width = (end - start) / bins
    filled = defaultdict(float)  # seconds of each bin
    for low, high in stretches:
        # Only the bins that a stretch touches; the last one may end a little beyond by rounding.
        first = int((low - start) / width)
        last = min(bins - 1, int((high - start) / width))
        for i in range(first, last + 1):
            left = start + i * width
            right = left + width
            filled[i] += max(0.0, min(high, right) - max(low, left))
    kept = []
    for i, seconds in filled.items():
        if seconds >= width / 2:
            # It reaches a little into the next bin, so that neighbours are joined despite rounding.
            right = start + (i + 1) * width * (1 + 1e-12)
            kept.append((start + i * width, right))
    return union(kept)


def legible(lanes, start, end, most):
    """(lanes, bins): the lanes and None if `most` stretches suffice, else coarse lanes.

    They are made coarse so that about `most` stretches remain.
    """
    if sum(map(len, lanes.values())) <= most:
        return lanes, None
    # At most every other bin begins a stretch, so `most` stretches need twice as many bins.
    bins = max(20, 2 * most // len(lanes))
    joined = {}
    for lane, pieces in lanes.items():
        joined[lane] = coarse(pieces, start, end, bins)
    return joined, bins
