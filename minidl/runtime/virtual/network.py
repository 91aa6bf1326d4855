"""A network that exists as arithmetic only: who meets whom, and when is a message there?

    sender posts at 3 us --.                       a message starts when both sides have posted and both
    receiver posts at 5 us -+- starts at 5 us      ports are free, takes alpha + beta * nbytes seconds,
                            `- ends at 5 + alpha + beta * nbytes      and keeps the ports busy for beta * nbytes

Each rank has one port out and one port in, so it sends one message and receives one at a time (Hockney
1994; the single-port model of Thakur, Rabenseifner & Gropp 2005, sec. 3), in the order in which the
two sides met: one that waits for its receiver's port holds back what its sender sends after it. Plain numbers go in and come
out; no tensor is looked at and no learner's code runs here, so a judge can keep it in a process of its own.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """A connection: alpha seconds of latency, beta seconds per byte (1e-9 is 1 GB/s)."""

    alpha: float = 20e-6
    beta: float = 1e-9

    def __post_init__(self):
        if not (self.alpha >= 0 and self.beta >= 0):
            raise ValueError(f"{self}: alpha and beta are not negative")


@dataclass(frozen=True)
class Uniform:
    """Every pair of ranks has the same link."""

    alpha: float = 20e-6
    beta: float = 1e-9

    def __post_init__(self):
        Link(self.alpha, self.beta)  # refuses what no link has

    def between(self, source, to):
        """(Link, names of what the message shares with others) from `source` to `to`."""
        return Link(self.alpha, self.beta), ()


@dataclass(frozen=True)
class Islands:
    """Islands of `size` ranks with fast links inside and slow links between.

    contention: messages that leave an island share its one slow link out, and those that enter it
    the one in: they queue. Without it every pair of ranks has a slow link of its own.
    """

    size: int
    fast: Link = Link(2e-6, 1e-11)
    slow: Link = Link(20e-6, 1e-10)
    contention: bool = False

    def __post_init__(self):
        if not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"an island has 1 rank or more, not {self.size!r}")

    def between(self, source, to):
        """(Link, names of what the message shares with others) from `source` to `to`."""
        home, away = source // self.size, to // self.size
        if home == away:
            return self.fast, ()
        return self.slow, (("out of", home), ("into", away)) if self.contention else ()


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
        """(Link, names of what the message shares with others) from `source` to `to`."""
        return (self.slow if {source, to} == {self.a, self.b} else self.others), ()


class Posting:
    """What one rank handed over at once, at `time`: the tickets, and what the record keeps of them (recording.py).

    Done by the thread `order` at the line `place`, in the spans `path`; waited for since `waited`, None as long as nobody did.
    """

    __slots__ = ("rank", "order", "time", "place", "path", "waited", "tickets")

    def __init__(self, rank, time, place=None, order=0, path=""):
        self.rank, self.order, self.time, self.place, self.path = rank, order, time, place, path
        self.waited, self.tickets = None, []


class Ticket:
    """One side of a message; over at `done`, None as long as it has not met the other side.

    values: the numbers of a small tensor; work: who must hear of it when the other side comes
    """

    __slots__ = (
        "sends",
        "way",
        "posting",
        "nbytes",
        "signature",
        "payload",
        "work",
        "number",
        "done",
        "arrival",
        "values",
    )

    def __init__(self, sends, way, posting, nbytes, signature, payload=None, work=None):
        self.sends, self.way, self.posting, self.nbytes = sends, way, posting, nbytes
        self.signature, self.payload, self.work = signature, payload, work
        self.done = self.values = None

    @property
    def kind(self):
        """As an Event tells it."""
        return "send" if self.sends else "recv"

    @property
    def comm(self):
        """The communicator's name."""
        return self.way.comm

    @property
    def peer(self):
        """The rank on the other side."""
        return self.way.to if self.sends else self.way.source


class Way:
    """One direction between two ranks on one communicator, and all that is known of it.

    waiting  sends, or receives, that have not met the other side
    """

    __slots__ = ("comm", "source", "to", "waiting", "sent", "received", "alpha", "beta", "shared")

    def __init__(self, comm, source, to, alpha, beta, shared):
        self.comm, self.source, self.to = comm, source, to
        self.waiting, self.sent, self.received = deque(), 0, 0
        self.alpha, self.beta, self.shared = alpha, beta, shared


class Fabric:
    """All messages of one run.

    network   an object with between(source, to)
    buffered  a send is over as soon as it is posted, as if there were room for every message
    delays    {(source, to): seconds}, added to the messages of a link
    """

    def __init__(self, network, size, buffered=False, delays=None):
        self.network, self.buffered, self.delays = network, buffered, delays or {}
        self.ways = {}  # (comm, source, to) -> Way
        self.out_free, self.in_free, self.shared_free = [0.0] * size, [0.0] * size, {}

    def way(self, comm, source, to):
        """The Way from `source` to `to` on the communicator called `comm`; made when it is first asked for."""
        way = self.ways.get((comm, source, to))
        if way is None:
            link, shared = self.network.between(source, to)
            way = Way(
                comm, source, to, link.alpha + self.delays.get((source, to), 0), link.beta, shared
            )
            self.ways[comm, source, to] = way
        return way

    def post(self, ticket):
        """Post one side; returns the other side if it was there already, with `done` of both set."""
        way, sends = ticket.way, ticket.sends
        waiting = way.waiting
        if sends:
            ticket.number = way.sent
            way.sent += 1
            if self.buffered:  # it leaves now, whenever it is received
                ticket.done = ticket.posting.time
                ticket.arrival = self._travel(way, ticket.nbytes, ticket.done)
        else:
            ticket.number = way.received
            way.received += 1
        if not waiting or waiting[0].sends is sends:
            waiting.append(ticket)
            return None
        other = waiting.popleft()
        if other.signature == ticket.signature:
            self._deliver(way, *((ticket, other) if sends else (other, ticket)))
        return other

    def leftovers(self):
        """Tickets that never met their other side, in the order of their posting on each channel."""
        return [ticket for way in self.ways.values() for ticket in way.waiting]

    def _deliver(self, way, send, recv):
        if self.buffered:
            recv.done = max(recv.posting.time, send.arrival)
        else:
            start, ready = send.posting.time, recv.posting.time
            send.done = recv.done = self._travel(
                way, send.nbytes, ready if ready > start else start
            )

    def _travel(self, way, nbytes, start):
        """When a message that may start at `start` is there; the ports and shared links are busy meanwhile."""
        out_free, in_free, source, to = self.out_free, self.in_free, way.source, way.to
        if out_free[source] > start:
            start = out_free[source]
        if in_free[to] > start:
            start = in_free[to]
        for name in way.shared:
            start = max(start, self.shared_free.get(name, 0.0))
        busy = way.beta * nbytes
        out_free[source] = in_free[to] = start + busy
        for name in way.shared:
            self.shared_free[name] = start + busy
        return start + way.alpha + busy
