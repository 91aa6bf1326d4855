"""What differs between two runs?

    ring   rank 0  ==/==/==/==|          both on one scale of time, each from its own beginning
           rank 1  ==/==/==/==|
    tree   rank 0  ======/|              == a message is under way   // waits   ## computes
           rank 1  ===/===|

The title says which sends more and which takes longer. Counted messages and bytes are the same in every run
of the same code; seconds are so on a virtual clock only. Left out: which message went where; see lamport.
"""

from minidl.viz.drawing.palette import INK, rank_color, rank_label
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Box, Label, Path, Scene
from minidl.viz.drawing.units import (
    axis_seconds,
    bytes_text,
    count_text,
    percent,
    plain,
    seconds_text,
)
from minidl.viz.pictures.cost import both_posted, meeting
from minidl.viz.pictures.lamport import row_pixels
from minidl.viz.reading.findings import left_out
from minidl.viz.reading.intervals import coarse, extent, main_threads, stretches, total, union

MOST = 700  # stretches of a kind in both runs together
ALIKE = 1.02  # a ratio of seconds below this is none
HEAD = 0.9  # rows above each run, for its name
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
STYLES = (
    ("computing", "solid", 0.5, 0.0),
    ("message under way", "outline", 0.5, 0.0),
    ("waiting for another rank", "hatched", 0.5, 0.0),
    ("message beside the computation", "outline", 0.17, 0.36),
)  # name, style, height, how far below the row's middle


def compare(run_a, run_b, names=("a", "b")):
    """The picture of two runs above each other, on one scale of time. Takes a Run or a Trace for each.

    Raises ValueError unless there are two different names.
    """
    names = tuple(map(str, names))
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"two runs have two different names, not {names!r}")
    sides = [Side(name, getattr(run, "trace", run)) for name, run in zip(names, (run_a, run_b))]
    longest, ranks = max(side.seconds for side in sides), sum(side.n for side in sides)
    unit, scale = axis_seconds(longest)
    rows = ranks + 2 * HEAD + 0.3
    pixels = row_pixels(max(side.n for side in sides)) * (0.72 if ranks <= 16 else 0.6)
    ticks, tops, top = [], [], 0.0
    for side in sides:
        tops.append(top + HEAD + 0.5)
        step = 1 if side.n <= 16 else 2 if side.n <= 48 else side.n // 16
        ticks += [(tops[-1] + rank, rank_label(rank, side.n)) for rank in range(0, side.n, step)]
        top += HEAD + side.n + 0.3
    scene = Scene(
        finding(*sides),
        caption(*sides),
        rows=max(150, pixels * rows),
        x=Axis(f"time ({scale})", -0.012 * longest / unit, 1.03 * longest / unit),
        y=Axis("", rows, 0, ticks),
    )
    for name, style, height, below in STYLES:
        scene.add(
            name,
            [
                Box(
                    a / unit,
                    b / unit,
                    top + rank + below,
                    height,
                    rank_color(rank, side.n),
                    f"{side.name}, rank {rank}, {name}: {seconds_text(b - a)}",
                )
                for side, top in zip(sides, tops)
                for rank, when in sorted(side.lanes(name, longest).items())
                for a, b in when
            ],
            style,
            legend=True,
        )
    scene.add(
        "end of a run",
        [
            Path((side.seconds / unit,) * 2, (top - 0.5, top + side.n - 0.5), INK, 2)
            for side, top in zip(sides, tops)
        ],
        "dashed",
        legend=True,
    )
    scene.add(
        "names",
        [
            Label(0, top - 0.5 - HEAD / 2.6, side.words(), INK, "start", 13)
            for side, top in zip(sides, tops)
        ],
    )
    counts = " and ".join(count_text(sum(side.messages), "message") for side in sides)
    return Picture("compare", f"{count_text(len(sides), 'run')}, {counts}", scene, table(sides))


