"""The contract that every concept is written against, and nothing else.

    rank 0          rank 1          rank 2          A Comm is one rank's view of a group:
      |  Send(x, 1)   |               |             ordered, matched, reliable. The k-th send
      |-------------->|  Recv(x, 0)   |             from 0 to 1 meets the k-th receive from 0 on 1.
      |               |-------------->|

One primitive, `start`, posts any number of sends and receives at once. A world implements it; all
other operations are derived from it here, so what is done in `start` concerns every message.
Left out: which process or thread a rank is, how bytes travel, what a clock is. See runtime/.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch


@dataclass(slots=True)
class Send:
    """Send `tensor` to rank `to`. Do not change the tensor before the wait has ended."""

    tensor: torch.Tensor
    to: int

    kind = "send"  # the kind of event that it is in the record
    sends = True

    @property
    def peer(self):
        """The rank on the other side."""
        return self.to


@dataclass(slots=True)
class Recv:
    """Receive from rank `source` a tensor of `like`'s shape and dtype, into `into` if given."""

    like: torch.Tensor
    source: int
    into: torch.Tensor | None = None

    kind = "recv"
    sends = False

    @property
    def peer(self):
        """The rank on the other side."""
        return self.source

    @property
    def tensor(self):
        """A tensor of the message's shape and dtype."""
        return self.like


def check_tensor(x, verb="send"):
    """Raise TypeError with the remedy if `x` is not a tensor. verb: what it is for."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(
            f"a message is a tensor, not a {type(x).__name__}: {verb} torch.tensor(x) instead"
        )


class Work(ABC):
    """Something under way."""

    @abstractmethod
    def wait(self):
        """Block until it has ended; return what was received, a tuple in the order of the Recvs."""


class Comm(ABC):
    """One rank's view of a group of `world_size` ranks. `rank` counts from 0 within the group.

    device: where this rank computes: its own GPU if each rank has one, else the CPU.
    failures: how many runs of this world have ended with an error: for what outlives a run.
    """

    rank: int
    world_size: int
    device = torch.device("cpu")
    failures = 0

    @abstractmethod
    def start(self, ops) -> Work:
        """Post all of `ops` (Send and Recv) at once and return before they have ended.

        Raises ValueError for a rank outside the group, MismatchError if the peer has posted
        another shape or dtype. The run ends with LeftoverError if a Send is never received, or if
        the Work is never waited for.
        """

    @abstractmethod
    def group(self, ranks) -> "Comm":
        """The Comm of these ranks only, numbered 0, 1, ... in the order given. Sends nothing.

        ranks: distinct ranks of this Comm, this rank among them, the same list on every member.
        """

    @abstractmethod
    def background(self, fn, *args) -> Work:
        """Run `fn(*args)` beside the computation, after earlier background work; return at once.

        `fn` gets a twin of this Comm as its parameter `comm`: the same ranks, with messages that
        never meet this Comm's. This Comm among `args` stands for the twin, too. wait() returns what
        `fn` returned. Raises RuntimeError in `fn` if it posts on any other Comm.
        """

    def __deepcopy__(self, memo):
        return self  # what is copied goes on to talk to the same ranks

    @abstractmethod
    def compute(self, seconds):
        """Stand in for a computation of this length."""

    @abstractmethod
    def progress(self, i, n):
        """Report that step i of n is done."""

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
        """Send `x` to rank `to` while receiving from rank `source`; return what was received.

        It has the shape and dtype of `like`, or of `x`. Cannot deadlock in a ring, because the
        receive does not wait for the send.
        """
        if to == source == self.rank:
            return x.clone()
        (received,) = self.start([Recv(x if like is None else like, source), Send(x, to)]).wait()
        return received

    def barrier(self):
        """Return when every rank has entered. Costs ceil(log2(world_size)) empty messages a rank.

        Dissemination: Hensgen, Finkel & Manber 1988, "Two algorithms for barrier synchronization".
        """
        distance = 1
        while distance < self.world_size:
            ahead = (self.rank + distance) % self.world_size
            behind = (self.rank - distance) % self.world_size
            self.exchange(torch.empty(0), to=ahead, source=behind)
            distance *= 2

    def split(self, color, key=0):
        """Every rank returns the group of those ranks that gave the same `color`, ordered by `key`.

        Two integers of every rank travel once around the ring: world_size - 1 messages of 16 bytes
        a rank. MPI standard 4.0, sec. 7.4.2, MPI_Comm_split.
        """
        pair = torch.tensor([color, key])
        pairs = {self.rank: pair}
        for step in range(1, self.world_size):
            pair = self.exchange(pair, to=self.right, source=self.left)
            pairs[(self.rank - step) % self.world_size] = pair
        chosen = []  # (key, rank) of those with this color
        for rank, pair in pairs.items():
            its_color, its_key = pair.tolist()
            if its_color == int(color):
                chosen.append((its_key, rank))
        return self.group([rank for _, rank in sorted(chosen)])
