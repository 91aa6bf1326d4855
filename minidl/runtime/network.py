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
    """One side of a message: posted at `time`, over at `done` (None as long as it has not met the other side)."""

    __slots__ = ("sends", "rank", "peer", "channel", "number", "nbytes", "signature", "place", "time", "done",
                 "arrival", "payload", "work", "row")

    def __init__(self, sends, rank, peer, channel, nbytes, signature, place, time, payload):
        self.sends, self.rank, self.peer, self.channel = sends, rank, peer, channel
        self.nbytes, self.signature, self.place, self.time, self.payload = nbytes, signature, place, time, payload
        self.number, self.done, self.work, self.row = 0, None, None, None


class Fabric:
    """All messages of one run.

    network   an object with between(source, to)
    buffered  a send is over as soon as it is posted, as if there were room for every message
    delays    {(source, to): seconds}, added to the messages of a link
    """

    def __init__(self, network, size, buffered=False, delays=None):
        self.network, self.buffered, self.delays = network, buffered, delays or {}
        self.open = {}                                  # channel -> sends or receives that wait for the other side
        self.numbers = {}                               # (channel, sends) -> how many so far
        self.out_free, self.in_free, self.shared_free = [0.0] * size, [0.0] * size, {}
        self._links = {}

    def post(self, ticket):
        """Post one side; returns the other side if it was there already, with `done` of both set."""
        channel, key = ticket.channel, (ticket.channel, ticket.sends)
        ticket.number = self.numbers.get(key, 0)
        self.numbers[key] = ticket.number + 1
        if self.buffered and ticket.sends:              # it leaves now, whenever it is received
            ticket.done = ticket.time
            ticket.arrival = self._travel(ticket.rank, ticket.peer, ticket.nbytes, ticket.time)
        waiting = self.open.get(channel)
        if waiting is None:
            self.open[channel] = deque((ticket,))
            return None
        if not waiting or waiting[0].sends == ticket.sends:
            waiting.append(ticket)
            return None
        other = waiting.popleft()
        if other.signature == ticket.signature:
            self._deliver(*((ticket, other) if ticket.sends else (other, ticket)))
        return other

    def leftovers(self):
        """Tickets that never met their other side, in the order of their posting on each channel."""
        return [ticket for waiting in self.open.values() for ticket in waiting]

    def _deliver(self, send, recv):
        if self.buffered:
            recv.done = max(recv.time, send.arrival)
        else:
            send.done = recv.done = self._travel(send.rank, recv.rank, send.nbytes, max(send.time, recv.time))

    def _travel(self, source, to, nbytes, start):
        """When a message that may start at `start` is there; the ports and shared links are busy meanwhile."""
        link = self._links.get((source, to))
        if link is None:
            between, shared = self.network.between(source, to)
            link = self._links[source, to] = (between.alpha + self.delays.get((source, to), 0), between.beta, shared)
        alpha, beta, shared = link
        start = max(start, self.out_free[source], self.in_free[to])
        busy = beta * nbytes
        for name in shared:
            start = max(start, self.shared_free.get(name, 0.0))
        for name in shared:
            self.shared_free[name] = start + busy
        self.out_free[source] = self.in_free[to] = start + busy
        return start + alpha + busy