class Side:
    """One of the two runs: its counts, its seconds, and who did what when, counted from its first event."""

    def __init__(self, name, trace):
        self.name, self.n = name, trace.world_size
        self.start, end = extent(trace)
        self.seconds = end - self.start if len(trace) else 0.0
        self.beyond = left_out(trace)
        if self.beyond:  # the clock went on when the record was full
            self.seconds, end = trace.seconds(), trace.seconds()
        self.stuck = bool(trace.waits)
        self.messages, self.nbytes = trace.sent("messages"), trace.sent("nbytes")
        self.doing = doing(trace, end)
        late = self.doing["waiting for another rank"]
        self.waited = [total(late.get(rank, ())) for rank in range(self.n)]

    @property
    def subject(self):
        """The run in the middle of a sentence: "the ring", "run a", "N = 4"."""
        return (
            f"run {self.name}"
            if len(self.name) == 1
            else f"the {self.name}"
            if self.name[0].islower()
            else self.name
        )

    def words(self):
        """What stands above its rows."""
        return (
            f"{self.name}: {seconds_text(self.seconds)}, {count_text(sum(self.messages), 'message')}, {bytes_text(sum(self.nbytes))}, "
            f"ranks wait {percent(sum(self.waited), self.n * self.seconds)} of the time"
        )

    def lanes(self, what, longest):
        """{rank: stretches} from its beginning; coarse where there are too many to be seen."""
        lanes = {
            rank: [(a - self.start, b - self.start) for a, b in when]
            for rank, when in self.doing[what].items()
        }
        if sum(map(len, lanes.values())) <= MOST / 2:
            return lanes
        bins = max(20, MOST // len(lanes))
        return {rank: coarse(when, 0.0, longest, bins) for rank, when in lanes.items()}


def doing(trace, end):
    """{name of a style: {rank: stretches}}: what the main threads do, and the messages of the others.

    Two posted sides make a message under way; before, the other rank is late.
    """
    threads, ready, under, late, beside = main_threads(trace), both_posted(trace), {}, {}, {}
    for e in trace:
        if e.kind in ("compute", "span") or e.waited is None:
            continue
        over = end if e.done is None else e.done
        met = over if e.done is None else min(max(e.waited, ready[meeting(e)]), over)
        if e.thread != threads[e.rank]:
            beside.setdefault(e.rank, []).append((met, over))
            continue
        under.setdefault(e.rank, []).append((met, over))
        late.setdefault(e.rank, []).append((e.waited, met))
    under = {rank: apart(when) for rank, when in under.items()}
    late = {rank: without(union(when), under[rank]) for rank, when in late.items()}
    computing = {
        rank: when
        for (rank, thread), when in stretches(trace, "computing", end).items()
        if threads[rank] == thread
    }
    return {
        "computing": computing,
        "message under way": under,
        "waiting for another rank": late,
        "message beside the computation": {rank: apart(when) for rank, when in beside.items()},
    }


def apart(stretches):
    """The same seconds, as stretches that do not overlap; those that only touch stay two, so that messages can be counted."""
    joined = []
    for start, end in sorted(stretches):
        if joined and start < joined[-1][1] * (1 - 1e-12):
            joined[-1][1] = max(joined[-1][1], end)
        elif end > start:
            joined.append([start, end])
    return [tuple(stretch) for stretch in joined]


def without(stretches, others):
    """What of the stretches lies in none of the others; both are in order."""
    left, at = [], 0
    for start, end in stretches:
        while at < len(others) and others[at][1] <= start:
            at += 1
        i = at
        while i < len(others) and others[i][0] < end:
            if others[i][0] > start:
                left.append((start, others[i][0]))
            start = max(start, others[i][1])
            i += 1
        if end > start:
            left.append((start, end))
    return left


def finding(a, b):
    """What differs, in one sentence."""
    if not sum(a.messages) + sum(b.messages):
        said = "No rank sends a message"
    elif sorted(a.messages) == sorted(b.messages):
        said = f"Both send {a_rank(a)} a rank"
        if sum(a.nbytes) != sum(b.nbytes):
            more, less = (a, b) if sum(a.nbytes) > sum(b.nbytes) else (b, a)
            said += f", {more.subject} {times(sum(more.nbytes), sum(less.nbytes), 'the bytes')}"
    else:
        said = f"{a.subject} sends {a_rank(a)} a rank, {b.subject} {a_rank(b).split(' message')[0]}"
        if a_rank(a) == a_rank(b):
            said = f"{a.subject} sends {count_text(sum(a.messages), 'message')} in all, {b.subject} {sum(b.messages):,}"
    return f"{said[0].upper()}{said[1:]}, and {slower(a, b)}"


def slower(a, b):
    """Which of the two takes longer, and how much."""
    slow, fast = (a, b) if a.seconds >= b.seconds else (b, a)
    stuck = [side for side in (a, b) if side.stuck]
    if stuck:
        return "neither ends" if len(stuck) == 2 else f"{stuck[0].subject} never ends"
    if slow.seconds <= ALIKE * fast.seconds:
        return "both take the same time"
    return f"{slow.subject} takes " + (
        f"{plain(slow.seconds / fast.seconds)} times as long"
        if fast.seconds
        else seconds_text(slow.seconds)
    )


def a_rank(side):
    """How many messages its ranks send: "6 messages", or "at most 3 messages" where they differ."""
    most = max(side.messages)
    if not most:
        return "no message"
    return ("" if min(side.messages) == most else "at most ") + count_text(most, "message")


def times(more, less, what):
    """As in "2 times the bytes"."""
    return f"{plain(more / less)} times {what}" if less else f"all {what}"


def caption(a, b):
    """How to read it, what each moved, and who waited most."""
    words = [
        "Each run from its own beginning, on one scale of time. Filled: the rank computes. Framed: its message is under way. "
        "Hatched: it waits for a rank that is late."
    ]
    if any(side.doing["message beside the computation"] for side in (a, b)):
        words[0] += " Thin frame: a message of a background thread, beside the computation."
    if max(a.waited + b.waited):
        shares = [
            sum(side.waited) / (side.n * side.seconds) if side.seconds else 0.0 for side in (a, b)
        ]
        side = a if shares[0] >= shares[1] else b
        rank = side.waited.index(max(side.waited))
        more = f"{side.subject} waits more: {percent(max(shares), 1)} of its ranks' time, against {percent(min(shares), 1)}"
        even = abs(shares[0] - shares[1]) < 0.005
        said = f"both wait {percent(shares[0], 1)} of their ranks' time" if even else more
        words.append(
            f"{said[0].upper()}{said[1:]}"
            + (
                "."
                if even
                else f"; its rank {rank} waits longest, {seconds_text(side.waited[rank])}."
            )
        )
    else:
        words.append("In neither run does a rank wait for a late one.")
    moved = [max(side.nbytes) for side in (a, b)]
    if any(moved):
        words.append(
            f"Most bytes that one rank sends: {bytes_text(moved[0])} in {a.subject}, {bytes_text(moved[1])} in {b.subject}."
        )
    words += [f"{side.name}:{side.beyond}" for side in (a, b) if side.beyond]
    return " ".join(words)


def table(sides):
    """One row a rank of each run."""
    whats = [name for name, *_ in STYLES]
    spent = lambda side, rank: [total(side.doing[what].get(rank, ())) for what in whats]
    return Table(
        COLUMNS,
        [
            (
                side.name,
                rank,
                side.messages[rank],
                side.nbytes[rank],
                *spent(side, rank)[:3],
                side.seconds,
                spent(side, rank)[3],
            )
            for side in sides
            for rank in range(side.n)
        ],
    )
