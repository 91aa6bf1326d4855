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

from minidl.viz.drawing.palette import INK
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Path
from minidl.viz.drawing.units import bytes_text, number_text, percent, seconds_text
from minidl.viz.pictures.rows import RunRows, Timescale, row_pixels, runs_scene
from minidl.viz.reading.findings import capitalized, left_out, named
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
BESIDE = "message beside the computation"
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
    BESIDE: _Style("outline", 0.17, 0.36),
}


def compare(run_a, run_b, names=("a", "b")):
    """The picture of two runs above each other, on one scale of time; takes a Run or a Trace each.

    Raises ValueError unless there are two different names.
    """
    names = tuple(map(str, names))  # numbers are names, too: compare(..., names=(8, 32))
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"two runs have two different names, not {names!r}")
    a = _Timed(names[0], getattr(run_a, "trace", run_a))
    b = _Timed(names[1], getattr(run_b, "trace", run_b), a)
    sides = (a, b)
    longest = max(a.seconds, b.seconds) or 1e-6  # neither may have an event
    scale = Timescale(0.0, longest)
    # Two runs have twice the rows of one picture, so each row gets less.
    narrower = 0.72 if a.n + b.n <= 16 else 0.6
    pixels = narrower * row_pixels(max(a.n, b.n))
    title = capitalized(f"{_sending(a, b)}, and {_slower(a, b)}")
    scene = runs_scene(title, _reading_help(a, b), sides, scale.axis(after=0.03), pixels)
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
        waits = f"ranks wait {percent(side.waiting, 1)} of the time"
        heads.append(side.head([seconds_text(side.seconds), *side.sent, waits]))
    scene.add("end of a run", ends, "dashed", legend=True)
    scene.add("names", heads)
    counts = f"{a.sent[0]} and {b.sent[0]}"
    return Picture("compare", f"2 runs, {counts}", scene, _rank_table(sides))


class _Timed(RunRows):
    """One of the two runs, and what its ranks do.

    lanes    {name of a style: {rank: stretches}} in seconds from the first event on
    spent    {name of a style: each rank's seconds}
    waited   each rank's seconds of waiting for a late one
    waiting  the share of the ranks' time for which they waited so
    """

    def __init__(self, name, trace, above=None):
        super().__init__(name, trace, above)
        start, end = extent(trace)
        self.seconds = 0.0
        if len(trace):
            self.seconds = end - start
        self.left_out = left_out(trace)
        if self.left_out:  # the clock went on when the record was full
            end = trace.seconds()
            self.seconds = end
        self.stuck = bool(trace.waits)
        # The lanes begin at 0 s, whenever the run's first event was.
        self.lanes = {}
        self.spent = {}
        for kind, lanes in _activities(trace, end).items():
            self.lanes[kind] = {rank: _shifted(found, start) for rank, found in lanes.items()}
            self.spent[kind] = [total(lanes.get(rank, ())) for rank in range(self.n)]
        self.waited = self.spent["waiting for another rank"]
        self.waiting = sum(self.waited) / (self.n * self.seconds or 1)

    @property
    def subject(self):
        """The run in the middle of a sentence: "the ring", "run a", "N = 4"."""
        if len(self.name) == 1:
            return f"run {self.name}"
        return named(self.name)

    def most_messages(self):
        """How many messages a rank sends: "6", or "at most 3" if the ranks differ."""
        most = max(self.messages)
        if not most:
            return "no"
        if min(self.messages) < most:
            return f"at most {most:,}"
        return f"{most:,}"


def _shifted(stretches, start):
    """The same stretches, counted from `start`."""
    return [(low - start, high - start) for low, high in stretches]


def _activities(trace, end):
    """{name of a style: {rank: stretches}}: what the main threads do, and the others' messages."""
    late, under_way = late_and_under_way(trace, end)
    # A waiting background thread does not hold up its rank, so only its messages are drawn.
    beside = defaultdict(list)
    for wait in split_waits(trace, end, main=False):
        beside[wait.event.rank].append((wait.met, wait.done))
    apart = {rank: union(found, split_touching=True) for rank, found in beside.items()}
    computing = main_lanes(trace, "computing", end)
    return dict(zip(STYLES, (computing, under_way, late, apart)))


def _sending(a, b):
    """Which of the two sends more, in words."""
    if not sum(a.messages) + sum(b.messages):
        return "no rank sends a message"
    noun = "messages" if max(a.messages) > 1 else "message"
    each = f"{a.most_messages()} {noun} a rank"
    if a.most_messages() != b.most_messages():
        return f"{a.subject} sends {each}, {b.subject} {b.most_messages()}"
    if sorted(a.messages) != sorted(b.messages):
        total_a, _ = a.sent
        total_b = f"{sum(b.messages):,}"
        return f"{a.subject} sends {total_a} in all, {b.subject} {total_b}"
    # the numbers of messages are equal, so the bytes are compared
    words = f"both send {each}"
    less, more = sorted((a, b), key=lambda side: sum(side.nbytes))
    if sum(less.nbytes) == sum(more.nbytes):
        return words
    times = "all"
    if any(less.nbytes):
        ratio = sum(more.nbytes) / sum(less.nbytes)
        times = f"{number_text(ratio)} times"
    return f"{words}, {more.subject} {times} the bytes"


def _slower(a, b):
    """Which of the two takes longer, and how much."""
    if a.stuck and b.stuck:
        return "neither ends"
    for side in (a, b):
        if side.stuck:
            return f"{side.subject} never ends"
    fast, slow = sorted((a, b), key=lambda side: side.seconds)
    # Two measurements are never equal, so a small difference does not count.
    if slow.seconds <= ALIKE * fast.seconds:
        return "both take the same time"
    if not fast.seconds:
        return f"{slow.subject} takes {seconds_text(slow.seconds)}"
    times = number_text(slow.seconds / fast.seconds)
    return f"{slow.subject} takes {times} times as long"


def _reading_help(a, b):
    """How to read it, what each moved, and who waited most."""
    words = [
        "Each run from its own beginning, on one scale of time. Filled: the rank computes. "
        "Framed: its message is under way. Hatched: it waits for a rank that is late."
    ]
    if a.lanes[BESIDE] or b.lanes[BESIDE]:
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
    less, more = sorted((a, b), key=lambda side: side.waiting)
    if more.waiting - less.waiting < EVEN:
        return f"Both wait {percent(a.waiting, 1)} of their ranks' time."
    most = f"{percent(more.waiting, 1)} of its ranks' time"
    least = percent(less.waiting, 1)
    longest = max(more.waited)
    rank = f"rank {more.waited.index(longest)} waits longest, {seconds_text(longest)}"
    return capitalized(f"{more.subject} waits more: {most}, against {least}; its {rank}.")


def _rank_table(sides):
    """One row a rank of each run."""
    rows = []
    for side in sides:
        spent = zip(*side.spent.values())
        counts = zip(side.messages, side.nbytes)
        for rank, (sent, (*main, beside)) in enumerate(zip(counts, spent)):
            rows.append((side.name, rank, *sent, *main, side.seconds, beside))
    return Table(COLUMNS, rows)
