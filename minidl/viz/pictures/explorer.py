"""Which algorithm is fastest, for how many bytes and how many ranks?

    time |          tree .'      time |      ring ,'        every algorithm is a closed form:
         |     ring  .' _.-'          |   tree _,'          seconds = f(N, n, alpha, beta)
         |  ------.X'                 | ----X''
         +------------- bytes         +---------- ranks     X  from here on another one is fastest

Where two lines cross is searched to the last whole element, not read off the drawing. Measured
times stand on the same picture, as marks. All axes are logarithmic. Left out: the closed forms; see
costs.
"""

from contextlib import suppress
from functools import cache
from itertools import cycle
from typing import NamedTuple

from minidl.viz.drawing.palette import INK, RANKS
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Dot, Label, Path, Scene, log_axis
from minidl.viz.drawing.units import (
    bytes_text,
    counts_text,
    number_text,
    power_ticks,
    seconds_text,
)
from minidl.viz.reading.findings import capitalized, named

STYLES = ("solid", "dashed", "dashdot", "dotted", "long", "longdot")
SYMBOLS = ("circle", "square", "diamond", "triangle", "cross")
POINTS = 41  # sizes at which each line is computed
REACH = 256  # how far below and above the interesting sizes the lines go
CHANGES = 4  # of the fastest that can be marked and named


class Explored(Picture):
    """The cost explorer.

    by_size   [Crossover(nbytes, before, after), ...] at `ranks` ranks
    by_ranks  [Crossover(ranks, before, after), ...] at `n` bytes
    """

    def __init__(self, summary, scene, table, by_size, by_ranks):
        super().__init__("explore_costs", summary, scene, table)
        self.by_size = by_size
        self.by_ranks = by_ranks


class Crossover(NamedTuple):
    """From x on `after` is fastest; up to there it is `before`."""

    x: int
    before: str
    after: str


class Measured(NamedTuple):
    """A measured time, and what the closed form predicts; None if it has no cost there."""

    name: str
    nbytes: int
    seconds: float
    predicted: float | None


def explore_costs(algorithms, n=1 << 20, ranks=8, alpha=20e-6, beta=1e-9, measured=None):
    """Each algorithm's time against bytes at `ranks` ranks, and against ranks at `n` bytes.

    algorithms  {name: function(N, n, alpha, beta)} that returns a Cost, or seconds; ValueError
                leaves a point out
    measured    {name: [(nbytes, seconds)]}, taken with `ranks` ranks

    Raises ValueError for no algorithm or more than eight, an unknown name in `measured`, or fewer
    than two ranks.
    """
    measured = measured or {}
    _check(algorithms, n, ranks, alpha, beta, measured)
    times = _times_of(algorithms, alpha, beta)
    marks = []  # on logarithmic axes nothing at 0 can be drawn
    for name, points in measured.items():
        for nbytes, seconds in points:
            if nbytes > 0 and seconds > 0:
                predicted = times(ranks, _whole(nbytes, ranks)).get(name)
                marks.append(Measured(name, nbytes, seconds, predicted))

    sizes = _sizes(n, ranks, alpha, beta, marks)
    counts = _rank_counts(ranks)
    by_size = Sweep(algorithms, sizes, ranks, times, lambda nbytes: (ranks, nbytes))
    by_ranks = Sweep(algorithms, counts, 1, times, lambda N: (N, _whole(n, N)))
    if not any(by_size.lines.values()):
        raise ValueError(
            f"no algorithm has a cost for {ranks} ranks: "
            "is the order of its arguments N, n, alpha, beta?"
        )
    # two plots beside each other: time against bytes, and time against ranks
    scene = _panel(by_size, f"size of the tensor, over {ranks} ranks", marks)
    scene.x.ticks = power_ticks(scene.x.low, scene.x.high, 4, bytes_text, 6)
    scene.beside = _panel(by_ranks, f"ranks, at {bytes_text(n)}", [])
    scene.beside.x.ticks = power_ticks(2, counts[-1], 2, "{:.0f}".format, 7)
    # room for the marks at both ends
    scene.beside.x.low /= 1.1
    scene.beside.x.high *= 1.1
    _mark_crossovers(scene, by_size, bytes_text)
    _mark_crossovers(scene.beside, by_ranks, "{} ranks".format)
    scene.title = _finding(by_size, ranks)
    scene.caption = (
        f"Lines: closed forms with alpha = {seconds_text(alpha)} "
        f"and beta = {number_text(beta * 1e9)} ns per byte."
        f"{_more_ranks(by_ranks, n)}{_how_far_off(marks)}"
    )
    summary = counts_text(algorithm=len(algorithms), rank=ranks)
    table = _table(by_size, by_ranks, marks, ranks)
    return Explored(summary, scene, table, by_size.crossovers, by_ranks.crossovers)


