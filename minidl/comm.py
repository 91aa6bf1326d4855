"""The contract that every concept is written against, and nothing else.

    rank 0          rank 1          rank 2          A Comm is one rank's view of a group of ranks:
      |  Send(x, 1)   |               |             ordered, matched, reliable messages. The k-th send
      |-------------->|  Recv(x, 0)   |             from 0 to 1 meets the k-th receive from 0 on 1.
      |               |-------------->|

One primitive, `start`, posts any number of sends and receives at once. A backend implements it; all
other operations are derived from it here, so a wrapper that overrides `start` sees every message.
Left out: which process or thread a rank is, how bytes travel, what a clock is. See runtime/.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(slots=True)
class Send:
    """Send `tensor` to rank `to`. Do not change the tensor before the wait is over."""

    tensor: torch.Tensor
    to: int


@dataclass(slots=True)
class Recv:
    """Receive from rank `source` a tensor of `like`'s shape and dtype, into `into` if it is given."""

    like: torch.Tensor
    source: int
    into: torch.Tensor | None = None


@dataclass(slots=True)
class Native:
    """A collective that the backend brings along, such as gloo's own all_reduce.

    name    "all_reduce", "reduce", "broadcast", "all_gather", "reduce_scatter", "gather", "scatter",
            "all_to_all" or "barrier"
    tensor  what this rank puts in; None for the ranks that put nothing in
    output  where the result goes; in place (`tensor`) for all_reduce, reduce and broadcast
    root    for reduce, broadcast, gather and scatter
    op      "sum", "product", "min" or "max"
    """

    name: str
    tensor: torch.Tensor | None = None
    output: Any = None
    root: int | None = None
    op: str = "sum"


class Work(ABC):
    """Something under way."""

    @abstractmethod
    def wait(self):
        """Block until it is over. Returns the received tensors as a tuple, in the order of the Recvs."""


class Comm(ABC):
    """One rank's view of a group of `world_size` ranks. `rank` counts from 0 within the group.

    device: where this rank computes, x.to(comm.device): its own GPU where each rank has one, else the CPU.
    """

    rank: int
    world_size: int
    device = torch.device("cpu")

    @abstractmethod
    def start(self, ops) -> Work:
        """Post all of `ops` (Send, Recv, Native) at once and return before they are over.

        Raises ValueError for a rank outside the group, MismatchError when the peer has posted
        another shape or dtype. The run ends with LeftoverError if a Send is never received.
        """

    @abstractmethod
    def group(self, ranks) -> "Comm":
        """The Comm of these ranks only, numbered 0, 1, ... in the order given. Local: sends nothing.

        ranks: distinct ranks of this Comm, this rank among them, the same list on every member.
        """

    @abstractmethod
    def background(self, fn, *args) -> Work:
        """Run `fn(*args)` beside the computation, one after the other, and return at once.

        `fn` gets a Comm of the same ranks whose messages never mix with this one's: as its parameter
        `comm`, and in place of this Comm wherever `args` name it. wait() returns what `fn` returned.
        """

    @abstractmethod
    def compute(self, seconds):
        """Stand in for a computation of this length."""

    @abstractmethod
    def progress(self, i, n):
        """Tell whoever watches that step i of n is done."""

    @abstractmethod
    def span(self, name):
        """A context manager: what happens inside is recorded under `name`; spans nest."""

    @abstractmethod
    def now(self) -> float:
        """Seconds since the run began."""

    @property
    def left(self):
        """The rank before this one, around the ring."""
        return (self.rank - 1) % self.world_size

    @property
    def right(self):
        """The rank after this one, around the ring."""
        return (self.rank + 1) % self.world_size

    def send(self, x, to):
        """Send `x` to rank `to`; return when it has been received. One message."""
        self.start([Send(x, to)]).wait()

    def recv(self, like, source):
        """Return the next tensor from rank `source`; it has the shape and dtype of `like`."""
        (received,) = self.start([Recv(like, source)]).wait()
        return received

    def exchange(self, x, to, source, like=None):
        """Send `x` to rank `to` while receiving from rank `source`; return what came.

        What comes has the shape and dtype of `like`, or of `x`. Cannot deadlock in a ring, because
        the receive does not wait for the send.
        """
        if to == source == self.rank:
            return x.clone()
        (received,) = self.start([Recv(x if like is None else like, source), Send(x, to)]).wait()
        return received

    def barrier(self):
        """Return when every rank has entered. Dissemination, ceil(log2(world_size)) empty messages a rank.

        Hensgen, Finkel & Manber 1988, "Two algorithms for barrier synchronization".
        """
        distance = 1
        while distance < self.world_size:
            ahead, behind = (
                (self.rank + distance) % self.world_size,
                (self.rank - distance) % self.world_size,
            )
            self.exchange(torch.empty(0), to=ahead, source=behind)
            distance *= 2

    def split(self, color, key=0):
        """Every rank returns the group of those ranks that gave the same `color`, ordered by `key`.

        Two integers of every rank travel once around the ring: world_size - 1 messages of 16 bytes
        a rank. MPI standard 4.0, sec. 7.4.2, MPI_Comm_split.
        """
        mine = torch.tensor([color, key])
        pairs = {self.rank: mine}
        for step in range(1, self.world_size):
            mine = self.exchange(mine, to=self.right, source=self.left)
            pairs[(self.rank - step) % self.world_size] = mine
        alike = [r for r, pair in pairs.items() if int(pair[0]) == int(color)]
        return self.group(sorted(alike, key=lambda r: (int(pairs[r][1]), r)))
