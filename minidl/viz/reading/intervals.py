"""When was a thread of a rank waiting, computing, or under way with a message?

    posted     waited            done
      |----------|=================|      under way: posted to done; waiting: waited to done
      a wait that never ended lasts to the end of the picture

Stretches are (start, end) in seconds. Overlapping ones are joined, so that no second counts twice.
Left out: drawing, and why somebody waited.
"""

from collections import defaultdict

NO_WAIT = ("compute", "span")


def extent(trace):
    """When the picture begins and ends: the first and last recorded times, a tenth more when a wait never ended."""
    columns = trace.columns
    if not len(trace):
        return 0.0, 1.0
    start = min(columns["posted"])
    end = max(
        max(times)
        for times in zip(
            columns["posted"],
            (t or 0.0 for t in columns["waited"]),
            (t or 0.0 for t in columns["done"]),
        )
    )
    if None in columns["done"]:
        end += 0.1 * (end - start) or 1e-3
    return start, end if end > start else start + 1e-6


def union(stretches):
    """The same seconds, as stretches that do not overlap, in order."""
    joined = []
    for start, end in sorted(stretches):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        elif end > start:
            joined.append([start, end])
    return [tuple(stretch) for stretch in joined]


def total(stretches):
    """How many seconds the stretches last."""
    return sum(end - start for start, end in stretches)


def stretches(trace, doing, end):
    """{(rank, thread): stretches} of "waiting", "computing" or "under way"."""
    found = defaultdict(list)
    columns = (
        trace.columns[name] for name in ("rank", "thread", "kind", "posted", "waited", "done")
    )
    for rank, thread, kind, posted, waited, done in zip(*columns):
        done = end if done is None else done
        if doing == "computing" and kind == "compute":
            found[rank, thread].append((posted, done))
        elif doing == "under way" and kind not in NO_WAIT:
            found[rank, thread].append((posted, done))
        elif doing == "waiting" and kind not in NO_WAIT and waited is not None:
            found[rank, thread].append((waited, done))
    for rank, thread in (
        main_threads(trace).items() if doing == "computing" and trace.computing else ()
    ):
        begin = extent(trace)[0]  # what a Device charged, as far as the picture goes
        found[rank, thread] += [
            (max(low, begin), min(high, end))
            for low, high in trace.computing.get(rank, ())
            if low < end and high > begin
        ]
    return {who: union(when) for who, when in found.items()}


def main_threads(trace):
    """{rank: the thread that ran the function}: the one with the lowest number."""
    threads = {}
    for rank, thread in zip(trace.columns["rank"], trace.columns["thread"]):
        threads[rank] = min(thread, threads.get(rank, thread))
    return threads


def waited(trace):
    """How long each rank's main thread waited: a list of seconds, one entry a rank."""
    threads, waiting = main_threads(trace), stretches(trace, "waiting", extent(trace)[1])
    return [total(waiting.get((rank, threads.get(rank)), ())) for rank in range(trace.world_size)]


def coarse(pieces, start, end, bins):
    """At most `bins` / 2 + 1 stretches: those bins of the time of which the pieces fill half or more."""
    width, filled = (end - start) / bins, defaultdict(float)
    for low, high in pieces:
        first, last = int((low - start) / width), min(bins - 1, int((high - start) / width))
        for i in range(first, last + 1):
            filled[i] += max(0.0, min(high, start + (i + 1) * width) - max(low, start + i * width))
    full = [
        (start + i * width, start + (i + 1) * width * (1 + 1e-12))
        for i, seconds in sorted(filled.items())
        if seconds >= width / 2
    ]
    return union(full)


def legible(lanes, start, end, most):
    """(lanes, bins): the lanes as they are and None, or each made coarse so that about `most` stretches remain."""
    if sum(map(len, lanes.values())) <= most:
        return lanes, None
    bins = max(20, 2 * most // len(lanes))
    return {who: coarse(pieces, start, end, bins) for who, pieces in lanes.items()}, bins
