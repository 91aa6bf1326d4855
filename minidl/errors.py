"""What can go wrong, each as an error in words: which rank, which line, what the others did, what
to do.

In a notebook these errors show their message and nothing else: the frames between the cell and
the rank are machinery, and the learner's own lines stand in the message.
"""


class MinidlError(Exception):
    """The base of all errors of a run.

    run     the Run as far as it came, its trace included; None when there was none
    ranks   the ranks to which it happened, in order
    """

    def __init__(self, message, ranks=(), run=None):
        super().__init__(message)
        self.ranks = tuple(ranks)
        self.run = run

    @property
    def trace(self):
        """The events up to the failure."""
        return self.run.trace if self.run is not None else None

    def __reduce__(self):
        return type(self), (str(self), self.ranks)

    def _render_traceback_(self):
        """IPython asks for this in place of a traceback."""
        return f"{type(self).__name__}: {self}".split("\n")


class RankError(MinidlError):
    """The function raised on one rank or more. `causes[rank]` is the exception, where it could
    travel.
    """

    def __init__(self, message, ranks=(), run=None, causes=None):
        super().__init__(message, ranks, run)
        self.causes = causes or {}


class DeadlockError(MinidlError):
    """These ranks wait for each other, or for a rank that has finished, and nothing can ever wake
    them.
    """

    def wait_for(self):
        """The picture of who waits for whom."""
        return self.trace.wait_for()


class RankDied(MinidlError):
    """A rank's process ended in the middle of a run."""


class MismatchError(MinidlError):
    """Two ranks disagree on a message's shape or dtype, or on which collective comes next."""


class LeftoverError(MinidlError):
    """A message was sent and never received, a receive was posted that no message met, or a rank
    never waited for what it had started.
    """


class RankTimeout(MinidlError):
    """The run took longer than its `timeout`, and no deadlock could be proved."""


class NotInCell(MinidlError):
    """A cell on some ranks talked to a rank that does not run the cell."""