def _check(algorithms, n, ranks, alpha, beta, measured):
    """Raise ValueError for what cannot be drawn."""
    if not 1 <= len(algorithms) <= len(RANKS):
        raise ValueError(f"1 to {len(RANKS)} algorithms can be told apart, not {len(algorithms)}")
    if ranks < 2 or n < 1:
        raise ValueError(
            f"costs are explored for 2 ranks or more and 1 byte or more, not for {ranks} and {n}"
        )
    if alpha < 0 or beta < 0 or not alpha + beta:
        raise ValueError(
            f"alpha and beta are not negative, and not both 0; they are {alpha} and {beta}"
        )
    # A misspelt name would silently leave out a mark.
    unknown = sorted(set(measured) - set(algorithms))
    if unknown:
        raise ValueError(
            f"measured has {', '.join(unknown)}; the algorithms are {', '.join(algorithms)}"
        )


def _times_of(algorithms, alpha, beta):
    """The closed forms as one function: ranks, nbytes -> {name: seconds}, each computed once.

    An algorithm that has no cost for such a case is left out.
    """

    @cache  # both plots and the search for crossovers ask for the same cases
    def times(ranks, nbytes):
        found = {}
        for name, closed_form in algorithms.items():
            with suppress(ValueError):
                cost = closed_form(ranks, nbytes, alpha, beta)
                found[name] = float(getattr(cost, "seconds", cost))
        return found

    return times


class Sweep:
    """One plot: the closed forms along one axis, and where another one becomes fastest.

    xs          what is swept, in multiples of `step`: sizes that split over the ranks, or ranks
    lines       {name: [(x, seconds), ...]}
    first       what is fastest at the lowest x
    crossovers  [Crossover, ...] in the order of x
    """

    def __init__(self, names, xs, step, times, case):
        """times: ranks, nbytes -> {name: seconds}; case: x -> (ranks, nbytes)."""
        self.xs = xs
        self.step = step
        self.case = case
        self.times = times
        self.lines = {name: [] for name in names}
        for x in xs:
            for name, seconds in self.times_at(x).items():
                if seconds:  # nothing at 0 can be drawn
                    self.lines[name].append((x, seconds))
        self.first = self.fastest(xs[0])
        self.crossovers = self._find_crossovers()

    def times_at(self, x):
        """{name: seconds} of the algorithms at x."""
        return self.times(*self.case(x))

    def fastest(self, x):
        """The algorithm that takes least time at x, the first of several; None if there is none."""
        times = self.times_at(x)
        return min(times, key=times.get, default=None)

    def _find_crossovers(self):
        found = []
        low = self.xs[0]
        before = self.first
        for high in self.xs[1:]:
            # more than one may become fastest between low and high: find the first, go on from it
            while self.fastest(high) != before:
                low = self._first_other(before, low, high)
                after = self.fastest(low)
                found.append(Crossover(low, before, after))
                before = after
            low = high
        return found

    def _first_other(self, before, low, high):
        """The first x at which `before` is not fastest; it is at low, and is not at high."""
        # Halve the distance; `middle` stays a multiple of `step` away from `low`.
        while high - low > self.step:
            middle = low + (high - low) // self.step // 2 * self.step
            if self.fastest(middle) == before:
                low = middle
            else:
                high = middle
        return high


def _whole(n, N):
    """The multiple of N nearest to n, and N at least: a size that splits over N ranks."""
    return max(1, round(n / N)) * N


def _sizes(n, ranks, alpha, beta, marks):
    """Sizes around n, around alpha / beta, where both terms are equal, and around the marks."""
    known = [mark.nbytes for mark in marks]
    known.append(n)
    if alpha and beta:
        known.append(alpha / beta)
    low = max(ranks, min(known) / REACH)
    high = max(known) * max(REACH, ranks)
    # sizes at equal distances on the logarithmic axis, then rounded so that they split
    sizes = set()
    for i in range(POINTS):
        share = i / (POINTS - 1)
        sizes.add(_whole(low * (high / low) ** share, ranks))
    return sorted(sizes)


