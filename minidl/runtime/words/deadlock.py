"""Who can never go on? The greatest set of threads that all wait for each other.

    rank 0, main --needs a post by--> rank 1          all threads of rank 1 stuck?  then so is this one
    rank 0, main --needs the end of--> thread 7       of its own rank

A thread that waits for several things needs all of them, so one dead need is enough to doom it. A
need of another rank is dead when no thread of that rank can act any more: each is doomed, or the rank
has finished. Assume that every blocked thread is doomed, take back those whose needs are all alive,
repeat: what remains is the greatest fixed point. Pure: it knows no process. Chandy, Misra & Haas 1983,
"Distributed deadlock detection", sec. 2 (their AND model), with whole ranks as resources.
"""

from typing import NamedTuple


class Need(NamedTuple):
    """What a blocked thread still lacks: a post by `rank`, or the end of a `thread` of its own rank."""

    rank: int
    thread: int | None = None
    what: str = ""


def doomed(threads):
    """The (rank, thread) pairs that can never go on.

    threads: rank -> {thread -> None while it runs, else the list of its Needs}. A finished rank has
    no threads. Needs that are met must have been left out: a thread without a Need can go on.
    """
    stuck = {(rank, t) for rank, own in threads.items() for t, needs in own.items() if needs}
    while True:
        saved = {
            (rank, t)
            for rank, t in stuck
            if not any(_dead(need, rank, stuck, threads) for need in threads[rank][t])
        }
        if not saved:
            return stuck
        stuck -= saved


def _dead(need, own_rank, stuck, threads):
    if need.thread is not None:
        return (own_rank, need.thread) in stuck
    return all((need.rank, t) in stuck for t in threads[need.rank])


def cycle(edges):
    """A shortest way from some node back to itself along `edges` (node -> nodes), or [] without one."""
    best = []
    for start in edges:
        paths, seen = [[start]], {start}
        while paths:
            path = paths.pop(0)
            for following in edges.get(path[-1], ()):
                if following == start and (not best or len(path) < len(best)):
                    best = path
                if following not in seen:
                    seen.add(following)
                    paths.append([*path, following])
    return best
