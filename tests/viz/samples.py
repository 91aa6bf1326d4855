"""Traces made by hand, for pictures that need no run: who did what at which second is known.

ring(4)        a ring all-reduce of 4 ranks: 2 (N - 1) messages a rank, rank 2 is slow
deadlock()     all ranks receive first
unfinished()   one message that nobody received
background(2)  a bucket travels on thread 1 while thread 0 computes
crowd(64)      50,000 events of random messages
sizes()        messages of many sizes whose times scatter around alpha + beta * nbytes
"""

import random

from minidl.trace import Event, Trace, Wait


class Maker:
    """Collects events and numbers them as a recorder does."""

    def __init__(self, world_size):
        self.world_size, self.events, self.counts = world_size, [], {}

    def add(
        self,
        rank,
        kind,
        posted,
        waited=None,
        done=None,
        peer=-1,
        nbytes=0,
        thread=0,
        comm="world",
        span="",
        line="In [3], line 4",
        fate="delivered",
    ):
        """One event; returns it."""
        key = (rank, kind, peer, comm)
        number = self.counts[key] = self.counts.get(key, -1) + 1
        seq = (
            sum(1 for e in self.events if e.rank == rank)
            if self.world_size < 32
            else len(self.events)
        )
        moves = kind not in ("compute", "span")
        shape, dtype = ((nbytes // 4,), "float32") if moves else ((), "")
        self.events.append(
            Event(
                rank,
                thread,
                seq,
                kind,
                comm,
                peer,
                number,
                shape,
                dtype,
                nbytes,
                posted,
                waited,
                done,
                span,
                line,
                fate,
            )
        )
        return self.events[-1]

    def message(self, source, to, sent, taken, done, nbytes=16, **more):
        """A send posted at `sent` and a receive at `taken`; both wait at once and end at `done`."""
        self.add(source, "send", sent, sent, done, peer=to, nbytes=nbytes, **more)
        self.add(to, "recv", taken, taken, done, peer=source, nbytes=nbytes, **more)

    def trace(self, waits=()):
        """The Trace of all that was added."""
        return Trace(self.world_size, self.events, waits)


def ring(n=4, nbytes=1 << 20, slow=2, alpha=2e-4, beta=4e-10, seed=0):
    """A ring all-reduce after a step of computation that takes rank `slow` longest."""
    rng, maker = random.Random(seed), Maker(n)
    clock = [(2.2e-3 if rank == slow else 8e-4) * rng.uniform(0.9, 1.1) for rank in range(n)]
    for rank in range(n):
        maker.add(
            rank,
            "compute",
            5e-5 * rng.random(),
            None,
            clock[rank],
            span="step/forward",
            line="In [3], line 2",
        )
    for step in range(2 * (n - 1)):
        span = "step/reduce_scatter" if step < n - 1 else "step/all_gather"
        ends = []
        for rank in range(n):
            right = (rank + 1) % n
            done = max(clock[rank], clock[right]) + (alpha + beta * nbytes) * rng.uniform(0.9, 1.2)
            maker.message(
                rank,
                right,
                clock[rank],
                clock[right],
                done,
                nbytes,
                span=span,
                line="In [3], line 5",
            )
            ends.append(done)
        clock = [max(ends[rank], ends[rank - 1]) + 3e-5 for rank in range(n)]
    for rank in range(n):
        maker.add(rank, "span", 0.0, None, clock[rank], span="step", line="In [3], line 1")
    return maker.trace()


def deadlock(n=3):
    """Every rank waits for its left neighbour to send."""
    maker = Maker(n)
    for rank in range(n):
        at = 1e-4 * (rank + 1)
        maker.add(rank, "recv", at, at, None, peer=(rank - 1) % n, nbytes=16, fate="unfinished")
    return maker.trace(
        [
            Wait(
                rank,
                (rank - 1) % n,
                "send",
                "world",
                0,
                "In [3], line 4",
                f"waits for rank {(rank - 1) % n} to send message 0, (4,) float32",
            )
            for rank in range(n)
        ]
    )


def unfinished():
    """Two messages arrive, the third has no receive."""
    maker = Maker(3)
    maker.message(0, 1, 0.0, 1e-3, 2e-3)
    maker.message(1, 2, 2.5e-3, 2e-3, 3e-3)
    maker.add(
        2, "send", 3.5e-3, 3.5e-3, None, peer=0, nbytes=64, fate="unfinished", line="In [3], line 9"
    )
    return maker.trace()


def background(n=2):
    """Thread 1 sends a bucket while thread 0 computes; then thread 0 waits for an all_reduce."""
    maker = Maker(n)
    for rank in range(n):
        maker.add(rank, "span", 0.0, None, 1e-2, span="epoch", line="In [3], line 1")
        maker.add(rank, "span", 1e-3, None, 8e-3, span="epoch/step", line="In [3], line 2")
        maker.add(rank, "compute", 1e-3, None, 6e-3, span="epoch/step")
        maker.add(rank, "all_reduce", 6e-3, 6.5e-3, 7.5e-3, nbytes=400, span="epoch/step")
    for rank in range(n):
        maker.message(
            rank, (rank + 1) % n, 2e-3, 2e-3, 5e-3, 4096, thread=1, comm="+1", span="epoch/step"
        )
    return maker.trace()


def crowd(n=64, events=50_000, seed=0):
    """Random messages, one after the other on each rank, with computation and spans between."""
    rng, maker, clock = random.Random(seed), Maker(n), [0.0] * n
    for step in range(events // 4):
        source, to = rng.sample(range(n), 2)
        done = max(clock[source], clock[to]) + rng.uniform(1e-4, 3e-4)
        maker.message(source, to, clock[source], clock[to], done, rng.choice((64, 4096, 1 << 16)))
        for rank in (source, to):
            maker.add(rank, "compute" if step % 2 else "span", done, None, done + 2e-4, span="step")
            clock[rank] = done + 2e-4
    return maker.trace()


def sizes(alpha=2e-4, beta=4e-10, noise=0.15, seed=0, each=30, powers=range(2, 24, 2)):
    """Messages of many sizes from rank 0 to 1; times scatter around alpha + beta * nbytes."""
    rng, maker, now = random.Random(seed), Maker(2), 0.0
    for power in [power for _ in range(each) for power in powers]:
        late, seconds = (
            rng.uniform(-5e-4, 5e-4),
            (alpha + beta * 2**power) * rng.lognormvariate(0, noise),
        )
        maker.message(
            0, 1, now + max(0, late), now + max(0, -late), now + abs(late) + seconds, 2**power
        )
        now += abs(late) + seconds + 1e-5
    return maker.trace()
