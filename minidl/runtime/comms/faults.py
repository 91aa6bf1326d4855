"""Break things on purpose: a slow link, a slow rank, a rank that dies.

    world.run(train, faults=[Delay(source=0, to=1, seconds=0.1), Slow(rank=2, factor=3), Crash(rank=1, at=Span("step", 10))])

A fault is data. A FaultyComm wraps another Comm and brings the faults about, so concepts know none of
them. Messages are delayed or slowed but never lost: losing one message of an ordered stream would not
be a loss but a shift of all that follow.
"""

import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

from minidl.comm import Recv, Send, Work
from minidl.runtime.comms.base import Parts, WrappedComm


@dataclass(frozen=True)
class Op:
    """The moment before a rank posts its n-th operation; n counts from 0."""

    n: int


@dataclass(frozen=True)
class Span:
    """The moment when a rank enters the span `name` for the k-th time; k counts from 0."""

    name: str
    k: int = 0


@dataclass(frozen=True)
class Seconds:
    """The moment t seconds after the beginning of the run, on the virtual clock."""

    t: float


@dataclass(frozen=True)
class Delay:
    """Each message from `source` to `to` takes `seconds` longer."""

    source: int
    to: int
    seconds: float


@dataclass(frozen=True)
class Slow:
    """What `rank` computes between its messages takes `factor` times as long."""

    rank: int
    factor: float


@dataclass(frozen=True)
class Crash:
    """The process of `rank` is killed at the moment `at`: Op(n), Span(name, k), or Seconds(t) in a VirtualWorld."""

    rank: int
    at: Op | Span | Seconds


class Crashed(BaseException):
    """The fault Crash happens to a virtual rank: what a killed process is in the real world."""


def check_faults(faults, world_size, virtual=False):
    """Raise ValueError or TypeError, in words, for a fault that could never happen in this world."""
    for fault in faults:
        if not isinstance(fault, (Delay, Slow, Crash)):
            raise TypeError(f"faults are Delay, Slow or Crash, not {fault!r}")
        ranks = (fault.source, fault.to) if isinstance(fault, Delay) else (fault.rank,)
        if not all(0 <= rank < world_size for rank in ranks):
            raise ValueError(f"{fault}: ranks go from 0 to {world_size - 1}")
        if isinstance(fault, Delay) and (
            not 0 <= fault.seconds < float("inf") or fault.source == fault.to
        ):
            raise ValueError(
                f"{fault}: seconds are a number and not negative, and a link joins two different ranks"
            )
        if isinstance(fault, Slow) and not 1 <= fault.factor < float("inf"):
            raise ValueError(f"{fault}: factor must be 1 or more")
        if isinstance(fault, Crash) and not isinstance(fault.at, (Op, Span, Seconds)):
            raise TypeError(f"{fault}: `at` is Op(n), Span(name, k) or Seconds(t)")
        if isinstance(fault, Crash) and isinstance(fault.at, Seconds) and not fault.at.t >= 0:
            raise ValueError(f"{fault}: t is a number of seconds and not negative")
        if isinstance(fault, Crash) and isinstance(fault.at, Seconds) and not virtual:
            raise ValueError(
                f"{fault}: Seconds(t) is a moment on the virtual clock; in a World use Op(n) or Span(name, k)"
            )


class Damage:
    """The faults of one run that concern one rank, and how far it has come towards them."""

    def __init__(self, faults, rank, die):
        self.delays = {(f.source, f.to): f.seconds for f in faults if isinstance(f, Delay)}
        self.factor = max(
            (f.factor for f in faults if isinstance(f, Slow) and f.rank == rank), default=1
        )
        self.moments = {f.at for f in faults if isinstance(f, Crash) and f.rank == rank}
        self.deadline = min(
            (at for at in self.moments if isinstance(at, Seconds)),
            key=lambda at: at.t,
            default=None,
        )
        self.die, self.posted, self.entered = die, 0, Counter()
        self.left = threading.local()  # when this thread last came out of the Comm

    def reach(self, moment):
        """The rank has come to this moment; it dies if a Crash says so."""
        if moment in self.moments:
            self.die(moment)


class FaultyComm(WrappedComm):
    """A Comm to which the faults happen."""

    def __init__(self, inner, damage):
        super().__init__(inner)
        self.damage = damage

    def wrap(self, inner):
        return FaultyComm(inner, self.damage)

    def start(self, ops):
        damage, ops = self.damage, list(ops)
        self._drag()
        for _ in ops:
            damage.reach(Op(damage.posted))
            damage.posted += 1
        work = self.inner.start(ops)
        me = self.members[self.rank]
        parts = []
        for op, part in zip(ops, work.parts):
            link = (
                (me, part.peer)
                if type(op) is Send
                else (part.peer, me)
                if type(op) is Recv
                else None
            )
            parts.append(FaultyPart(self, part, damage.delays.get(link, 0)))
        damage.left.at = time.perf_counter()
        return Parts(parts, work.place)

    def compute(self, seconds):
        self._drag()
        self.inner.compute(seconds * self.damage.factor)
        self.damage.left.at = time.perf_counter()

    @contextmanager
    def span(self, name):
        self.damage.reach(Span(name, self.damage.entered[name]))
        self.damage.entered[name] += 1
        with self.inner.span(name):
            yield

    def _drag(self):
        """A slow rank pays for the time it has computed since it last came out of the Comm."""
        if self.damage.factor > 1 and hasattr(self.damage.left, "at"):
            time.sleep((time.perf_counter() - self.damage.left.at) * (self.damage.factor - 1))


class FaultyPart(Work):
    """One op on a link that may be slow."""

    def __init__(self, comm, part, delay):
        self.comm, self.part, self.delay = comm, part, delay
        self.peer, self.number = part.peer, part.number
        self.posted, self.over = time.perf_counter(), False
        self.fate = "delayed" if delay else "slowed" if comm.damage.factor > 1 else "delivered"

    def wait(self):
        self.comm._drag()
        began = time.perf_counter()
        received = self.part.wait()
        ended = time.perf_counter()
        if self.delay and not self.over:
            # A message that made us wait came just now; another one may have come as early as it was asked for.
            there_already = ended - began <= 1e-3 and began - self.posted > 1e-3
            came = self.posted if there_already else ended
            time.sleep(max(0.0, came + self.delay - ended))
        self.over = True
        self.comm.damage.left.at = time.perf_counter()
        return received
