"""What differs between two runs?

    ring   rank 0  ==/==/==/==|          both on one scale of time, each from its own beginning
           rank 1  ==/==/==/==|
    tree   rank 0  ======/|              == a message is under way   // waits   ## computes
           rank 1  ===/===|

The title says which sends more and which takes longer. Counted messages and bytes are the same in
every run of the same code; seconds are so on a virtual clock only. Left out: which message went
where; see lamport.
"""

from collections import defaultdict
from typing import NamedTuple

from minidl.viz.drawing.palette import INK, rank_label
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Label, Path, Scene
from minidl.viz.drawing.units import bytes_text, count_text, number_text, percent, seconds_text
from minidl.viz.pictures.rows import Timescale, named_every, rank_rows, row_pixels
from minidl.viz.reading.findings import capitalized, left_out
from minidl.viz.reading.intervals import (
    extent,
    late_and_under_way,
    legible,
    main_lanes,
    split_waits,
    total,
    union,
)

MOST = 700  # stretches of a kind in both runs together
ALIKE = 1.02  # a ratio of seconds below this is none
EVEN = 0.005  # shares of time that differ by less are equal
HEAD = 0.9  # rows above each run, for its name
GAP = 0.3  # rows between the runs
COLUMNS = (
    "run",
    "rank",
    "messages",
    "nbytes",
    "computing_seconds",
    "under_way_seconds",
    "waiting_seconds",
    "seconds",
    "beside_seconds",
)


class _Style(NamedTuple):
    """How one kind of stretches is drawn."""

    style: str
    height: float = 0.5  # in rows
    below: float = 0.0  # the middle of the rank's row


STYLES = {
    "computing": _Style("solid"),
    "message under way": _Style("outline"),
    "waiting for another rank": _Style("hatched"),
    "message beside the computation": _Style("outline", 0.17, 0.36),
}


