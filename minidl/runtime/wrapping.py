"""What all Comms of the runtime share: background work, and wrapping one Comm in another.

    TracedComm( FaultyComm( DistributedComm ) )       each overrides `start`; groups and twins are wrapped alike
"""

from minidl.comm import Comm, Work
from minidl.runtime.calling import call


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

    def background(self, fn, *args):
        twin = self.twin()
        args = tuple(twin if arg is self else arg for arg in args)
        return self.lane().submit(lambda: call(fn, twin, args, {}))


class WrappedComm(RuntimeComm):
    """A Comm around another one; does nothing by itself. Subclasses override what they change."""

    def __init__(self, inner):
        self.inner = inner
        self.rank, self.world_size = inner.rank, inner.world_size
        self.name, self.members = inner.name, inner.members

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
        return tuple(value for part in self.parts for value in part.wait())
