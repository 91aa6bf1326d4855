"""A network that exists as arithmetic only: who meets whom, and when does a message arrive?

    sender posts at 3 us ----.                     a message starts when both sides have posted
    receiver posts at 5 us --+- starts at 5 us     and both ports are free
                             `- ends at 5 us + alpha + beta * nbytes
                                                   both ports are busy for beta * nbytes seconds

Each rank has one port out and one port in, so it sends one message and receives one at a time
(Hockney 1994; the single-port model of Thakur, Rabenseifner & Gropp 2005, sec. 3), in the order in
which the two sides met: a message that waits for its receiver's port delays what its sender sends
after it. Only plain numbers go in and come out: no tensor is read and no learner's code runs here,
so a judge can keep the network in a process of its own.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field

from minidl.runtime.comms.record import Posting


@dataclass(frozen=True)
class Link:
    """A connection: alpha seconds of latency, beta seconds per byte (1e-9 is 1 GB/s)."""

    alpha: float = 20e-6
    beta: float = 1e-9

    def __post_init__(self):
        if not (self.alpha >= 0 and self.beta >= 0):  # NaN fails, too
            raise ValueError(f"{self}: alpha and beta are not negative")


# A network has one method: between(source, to) returns the Link from `source` to `to`, and the
# names of what a message shares with others on its way.


@dataclass(frozen=True)
class Uniform(Link):
    """Every pair of ranks has this link."""

    def between(self, source, to):
        """(Link, names of what the message shares with others)."""
        return self, ()


@dataclass(frozen=True)
class Islands:
    """Islands of `size` ranks with fast links inside and slow links between.

    contention: messages that leave an island queue for its one slow link out, and those that enter
    it for the one in. Without it every pair of ranks has a slow link of its own.
    """

    size: int
    fast: Link = Link(2e-6, 1e-11)
    slow: Link = Link(20e-6, 1e-10)
    contention: bool = False

    def __post_init__(self):
        if not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"an island has 1 rank or more, not {self.size!r}")

    def between(self, source, to):
        """(Link, names of what the message shares with others)."""
        home = source // self.size
        away = to // self.size
        if home == away:
            return self.fast, ()
        if not self.contention:
            return self.slow, ()
        return self.slow, (("out of", home), ("into", away))


@dataclass(frozen=True)
class OneSlowLink:
    """All links alike, except the one between ranks `a` and `b`, both ways."""

    a: int
    b: int
    slow: Link = Link(20e-6, 1e-8)
    others: Link = Link(20e-6, 1e-9)

    def __post_init__(self):
        if self.a == self.b or min(self.a, self.b) < 0:
            raise ValueError(
                f"a link joins two different ranks, counted from 0, not {self.a} and {self.b}"
            )

    def between(self, source, to):
        """(Link, names of what the message shares with others)."""
        is_slow = {source, to} == {self.a, self.b}
        return self.slow if is_slow else self.others, ()


# The next two are compared by identity (eq=False), and made for every message (slots).


@dataclass(slots=True, eq=False)
class OneWay:
    """One direction between two ranks on one communicator."""

    comm: str
    source: int
    to: int
    alpha: float
    beta: float
    occupied: list  # what a message keeps busy: two ports, and the links that it shares with others
    waiting: deque = field(default_factory=deque)  # sends, or receives, without their other side
    sent: int = 0
    received: int = 0


@dataclass(slots=True, eq=False)
class Ticket:
    """One side of a message; it ends at `done`, which is None until it has met the other side."""

    sends: bool
    way: OneWay
    posting: Posting
    nbytes: int
    signature: tuple  # (shape, dtype), the same on both sides
    payload: object = None
    work: object = None  # is notified when the other side is posted
    number: int = None  # of the message among those of its way
    done: float = None
    arrival: float = None  # of a buffered message
    values: list = None  # the numbers of a small tensor

    @property
    def kind(self):
        """The kind of its Event."""
        return "send" if self.sends else "recv"

    @property
    def comm(self):
        """The communicator's name."""
        return self.way.comm

    @property
    def peer(self):
        """The rank on the other side."""
        return self.way.to if self.sends else self.way.source

    @property
    def posted(self):
        """When it was posted."""
        return self.posting.time

    @property
    def waited(self):
        """When its rank began to wait for it, or None."""
        return self.posting.waited


class Fabric:
    """All messages of one run.

    network   an object with between(source, to)
    buffered  a send ends as soon as it is posted, as if there were room for every message
    delay     (source, to) -> seconds by which faults delay each message; None for no faults
    """

    def __init__(self, network, buffered=False, delay=None):
        self.network = network
        self.buffered = buffered
        self.delay = delay
        self.ways = {}  # (comm, source, to) -> OneWay
        self.free_at = defaultdict(float)  # when each port, and each shared link, is free again

    def way(self, comm, source, to):
        """The OneWay from `source` to `to` on the communicator called `comm`."""
        way = self.ways.get((comm, source, to))
        if way is None:
            link, shared = self.network.between(source, to)
            alpha = link.alpha
            if self.delay is not None:
                alpha += self.delay(source, to)
            occupied = [f"port out of {source}", f"port into {to}", *shared]
            way = self.ways[comm, source, to] = OneWay(comm, source, to, alpha, link.beta, occupied)
        return way

    def post(self, ticket):
        """Post one side; returns the other side if it was posted before, with `done` of both set.

        Sides that differ in signature stay without `done`.
        """
        way = ticket.way
        if ticket.sends:
            ticket.number = way.sent
            way.sent += 1
            if self.buffered:  # it leaves now, whenever it is received
                ticket.done = ticket.posting.time
                ticket.arrival = self._travel(way, ticket.nbytes, ticket.done)
        else:
            ticket.number = way.received
            way.received += 1
        waiting = way.waiting
        if not waiting or waiting[0].sends is ticket.sends:
            waiting.append(ticket)
            return None
        other = waiting.popleft()
        if other.signature == ticket.signature:
            if ticket.sends:
                self._deliver(ticket, other)
            else:
                self._deliver(other, ticket)
        return other

    def leftovers(self):
        """Tickets that never met their other side, in the order of their posting on each way."""
        return [ticket for way in self.ways.values() for ticket in way.waiting]

    def _deliver(self, send, recv):
        if self.buffered:
            recv.done = max(recv.posting.time, send.arrival)
        else:
            both_posted = max(send.posting.time, recv.posting.time)
            send.done = recv.done = self._travel(send.way, send.nbytes, both_posted)

    def _travel(self, way, nbytes, start):
        """When does a message arrive that may start at `start`? Its ports are busy meanwhile."""
        for name in way.occupied:
            start = max(start, self.free_at[name])
        busy = way.beta * nbytes
        for name in way.occupied:
            self.free_at[name] = start + busy
        return start + way.alpha + busy
