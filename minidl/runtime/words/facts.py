"""What is known of a run that ended badly: the facts of which report.py makes an error in words.

    a rank      Whereabouts   the needs of a blocked thread, what it is Blocked in, its lines
                Failure       an exception, as it travels from a rank
    two ranks   Disagreement  each says what it posts, and where
    a run       Facts         all of these, by rank

World and VirtualWorld find them in different ways and fill the same Facts.
"""

import pickle
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cloudpickle

from minidl.errors import MismatchError
from minidl.runtime.words.calling import own_place, traceback_lines
from minidl.runtime.words.deadlock import Need
from minidl.trace import MESSAGES

MOST_LINES = 20  # of one traceback: a recursion without an end has a thousand


class Blocked(NamedTuple):
    """What a thread waits for.

    kind      "send", "recv", the name of a collective, or "background" for work of its own rank
    comm      the name of the communicator; for background work, of its lane
    place     (file, line) that posted it
    leftover  whether the function has returned, and the rank only ends what it left under way
    size      shape and dtype of the message, "(4,) float32"
    own_place  the learner's line above `place`, where it was noted; else None
    """

    kind: str
    comm: str
    peer: int
    number: int
    place: tuple
    leftover: bool = False
    size: str = ""
    own_place: tuple | None = None

    def in_words(self):
        """ "waits for rank 1 to receive message 0, (4,) float32"."""
        group = "" if self.comm == "world" else f" on {self.comm}"
        if self.kind in MESSAGES:
            verb = "receive" if self.kind == "send" else "send"
            message = f"message {self.number}{group}, {self.size}"
            return f"waits for rank {self.peer} to {verb} {message}"
        if self.kind == "background":
            return "waits for its background work"
        awaited = f" for rank {self.peer}" if self.peer >= 0 else ""
        return f"waits in {self.kind} number {self.number}{group}{awaited}"

    @property
    def awaits(self):
        """The kind of event that would end the wait; a collective waits for its like."""
        return {"send": "recv", "recv": "send"}.get(self.kind, self.kind)


@property
def innermost_place(self):
    """(file, line) of the innermost line, the learner's or a concept's, or None."""
    if self.lines:
        return self.lines[-1][:2]
    return self.blocked.place if self.blocked else None


@property
def learners_place(self):
    """(file, line) of the learner's innermost line, or None: the concept's are left out."""
    place = own_place(self.lines)
    if place is None and not self.lines and self.blocked:
        return self.blocked.own_place
    return place


def without_middle(lines):
    """The lines of a traceback without the middle, if it is long: the first and the last calls."""
    left_out = len(lines) - MOST_LINES
    if left_out <= 0:
        return lines
    half = MOST_LINES // 2
    file, line, function = lines[half - 1]
    folded = file, line, f"{function} and {left_out} further calls"
    return [*lines[: half - 1], folded, *lines[-half:]]


class Whereabouts(NamedTuple):
    """Where a thread is. needs: None while it runs. lines: (file, line, function)."""

    needs: list[Need] | None
    blocked: Blocked | None
    lines: list
    place = innermost_place
    own_place = learners_place

    def peers(self):
        """The ranks of which it needs a post, in order."""
        return sorted({rank for need in self.needs or () for rank in need.ranks})


class Claim(NamedTuple):
    """What one rank posts: "rank 2 sends (4,) float32", at the line `place`."""

    rank: int
    verb: str
    size: str
    place: tuple

    def in_words(self):
        """ "rank 2 sends (4,) float32"."""
        return f"rank {self.rank} {self.verb} {self.size}"


class Disagreement(NamedTuple):
    """Two ranks post sides that do not fit. what: "message" or "collective"."""

    what: str
    number: int
    one: Claim
    two: Claim

    def error(self):
        """The MismatchError that tells it to the rank."""
        words = f"{self.what} {self.number}: {self.one.in_words()}, but {self.two.in_words()}"
        return MismatchError(words, ranks=(self.one.rank, self.two.rank))


def disagreement(what, number, *claims):
    """The Disagreement of two Claims about one message or collective; None if they agree."""
    one, two = sorted(claims, key=lambda claim: (claim.verb != "sends", claim.rank))
    return None if one.size == two.size else Disagreement(what, number, one, two)


class Failure(NamedTuple):
    """An exception of a rank, as plain values that can always travel.

    link     whether it tells of a broken connection
    type     the name of its class
    pickled  the exception itself, or None if it cannot travel
    blocked  what the rank waited for when the connection broke, or None
    """

    link: bool
    type: str
    message: str
    pickled: bytes | None
    lines: list
    blocked: Blocked | None = None
    place = innermost_place
    own_place = learners_place

    @classmethod
    def of(cls, error, link=False):
        """The Failure that stands for this exception."""
        try:
            pickled = cloudpickle.dumps(error)
        except Exception:
            pickled = None
        return cls(
            link,
            type(error).__name__,
            str(error),
            pickled,
            without_middle(traceback_lines(error.__traceback__)),
            getattr(error, "blocked", None),
        )

    @property
    def cause(self):
        """The exception, or None if its class exists on the rank only."""
        try:
            return pickle.loads(self.pickled) if self.pickled else None
        except Exception:
            return None


@dataclass
class Facts:
    """What is known of one run.

    results    rank -> what the function returned       lines     rank -> printed lines
    failures   rank -> Failure                          where     rank -> {thread: Whereabouts}
    died       rank -> exit code, or None               main      rank -> its main thread
    crashing   rank -> the moment of its fault Crash    stuck     {(rank, thread)} of a deadlock
    forgotten  rank -> places, (file, line), that started what the rank never waited for
    killed     ranks that had to be killed to stop them
    replaced   ranks that get a new process after this run
    """

    ranks: tuple
    timeout: float | None
    results: dict[int, Any] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    died: dict[int, int | None] = field(default_factory=dict)
    crashing: dict[int, str] = field(default_factory=dict)
    forgotten: dict[int, list] = field(default_factory=dict)
    killed: list[int] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)
    lines: dict[int, list] = field(default_factory=dict)
    where: dict[int, dict] = field(default_factory=dict)
    main: dict[int, int] = field(default_factory=dict)
    stuck: set = field(default_factory=set)
    mismatch: Disagreement | None = None
    timed_out: bool = False

    def __post_init__(self):
        self.lines = {rank: [] for rank in self.ranks}

    @property
    def well(self):
        """Whether every rank returned, nothing is left over or forgotten, and all agreed.

        A rank may have caught its MismatchError.
        """
        agreed = self.mismatch is None
        return self.everyone_returned and agreed and not (self.stuck or self.forgotten)

    @property
    def everyone_returned(self):
        """Whether the function has returned on every rank."""
        return len(self.results) == len(self.ranks)
