"""When was a thread of a rank computing, waiting, or under way with a message?

    posted     waited     met        done
      |----------|//////////|==========|      under way: posted to done    waiting: waited to done
                  a side is   the message     met: every side has posted
                  late        moves

A stretch is a pair (start, end) in seconds, and lanes are {rank: stretches} or
{(rank, thread): stretches}. A wait that never ended lasts to the end of the picture.
Left out: drawing, and why a rank waited.
"""

from collections import defaultdict
from typing import NamedTuple

from minidl.trace import Event
from minidl.viz.reading.matching import all_posted, matching_key


def extent(trace):
    """(start, end): the first and last recorded times, and a tenth more if a wait never ended."""
    if not len(trace):
        return 0.0, 1.0
    columns = trace.columns
    start = min(columns["posted"])
    # filter() drops None, for what did not happen.
    end = max(filter(None, columns["posted"] + columns["waited"] + columns["done"]), default=start)
    if None in columns["done"]:
        end += 0.1 * (end - start) or 1e-3
    if end == start:
        end = start + 1e-6
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


def stretches(trace, activity, end):
    """{(rank, thread): stretches} of one activity: "computing", "waiting" or "under way"."""
    lanes = defaultdict(list)
    for event in trace:
        begin = _begin(event, activity)
        if begin is not None:
            done = end if event.done is None else event.done
            lanes[event.rank, event.thread].append((begin, done))
    if activity == "computing" and trace.computing:
        start = extent(trace)[0]
        for rank, thread in main_threads(trace).items():
            # What a Device charged, as far as the picture goes.
            lanes[rank, thread] += clip(trace.computing.get(rank, ()), start, end)
    return {lane: union(pieces) for lane, pieces in lanes.items()}


def _begin(event, activity):
    """When the event began to be this activity, or None if it never was."""
    if activity == "computing" and event.kind == "compute":
        return event.posted
    if activity == "under way" and not event.is_marker:
        return event.posted
    if activity == "waiting" and not event.is_marker:
        return event.waited
    return None


def main_lanes(trace, activity, end):
    """{rank: stretches} of one activity of each rank's main thread."""
    lanes = stretches(trace, activity, end)
    return {
        rank: lanes[rank, thread]
        for rank, thread in main_threads(trace).items()
        if (rank, thread) in lanes
    }


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
    posted = all_posted(trace)
    waits = []
    for event in trace:
        on_main = event.thread == threads[event.rank]
        if event.is_marker or event.waited is None or on_main != main:
            continue
        done = end
        met = end
        if event.done is not None:
            done = event.done
            met = min(max(event.waited, posted[matching_key(event)]), done)
        waits.append(SplitWait(event, event.waited, met, done))
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
    slack = 1e-12 if split_touching else 0.0
    for start, end in sorted(stretches):
        if joined and start <= joined[-1][1] * (1 - slack):
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        elif end > start:
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
    left = []
    at = 0  # the first of the others that has not ended
    for start, end in stretches:
        while at < len(others) and others[at][1] <= start:
            at += 1
        i = at  # the last of them may reach into the next stretch, so `at` stays
        while i < len(others) and others[i][0] < end:
            low, high = others[i]
            if low > start:
                left.append((start, low))
            start = max(start, high)
            i += 1
        if end > start:
            left.append((start, end))
    return left


def coarse(stretches, start, end, bins):
    """At most `bins` / 2 + 1 stretches: the bins of which the stretches fill half or more."""
    width = (end - start) / bins
    filled = defaultdict(float)
    for low, high in stretches:
        first = int((low - start) / width)
        last = min(bins - 1, int((high - start) / width))
        for i in range(first, last + 1):
            left = start + i * width
            filled[i] += max(0.0, min(high, left + width) - max(low, left))
    # A bin reaches a little into the next one, so that neighbours are joined in spite of rounding.
    return union(
        (start + i * width, start + (i + 1) * width * (1 + 1e-12))
        for i, seconds in filled.items()
        if seconds >= width / 2
    )


def legible(lanes, start, end, most):
    """(lanes, bins): the lanes and None if `most` stretches suffice, else coarse lanes.

    They are made coarse so that about `most` stretches remain.
    """
    if sum(map(len, lanes.values())) <= most:
        return lanes, None
    # At most every other bin begins a stretch, so `most` stretches need twice as many bins.
    bins = max(20, 2 * most // len(lanes))
    return {lane: coarse(pieces, start, end, bins) for lane, pieces in lanes.items()}, bins
