"""What the communicators of one rank share: its clock, faults, record and works under way.

    comm, comm.group([0, 2]), twins ...  -->  RankNode  -->  a clock, Faults, a Record, lanes

A world makes one node for each rank and says in a subclass how its time passes.
"""

from contextvars import ContextVar

from minidl.runtime.words.calling import is_library

# The Comm whose background function runs in this context, by name; "" outside of one.
STREAM: ContextVar[str] = ContextVar("stream", default="")


class Broken(BaseException):
    """The run has ended for this rank: another one failed, or the learner pressed Stop."""


class RankNode:
    """One rank of a world of `world_size`, as its communicators share it.

    faults       Faults of this rank in this run
    record       Record of this run
    outstanding  what was posted and not waited for, in order: key -> work with an end()
    forgotten    places, (file, line), that started what was not waited for, once the run ended
    lanes        name of a twin -> the lane that runs its background work
    failures     how many runs of this world have ended with an error
    """

    def __init__(self, rank, world_size):
        self.rank = rank
        self.world_size = world_size
        self.faults = None
        self.record = None
        self.outstanding = {}
        self.forgotten = []
        self.lanes = {}
        self.failures = 0

    def now(self):
        """Seconds since the run began."""
        raise NotImplementedError

    def moment(self):
        """(seconds since the run began, the thread that runs now). Raises if it may not post."""
        raise NotImplementedError

    def stamp(self):
        """The time at which a span begins or ends, as the record keeps it."""
        raise NotImplementedError

    def sleep(self, seconds):
        """Let this time pass for the thread that runs now."""
        raise NotImplementedError

    def progress(self, i, n):
        """Report that step i of n is done."""
        raise NotImplementedError

    def new_lane(self, name):
        """A lane for the background work of the twin `name`."""
        raise NotImplementedError

    def lane(self, name):
        """The lane that runs the background work of the twin `name`, made when first used."""
        if name not in self.lanes:
            self.lanes[name] = self.new_lane(name)
        return self.lanes[name]

    def finish(self):
        """End what the run left under way: background jobs, then what was never waited for.

        Notes where the latter was started. What a concept started is left out: it waits for all of
        it, unless an error came between, which the learner has caught.
        """
        for lane in list(self.lanes.values()):
            lane.finish()
        for under_way in list(self.outstanding.values()):
            if not under_way.reported:  # the learner has caught its error, and went on
                under_way.leftover = True
                under_way.end()
                place = under_way.posting.place
                is_own = under_way.posting.tickets and not is_library(place[0])
                if is_own and place not in self.forgotten:
                    self.forgotten.append(place)

    def metered(self):
        """A context manager: what this thread computes inside counts for the rank, if metered."""
        raise NotImplementedError

    def unmetered(self, function, *args):
        """function(*args) without counting it as the rank's own work."""
        raise NotImplementedError

    def enter(self):
        """A thread enters its Comm: a slow rank pays for what it has computed since it left."""

    def leave(self):
        """A thread leaves its Comm."""
