"""A network that exists as arithmetic only: who meets whom, and when is a message there?

    sender posts at 3 us --.                       a message starts when both sides have posted and both
    receiver posts at 5 us -+- starts at 5 us      ports are free, takes alpha + beta * nbytes seconds,
                            `- ends at 5 + alpha + beta * nbytes      and keeps the ports busy for beta * nbytes

Each rank has one port out and one port in, so it sends one message and receives one at a time (Hockney
1994; the single-port model of Thakur, Rabenseifner & Gropp 2005, sec. 3). Plain numbers go in and come
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
        if self.alpha < 0 or self.beta < 0:
            raise ValueError(f"{self}: alpha and beta are not negative")


@dataclass(frozen=True)
class Uniform:
    """Every pair of ranks has the same link."""

    alpha: float = 20e-6
    beta: float = 1e-9

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

    def between(self, source, to):
        """(Link, names of what the message shares with others) from `source` to `to`."""
        return (self.slow if {source, to} == {self.a, self.b} else self.others), ()


class Ticket:
    """One side of a message: posted at `time`, over at `done` (None as long as it has not met the other side).

    It is also what the record keeps of it (recording.py): waited for since `waited`, by the thread `order`, in the spans `path`.
    """

    __slots__ = ("sends", "rank", "peer", "channel", "number", "nbytes", "signature", "place", "time", "done",
                 "arrival", "payload", "work", "waited", "order", "path")

    def __init__(self, sends, rank, peer, channel, nbytes, signature, place, time, payload, work=None, order=0, path=""):
        self.sends, self.rank, self.peer, self.channel = sends, rank, peer, channel
        self.nbytes, self.signature, self.place, self.time, self.payload = nbytes, signature, place, time, payload
        self.work, self.order, self.path = work, order, path
        self.number, self.done, self.waited = 0, None, None

    @property
    def kind(self):
        """As an Event tells it."""
        return "send" if self.sends else "recv"


class Way:
    """A channel, one direction between two ranks on one communicator, and all that is known of it.

    waiting  sends, or receives, that have not met the other side
    """

    __slots__ = ("waiting", "sent", "received", "alpha", "beta", "shared")

    def __init__(self, alpha, beta, shared):
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
        self.ways = {}                                  # (comm, source, to) -> Way
        self.out_free, self.in_free, self.shared_free = [0.0] * size, [0.0] * size, {}

    def post(self, ticket):
        """Post one side; returns the other side if it was there already, with `done` of both set."""
        way = self.ways.get(ticket.channel) or self._way(ticket.channel)
        sends, waiting = ticket.sends, way.waiting
        if sends:
            ticket.number = way.sent
            way.sent += 1
            if self.buffered:                           # it leaves now, whenever it is received
                ticket.done = ticket.time
                ticket.arrival = self._travel(way, ticket.rank, ticket.peer, ticket.nbytes, ticket.time)
        else:
            ticket.number = way.received
            way.received += 1
        if not waiting or waiting[0].sends == sends:
            waiting.append(ticket)
            return None
        other = waiting.popleft()
        if other.signature == ticket.signature:
            self._deliver(way, *((ticket, other) if sends else (other, ticket)))
        return other

    def leftovers(self):
        """Tickets that never met their other side, in the order of their posting on each channel."""
        return [ticket for way in self.ways.values() for ticket in way.waiting]

    def _way(self, channel):
        _, source, to = channel
        link, shared = self.network.between(source, to)
        way = self.ways[channel] = Way(link.alpha + self.delays.get((source, to), 0), link.beta, shared)
        return way

    def _deliver(self, way, send, recv):
        if self.buffered:
            recv.done = max(recv.time, send.arrival)
        else:
            start = send.time if send.time > recv.time else recv.time
            send.done = recv.done = self._travel(way, send.rank, recv.rank, send.nbytes, start)

    def _travel(self, way, source, to, nbytes, start):
        """When a message that may start at `start` is there; the ports and shared links are busy meanwhile."""
        out_free, in_free = self.out_free, self.in_free
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
