"""Who can never go on? The greatest set of threads that all wait for each other.

    rank 0, main --needs a post by--> rank 1             dead when all threads of rank 1 are stuck
    rank 0, main --needs a post by--> rank 1 or rank 2   dead when both ranks are
    rank 0, main --needs the end of--> thread 7          of its own rank

A thread may need several things: it needs all of them, so one dead need dooms it (AND). A need may
be met by any one of several ranks: it is dead only when none of them can act any more (OR), because
each of their threads is doomed or they have finished. Assume that every blocked thread is doomed,
take back those whose needs are all alive, repeat: what remains is the greatest fixed point. Pure:
it knows no process. Chandy, Misra & Haas 1983, "Distributed deadlock detection": their AND model
(sec. 2) and OR model (sec. 4) in one, with whole ranks as resources.
"""

from typing import NamedTuple


class Need(NamedTuple):
    """What a blocked thread lacks: a post by any one of `ranks`, or the end of a `thread`."""

    ranks: tuple = ()
    thread: int | None = None


def doomed(threads):
    """The (rank, thread) pairs that can never go on.

    threads: rank -> {thread -> None while it runs, else the list of its Needs}. A finished rank has
    no threads. Needs that are met must have been left out: a thread without a Need can go on.
    """
    stuck = {(rank, t) for rank, own in threads.items() for t, needs in own.items() if needs}
    while True:
        saved = set()
        for rank, thread in stuck:
            needs = threads[rank][thread]
            if not any(_dead(need, rank, stuck, threads) for need in needs):
                saved.add((rank, thread))
        if not saved:
            return stuck
        stuck -= saved


def _dead(need, own_rank, stuck, threads):
    if need.thread is not None:
        return (own_rank, need.thread) in stuck
    return all((rank, thread) in stuck for rank in need.ranks for thread in threads[rank])


def cycle(edges):
    """A shortest way from a node back to itself along `edges` (node -> nodes), [] without one."""
    best = []
    for start in edges:
        paths = [[start]]  # each node that can be reached from `start`, by a shortest path
        seen = {start}
        for path in paths:
            for following in edges.get(path[-1], ()):
                if following == start and (not best or len(path) < len(best)):
                    best = path
                if following not in seen:
                    seen.add(following)
                    paths.append([*path, following])
    return best
