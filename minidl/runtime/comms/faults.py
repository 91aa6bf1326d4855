"""Break things on purpose: a slow link, a slow rank, a rank that dies.

    faults = [Delay(source=0, to=1, seconds=0.1), Slow(rank=2, factor=3)]
    world.run(train, faults=[*faults, Crash(rank=1, at=Span("step", 10))])

A fault is data with methods that say how it acts; the base class of all Comms asks them, so a new
fault is one more class here and works in both worlds. Messages are delayed or slowed but never
lost: losing one message of an ordered stream would not be a loss but a shift of all that follow.
"""

import math
from collections import Counter
from dataclasses import dataclass


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


class Fault:
    """The ways in which a fault can act. Each does nothing; a fault overrides those it needs."""

    def check(self, world_size, virtual):
        """Raise ValueError or TypeError, in words, if it could never happen in this world."""

    def delay(self, source, to):
        """The seconds by which each message from `source` to `to` takes longer."""
        return 0

    def slowdown(self, rank):
        """How many times as long `rank` computes."""
        return 1

    def kills(self, rank, moment):
        """Whether `rank` dies at this moment: an Op, a Span or Seconds."""
        return False

    def deadline(self, rank):
        """The virtual second at which `rank` dies, whatever it does; infinity for never."""
        return math.inf

    def _check_ranks(self, world_size, *ranks):
        if not all(0 <= rank < world_size for rank in ranks):
            raise ValueError(f"{self}: ranks go from 0 to {world_size - 1}")


@dataclass(frozen=True)
class Delay(Fault):
    """Each message from `source` to `to` takes `seconds` longer."""

    source: int
    to: int
    seconds: float

    def check(self, world_size, virtual):
        """Raise ValueError for ranks that do not exist, one rank twice, or negative seconds."""
        self._check_ranks(world_size, self.source, self.to)
        if not 0 <= self.seconds < math.inf or self.source == self.to:
            raise ValueError(
                f"{self}: seconds are a number and not negative, and a link joins two different "
                "ranks"
            )

    def delay(self, source, to):
        return self.seconds if (source, to) == (self.source, self.to) else 0


@dataclass(frozen=True)
class Slow(Fault):
    """What `rank` computes between its messages takes `factor` times as long."""

    rank: int
    factor: float

    def check(self, world_size, virtual):
        """Raise ValueError for a rank that does not exist, or a factor below 1."""
        self._check_ranks(world_size, self.rank)
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"{self}: factor must be 1 or more")

    def slowdown(self, rank):
        return self.factor if rank == self.rank else 1


@dataclass(frozen=True)
class Crash(Fault):
    """`rank` is killed at `at`: Op(n), Span(name, k), or in a VirtualWorld Seconds(t)."""

    rank: int
    at: Op | Span | Seconds

    def check(self, world_size, virtual):
        """Raise ValueError for a rank or a moment that this world does not have."""
        self._check_ranks(world_size, self.rank)
        if not isinstance(self.at, (Op, Span, Seconds)):
            raise TypeError(f"{self}: `at` is Op(n), Span(name, k) or Seconds(t)")
        if isinstance(self.at, Seconds):
            if not self.at.t >= 0:
                raise ValueError(f"{self}: t is a number of seconds and not negative")
            if not virtual:
                raise ValueError(
                    f"{self}: Seconds(t) is a moment on the virtual clock; in a World use Op(n) "
                    "or Span(name, k)"
                )

    def kills(self, rank, moment):
        return rank == self.rank and moment == self.at

    def deadline(self, rank):
        if rank == self.rank and isinstance(self.at, Seconds):
            return self.at.t
        return math.inf


class Crashed(BaseException):
    """The fault Crash happens to a virtual rank: what a killed process is in the real world."""


def check_faults(faults, world_size, virtual=False):
    """Raise ValueError or TypeError, in words, for a fault that cannot happen in this world."""
    for fault in faults:
        if not isinstance(fault, Fault):
            raise TypeError(f"faults are Delay, Slow or Crash, not {fault!r}")
        fault.check(world_size, virtual)


class Faults:
    """The faults of one run as they act on one rank, and how far it has come towards them.

    die: called with the moment at which the rank must die; does not return.
    """

    def __init__(self, faults, rank, die):
        self.faults = faults
        self.rank = rank
        self.die = die
        self.active = bool(faults)
        self.factor = max((fault.slowdown(rank) for fault in faults), default=1)
        self.deadline = min((fault.deadline(rank) for fault in faults), default=math.inf)
        self._posted = 0
        self._entered = Counter()

    def post(self, n):
        """The rank is about to post n operations."""
        for _ in range(n):
            self.reach(Op(self._posted))
            self._posted += 1

    def enter(self, name):
        """The rank is about to enter the span `name`."""
        self.reach(Span(name, self._entered[name]))
        self._entered[name] += 1

    def reach(self, moment):
        """The rank has come to this moment; it dies if a fault says so."""
        if any(fault.kills(self.rank, moment) for fault in self.faults):
            self.die(moment)

    def delay(self, source, to):
        """The seconds by which all faults together delay a message from `source` to `to`."""
        return sum(fault.delay(source, to) for fault in self.faults)

    def fate(self, source, to):
        """What becomes of a message of this rank that is received."""
        if self.delay(source, to):
            return "delayed"
        return "slowed" if self.factor > 1 else "delivered"
