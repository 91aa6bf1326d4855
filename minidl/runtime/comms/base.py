"""What all Comms of the runtime share: background work, and wrapping one Comm in another.

TracedComm( FaultyComm( DistributedComm ) )       each overrides `start`; groups and twins are wrapped alike
"""

from torch import Tensor

from minidl.comm import Comm, Native, Recv, Send, Work
from minidl.runtime.words.calling import call


class RuntimeComm(Comm):
    """A Comm that can make a twin: the same ranks, on a stream of messages of its own.

    name     of the communicator: "world", "0,2", "world+1" for the first twin
    members  world ranks of its ranks, in order
    """

    name: str
    members: tuple

    def twin(self):
        """A Comm of the same ranks whose messages never mix with this one's. Local."""
        raise NotImplementedError

    def lane(self):
        """The thread that runs this communicator's background work."""
        raise NotImplementedError

    def peer(self, op):
        """The world rank that `op` talks to, -1 for a collective; raises in words for a wrong op or rank."""
        kind = type(op)
        if kind is Native:
            return -1
        if kind is not Send and kind is not Recv:
            raise TypeError(f"start() takes Send, Recv and Native, not {kind.__name__}")
        tensor = op.tensor if kind is Send else op.like
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"a message is a tensor, not a {type(tensor).__name__}: {'send' if kind is Send else 'receive like'} "
                "torch.tensor(x) instead"
            )
        rank = op.to if kind is Send else op.source
        if rank == self.rank or not 0 <= rank < self.world_size:
            reason = (
                "a rank cannot send to itself"
                if rank == self.rank
                else f"ranks go from 0 to {self.world_size - 1}"
            )
            raise ValueError(
                f"rank {self.rank} cannot {'send to' if kind is Send else 'receive from'} rank {rank}: {reason}"
            )
        return self.members[rank]

    def chosen(self, ranks):
        """The world ranks of group(ranks); raises ValueError in words for a wrong choice."""
        ranks = list(ranks)
        if len(set(ranks)) != len(ranks) or not all(0 <= r < self.world_size for r in ranks):
            raise ValueError(
                f"group({ranks}): ranks must be distinct and between 0 and {self.world_size - 1}"
            )
        if self.rank not in ranks:
            raise ValueError(
                f"rank {self.rank} is not in group({ranks}): only its members may ask for a group"
            )
        return [self.members[r] for r in ranks]

    def background(self, fn, *args):
        twin = self.twin()
        args = tuple(twin if arg is self else arg for arg in args)
        return self.lane().submit(lambda: call(fn, twin, args, {}))


class WrappedComm(RuntimeComm):
    """A Comm around another one; does nothing by itself. Subclasses override what they change."""

    def __init__(self, inner):
        self.inner = inner
        self.rank, self.world_size = inner.rank, inner.world_size
        self.name, self.members, self.device = inner.name, inner.members, inner.device

    def wrap(self, inner):
        """The same kind of wrapper around another Comm."""
        return type(self)(inner)

    def start(self, ops):
        return self.inner.start(ops)

    def group(self, ranks):
        return self.wrap(self.inner.group(ranks))

    def twin(self):
        return self.wrap(self.inner.twin())

    def lane(self):
        return self.inner.lane()

    def compute(self, seconds):
        self.inner.compute(seconds)

    def progress(self, i, n):
        self.inner.progress(i, n)

    def span(self, name):
        return self.inner.span(name)

    def now(self):
        return self.inner.now()


class Parts(Work):
    """Several ops under way; `parts` are their Works, in the order of the ops, each over by itself.

    place is the (file, line) that started them; numbers are the messages' numbers.
    """

    def __init__(self, parts, place):
        self.parts, self.place = parts, place

    def wait(self):
        received = ()
        for part in self.parts:
            received += part.wait()
        return received


def label(members, world_size):
    """How a set of ranks is called in the record: "world", or "0,2"."""
    everyone = len(members) == world_size and members == tuple(range(world_size))
    return "world" if everyone else ",".join(map(str, members))


def comm_name(label, origins):
    """A communicator's name: "0,2"; "0,2+1" for its background twin; "0,2+world" for the group of a twin of the world.

    origins: the labels of those that have been twinned on the way here. Different ways give different names,
    for they run in different threads.
    """
    return label + "".join("+1" if origin == label else f"+{origin}" for origin in origins)


def lasting(seconds):
    """`seconds`; raises ValueError where nothing can take so long."""
    if not 0 <= seconds < float("inf"):
        raise ValueError(
            f"compute() takes a number of seconds that is not negative, not {seconds!r}"
        )
    return seconds


def landing(op):
    """Where a Recv's tensor goes, or None for a new one; raises ValueError for an `into` that does not fit."""
    if op.into is None:
        return None
    if op.into is not op.like and (
        op.into.shape != op.like.shape or op.into.dtype != op.like.dtype
    ):
        raise ValueError(
            f"into has shape {tuple(op.into.shape)} and {op.into.dtype}, "
            f"like has {tuple(op.like.shape)} and {op.like.dtype}"
        )
    if not op.into.is_contiguous():
        raise ValueError("into must be contiguous")
    return op.into