def compare(run_a, run_b, names=("a", "b")):
    """The picture of two runs above each other, on one scale of time; takes a Run or a Trace each.

    Raises ValueError unless there are two different names.
    """
    names = tuple(map(str, names))
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"two runs have two different names, not {names!r}")
    a = _Side(names[0], getattr(run_a, "trace", run_a), HEAD)
    b = _Side(names[1], getattr(run_b, "trace", run_b), a.bottom + GAP + HEAD)
    sides = (a, b)
    longest = max(a.seconds, b.seconds)
    scale = Timescale(0.0, longest)
    pixels = row_pixels(max(a.n, b.n)) * (0.72 if a.n + b.n <= 16 else 0.6)
    scene = Scene(
        capitalized(f"{_sending(a, b)}, and {_slower(a, b)}"),
        _reading_help(a, b),
        rows=max(150, pixels * b.bottom),
        x=scale.axis(after=0.03),
        y=Axis("", b.bottom, 0, a.names() + b.names()),
    )
    # A layer holds the boxes of both runs, so that the legend names each style once.
    for name, style in STYLES.items():
        boxes = []
        for side in sides:
            lanes, _ = legible(side.lanes[name], 0.0, longest, MOST // 2)
            boxes += scale.boxes(lanes, side.rows, name, style.height, style.below)
        scene.add(name, boxes, style.style, legend=True)
    ends = []
    heads = []
    for side in sides:
        x = scale.at(side.seconds)
        ends.append(Path((x, x), (side.top, side.bottom), INK, 2))
        heads.append(Label(0, side.top - HEAD / 2.6, side.in_words(), INK, "start", 13))
    scene.add("end of a run", ends, "dashed", legend=True)
    scene.add("names", heads)
    counts = " and ".join(count_text(sum(side.messages), "message") for side in sides)
    return Picture("compare", f"2 runs, {counts}", scene, _rank_table(sides))


class _Side:
    """One of the two runs: its counts, its seconds, its rows, and what its ranks do.

    lanes   {name of a style: {rank: stretches}} in seconds from the first event on
    spent   {name of a style: each rank's seconds}
    waited  each rank's seconds of waiting for a late one
    top     where its first row begins, below its name; counted in rows, as `bottom`
    """

    def __init__(self, name, trace, top):
        self.name = name
        self.n = trace.world_size
        self.top = top
        self.bottom = top + self.n
        self.rows = rank_rows(self.n, top + 0.5, f"{name}, ")
        start, end = extent(trace)
        self.seconds = end - start if len(trace) else 0.0
        self.left_out = left_out(trace)
        if self.left_out:  # the clock went on when the record was full
            end = trace.seconds()
            self.seconds = end
        self.stuck = bool(trace.waits)
        self.messages = trace.sent("messages")
        self.nbytes = trace.sent("nbytes")
        self.lanes = {}
        self.spent = {}
        for name, lanes in _activities(trace, end).items():
            self.lanes[name] = {rank: _shifted(found, start) for rank, found in lanes.items()}
            self.spent[name] = [total(lanes.get(rank, ())) for rank in range(self.n)]
        self.waited = self.spent["waiting for another rank"]

    @property
    def subject(self):
        """The run in the middle of a sentence: "the ring", "run a", "N = 4"."""
        if len(self.name) == 1:
            return f"run {self.name}"
        return f"the {self.name}" if self.name[0].islower() else self.name

    def waiting_share(self):
        """The share of the ranks' time for which they waited for a late one."""
        if not self.seconds:
            return 0.0
        return sum(self.waited) / (self.n * self.seconds)

    def names(self):
        """The names of its rows, for an axis."""
        step = named_every(self.n, most=16)
        return [(self.rows[rank].y, rank_label(rank, self.n)) for rank in range(0, self.n, step)]

    def in_words(self):
        """What stands above its rows."""
        counts = f"{count_text(sum(self.messages), 'message')}, {bytes_text(sum(self.nbytes))}"
        waiting = percent(self.waiting_share(), 1)
        return (
            f"{self.name}: {seconds_text(self.seconds)}, {counts}, ranks wait {waiting} of the time"
        )

    def messages_a_rank(self):
        """How many messages a rank sends: "6 messages", or "at most 3 messages" if they differ."""
        most = max(self.messages)
        if not most:
            return "no message"
        count = count_text(most, "message")
        return count if min(self.messages) == most else f"at most {count}"


def _shifted(stretches, start):
    """The same stretches, counted from `start`."""
    return [(low - start, high - start) for low, high in stretches]


def _activities(trace, end):
    """{name of a style: {rank: stretches}}: what the main threads do, and the others' messages."""
    late, under_way = late_and_under_way(trace, end)
    beside = defaultdict(list)
    for wait in split_waits(trace, end, main=False):
        beside[wait.event.rank].append((wait.met, wait.done))
    return {
        "computing": main_lanes(trace, "computing", end),
        "message under way": under_way,
        "waiting for another rank": late,
        "message beside the computation": {
            rank: union(found, split_touching=True) for rank, found in beside.items()
        },
    }


def _sending(a, b):
    """Which of the two sends more, in words."""
    if not sum(a.messages) + sum(b.messages):
        return "no rank sends a message"
    if sorted(a.messages) == sorted(b.messages):
        words = f"both send {a.messages_a_rank()} a rank"
        more, less = a, b
        if sum(a.nbytes) < sum(b.nbytes):
            more, less = b, a
        if sum(more.nbytes) != sum(less.nbytes):
            words += f", {more.subject} {_times_the_bytes(more, less)}"
        return words
    if a.messages_a_rank() == b.messages_a_rank():
        total_a = count_text(sum(a.messages), "message")
        return f"{a.subject} sends {total_a} in all, {b.subject} {sum(b.messages):,}"
    count_b = b.messages_a_rank().split(" message")[0]
    return f"{a.subject} sends {a.messages_a_rank()} a rank, {b.subject} {count_b}"


def _times_the_bytes(more, less):
    """As in "2 times the bytes"."""
    if not sum(less.nbytes):
        return "all the bytes"
    return f"{number_text(sum(more.nbytes) / sum(less.nbytes))} times the bytes"


def _slower(a, b):
    """Which of the two takes longer, and how much."""
    stuck = [side for side in (a, b) if side.stuck]
    if len(stuck) == 2:
        return "neither ends"
    if stuck:
        return f"{stuck[0].subject} never ends"
    slow, fast = a, b
    if a.seconds < b.seconds:
        slow, fast = b, a
    if slow.seconds <= ALIKE * fast.seconds:
        return "both take the same time"
    if not fast.seconds:
        return f"{slow.subject} takes {seconds_text(slow.seconds)}"
    return f"{slow.subject} takes {number_text(slow.seconds / fast.seconds)} times as long"


def _reading_help(a, b):
    """How to read it, what each moved, and who waited most."""
    words = [
        "Each run from its own beginning, on one scale of time. Filled: the rank computes. "
        "Framed: its message is under way. Hatched: it waits for a rank that is late."
    ]
    if any(side.lanes["message beside the computation"] for side in (a, b)):
        words.append("Thin frame: a message of a background thread, beside the computation.")
    words.append(_waiting_words(a, b))
    if any(a.nbytes + b.nbytes):
        words.append(
            f"Most bytes that one rank sends: {bytes_text(max(a.nbytes))} in {a.subject}, "
            f"{bytes_text(max(b.nbytes))} in {b.subject}."
        )
    words += [f"{side.name}:{side.left_out}" for side in (a, b) if side.left_out]
    return " ".join(words)


def _waiting_words(a, b):
    """Which of the two waits more for late ranks, and which rank waits longest."""
    if not any(a.waited + b.waited):
        return "In neither run does a rank wait for a late one."
    more, less = a, b
    if a.waiting_share() < b.waiting_share():
        more, less = b, a
    if more.waiting_share() - less.waiting_share() < EVEN:
        return f"Both wait {percent(a.waiting_share(), 1)} of their ranks' time."
    longest = max(more.waited)
    words = (
        f"{more.subject} waits more: {percent(more.waiting_share(), 1)} of its ranks' time, "
        f"against {percent(less.waiting_share(), 1)}; "
        f"its rank {more.waited.index(longest)} waits longest, {seconds_text(longest)}."
    )
    return capitalized(words)


def _rank_table(sides):
    """One row a rank of each run."""
    rows = []
    for side in sides:
        for rank in range(side.n):
            *main, beside = [side.spent[name][rank] for name in STYLES]
            counts = side.messages[rank], side.nbytes[rank]
            rows.append((side.name, rank, *counts, *main, side.seconds, beside))
    return Table(COLUMNS, rows)