def _rank_counts(ranks):
    """Ranks from 2 on: all up to 16, then powers of two, and some between, where trees grow."""
    high = max(64, 2 * ranks)
    # Up to 16 each number of ranks, where single ranks matter most.
    counts = set(range(2, 17))
    power = 16  # a tree over 17 ranks takes one step more than one over 16
    while power <= high:
        counts.add(power)
        if power <= 256:
            counts |= {power + 1, power * 3 // 2}
        power *= 2
    return sorted(N for N in counts if N <= high)


def _panel(sweep, x_title, marks):
    """One plot: a line for each algorithm, and a dot for each measured time."""
    heights = [mark.seconds for mark in marks]
    for points in sweep.lines.values():
        heights += [seconds for _, seconds in points]
    scene = Scene(
        title="",
        caption="",
        rows=300,
        x=Axis(x_title, sweep.xs[0], sweep.xs[-1], log=True),
        y=log_axis("time", heights, room=1.6, base=10, text=seconds_text),
    )
    # A line has its colour and dashes, a mark the same colour and a shape: never colour alone.
    for (name, points), color, style in zip(sweep.lines.items(), RANKS, cycle(STYLES)):
        if points:
            scene.add(name, [Path(*zip(*points), color, 2.5)], style, legend=True)
    for name, color, symbol in zip(sweep.lines, RANKS, cycle(SYMBOLS)):
        dots = []
        for _, x, y, _ in [mark for mark in marks if mark.name == name]:
            hover = f"{name}, measured: {bytes_text(x)} in {seconds_text(y)}"
            dots.append(Dot(x, y, color, 9, hover, symbol))
        scene.add(f"{name}, measured", dots, legend=True)
    return scene


def _mark_crossovers(scene, sweep, text):
    """A ring where the fastest changes, a line down from it, and the size or number of ranks.

    The texts stand on three heights in turn, so that neighbours do not overlap.
    """
    if len(sweep.crossovers) > CHANGES:
        return
    lines = []
    rings = []
    labels = []
    # On logarithmic axes the middle is the geometric mean, and heights are factors.
    bottom = scene.y.low
    lift = (scene.y.high / bottom) ** 0.045
    middle = (scene.x.low * scene.x.high) ** 0.5
    for i, (x, before, after) in enumerate(sweep.crossovers):
        y = sweep.times_at(x)[after]
        lines.append(Path((x, x), (bottom, y), INK, 1.5))
        hover = f"from {text(x)} on: {after} before {before}"
        rings.append(Dot(x, y, INK, 13, hover, "ring"))
        y_text = bottom * lift ** (1 + i % 3)
        anchor = "start" if x < middle else "end"
        labels.append(Label(x, y_text, text(x), INK, anchor, 12))
    scene.add("crossover", lines, "dotted")
    scene.add("another is fastest from here on", rings, legend=True)
    scene.add("where", labels)


def _finding(by_size, ranks):
    """From which size on which algorithm is fastest."""
    crossovers = by_size.crossovers
    first = named(by_size.first)
    over = f"over {ranks} ranks"
    # Each number of changes has its own sentence: none, too many, one of two, a few.
    if not crossovers:
        return capitalized(f"{first} is fastest at every size, {over}")
    if len(crossovers) > CHANGES:
        return f"Over {ranks} ranks the fastest changes {len(crossovers)} times with the size"
    last = named(crossovers[-1].after)
    if len(by_size.lines) == 2 and len(crossovers) == 1:
        size = bytes_text(crossovers[0].x)
        return f"From {size} on {last} is faster than {first}, {over}"
    # "the flat up to 2 KiB, the tree up to 64 KiB, then the ring"
    parts = []
    for size, before, _ in crossovers:
        parts.append(f"{named(before)} up to {bytes_text(size)}")
    return f"Fastest {over}: {', '.join(parts)}, then {last}"


def _more_ranks(by_ranks, n):
    """What is fastest with more and more ranks: a sentence, or "" for a single algorithm."""
    # A single algorithm is always the fastest.
    crossovers = by_ranks.crossovers
    if not by_ranks.first or len(by_ranks.lines) == 1:
        return ""
    text = f"fastest: {by_ranks.first}"
    for N, _, after in crossovers:
        text += f", {after} from {N} ranks on"
    if len(crossovers) > CHANGES:
        text = f"the fastest changes {len(crossovers)} times with the ranks"
    return f" At {bytes_text(n)}, {text}."


def _how_far_off(marks):
    """How far the measured times are from the predicted ones: a sentence, or ""."""
    ratios = [mark.seconds / mark.predicted for mark in marks if mark.predicted]
    if not ratios:
        return ""
    least = number_text(min(ratios))
    most = number_text(max(ratios))
    return f" Marks: measured times, {least} to {most} times the predicted ones."


def _table(by_size, by_ranks, marks, ranks):
    """One row a point of a line, and one a measured time beside its prediction."""
    rows = []
    for sweep in (by_size, by_ranks):
        for name, points in sweep.lines.items():
            rows += [(name, *sweep.case(x), seconds, None) for x, seconds in points]
    for name, nbytes, seconds, predicted in marks:
        rows.append((name, ranks, nbytes, predicted, seconds))
    return Table(("algorithm", "ranks", "nbytes", "seconds", "measured_seconds"), rows)
