"""Which algorithm is fastest, for how many bytes and how many ranks?

    time |          tree .'      time |      ring ,'        every algorithm is a closed form:
         |     ring  .' _.-'          |   tree _,'          seconds = f(N, n, alpha, beta)
         |  ------.X'                 | ----X''
         +------------- bytes         +---------- ranks     X  from here on another one is fastest

Where two lines cross is searched to the last whole element, not read off the drawing. Measured times stand
on the same picture, as marks. Left out: what makes the forms; see costs. All axes are logarithmic.
"""

from minidl.viz.drawing.palette import INK, RANKS
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Dot, Label, Path, Scene
from minidl.viz.drawing.units import bytes_text, count_text, plain, power_ticks, seconds_text

STYLES = ("solid", "dashed", "dashdot", "dotted", "long", "longdot")
SYMBOLS = ("circle", "square", "diamond", "triangle", "cross")
POINTS = 41  # sizes at which each line is computed
REACH = 256  # how far below and above the interesting sizes the lines go
CHANGES = 4  # of the fastest that can be marked and told
COLUMNS = ("algorithm", "ranks", "nbytes", "seconds", "measured_seconds")


class Explored(Picture):
    """The cost explorer.

    by_size   [(nbytes, algorithm that was fastest, algorithm that is fastest from there on)] at `ranks` ranks
    by_ranks  [(ranks, was fastest, is fastest)] at `n` bytes
    """

    def __init__(self, summary, scene, table, by_size, by_ranks):
        super().__init__("explore_costs", summary, scene, table)
        self.by_size, self.by_ranks = by_size, by_ranks


def explore_costs(algorithms, n=1 << 20, ranks=8, alpha=20e-6, beta=1e-9, measured=None):
    """Time against bytes at `ranks` ranks, and against ranks at `n` bytes, for each algorithm.

    algorithms  {name: function(N, n, alpha, beta)} that returns a Cost, or seconds; a ValueError leaves a point out
    measured    {name: [(nbytes, seconds)]}, taken with `ranks` ranks

    Raises ValueError for no algorithm or more than eight, an unknown name in `measured`, or fewer than two ranks.
    """
    measured = {
        name: [(size, s) for size, s in points if size > 0 and s > 0]
        for name, points in (measured or {}).items()
    }
    check(algorithms, n, ranks, alpha, beta, measured)
    predict = {name: seconds_of(function, alpha, beta) for name, function in algorithms.items()}
    sizes, counts = size_grid(n, ranks, alpha, beta, measured), rank_grid(ranks)
    lines = {
        name: [(size, t) for size in sizes if (t := at(ranks, size))]
        for name, at in predict.items()
    }
    spread = {
        name: [(N, t) for N in counts if (t := at(N, whole(n, N)))] for name, at in predict.items()
    }
    if not any(lines.values()):
        raise ValueError(
            f"no algorithm has a cost for {ranks} ranks: is the order of its arguments N, n, alpha, beta?"
        )
    by_size = crossings(
        {name: (lambda chunk, at=at: at(ranks, chunk * ranks)) for name, at in predict.items()},
        [s // ranks for s in sizes],
    )
    by_size = [(chunk * ranks, was, now) for chunk, was, now in by_size]
    by_ranks = crossings(
        {name: (lambda N, at=at: at(N, whole(n, N))) for name, at in predict.items()}, counts
    )
    scene = panel(
        lines,
        algorithms,
        Axis(
            f"size of the tensor, over {ranks} ranks",
            sizes[0],
            sizes[-1],
            power_ticks(sizes[0], sizes[-1], 4, bytes_text, 6),
            log=True,
        ),
        measured,
    )
    scene.beside = panel(
        spread,
        algorithms,
        Axis(
            f"ranks, at {bytes_text(n)}",
            counts[0] / 1.1,
            counts[-1] * 1.1,
            power_ticks(2, counts[-1], 2, lambda N: f"{N:.0f}", 7),
            log=True,
        ),
        {},
    )
    mark(scene, by_size, lambda name, size: predict[name](ranks, size), bytes_text)
    mark(
        scene.beside,
        by_ranks,
        lambda name, N: predict[name](N, whole(n, N)),
        lambda N: f"{N} ranks",
    )
    scene.title = finding(by_size, list(algorithms), fastest(predict, ranks, sizes[0]), ranks)
    scene.caption = caption(
        by_ranks,
        fastest(predict, counts[0], whole(n, counts[0])),
        n,
        counts,
        alpha,
        beta,
        measured,
        predict,
        ranks,
    )
    summary = f"{count_text(len(algorithms), 'algorithm')}, {count_text(ranks, 'rank')}"
    return Explored(
        summary, scene, table(lines, spread, measured, predict, ranks, n), by_size, by_ranks
    )


def check(algorithms, n, ranks, alpha, beta, measured):
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
    unknown = sorted(set(measured) - set(algorithms))
    if unknown:
        raise ValueError(
            f"measured has {', '.join(unknown)}; the algorithms are {', '.join(algorithms)}"
        )


def seconds_of(function, alpha, beta):
    """A function (N, n) -> seconds, None where the algorithm has no cost; each pair is computed once."""
    known = {}

    def at(N, n):
        if (N, n) not in known:
            try:
                cost = function(N, n, alpha, beta)
                known[N, n] = float(getattr(cost, "seconds", cost))
            except ValueError:
                known[N, n] = None
        return known[N, n]

    return at


def whole(n, N):
    """The multiple of N nearest to n, and N at least: sizes that split over the ranks."""
    return max(1, round(n / N)) * N


def size_grid(n, ranks, alpha, beta, measured):
    """Sizes around n, around alpha / beta, where both terms are equal, and around what was measured."""
    known = (
        [n]
        + ([alpha / beta] if alpha and beta else [])
        + [size for points in measured.values() for size, _ in points]
    )
    reach = max(REACH, ranks)
    low, high = max(ranks, min(known) / REACH), max(known) * reach
    return sorted({whole(low * (high / low) ** (i / (POINTS - 1)), ranks) for i in range(POINTS)})


def rank_grid(ranks):
    """Ranks from 2 on: all up to 16, then powers of two and their neighbours, where steps of a tree begin."""
    high = max(64, 2 * ranks)
    powers = [1 << i for i in range(4, high.bit_length())]
    between = [N for power in powers if power <= 256 for N in (power + 1, power * 3 // 2)]
    return sorted(N for N in {*range(2, 17), *powers, *between} if N <= high)


def fastest(predict, *point):
    """The name of the algorithm that takes least time; the first one where several do."""
    times = [
        (t, i, name)
        for i, (name, at) in enumerate(predict.items())
        if (t := at(*point)) is not None
    ]
    return min(times)[2] if times else None


def crossings(predict, points):
    """[(the first whole number from which on another one is fastest, which was, which is)] between the points."""
    found, before = [], points[0]
    was = fastest(predict, before)
    for point in points[1:]:
        now = fastest(predict, point)
        while now != was:  # several may change between two points: find the first, go on from there
            low, high = before, point
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if fastest(predict, middle) == was else (low, middle)
            new = fastest(predict, high)
            found.append((high, was, new))
            was, before = new, high
        before = point
    return found


def panel(lines, algorithms, x, measured):
    """One plot: a line for each algorithm, and marks for what was measured."""
    heights = [t for points in (*lines.values(), *measured.values()) for _, t in points] or [1e-6]
    low, high = min(heights) / 1.6, max(heights) * 1.6
    scene = Scene(
        "",
        "",
        rows=300,
        x=x,
        y=Axis("time", low, high, power_ticks(low, high, 10, seconds_text), log=True),
    )
    for i, name in enumerate(algorithms):
        if lines[name]:
            xs, ys = zip(*lines[name])
            scene.add(name, [Path(xs, ys, RANKS[i], 2.5)], STYLES[i % len(STYLES)], legend=True)
    for i, name in enumerate(algorithms):
        scene.add(
            f"{name}, measured",
            [
                Dot(
                    size,
                    t,
                    RANKS[i],
                    9,
                    f"{name}, measured: {bytes_text(size)} in {seconds_text(t)}",
                    SYMBOLS[i % len(SYMBOLS)],
                )
                for size, t in measured.get(name, ())
            ],
            legend=True,
        )
    return scene


def mark(scene, crossed, height, text):
    """A ring where the fastest changes, a line down from it, and the size or the number of ranks."""
    crossed = crossed if len(crossed) <= CHANGES else []
    spots = [(x, height(now, x)) for x, _, now in crossed]
    scene.add("crossover", [Path((x, x), (scene.y.low, y), INK, 1.5) for x, y in spots], "dotted")
    middle = (scene.x.low * scene.x.high) ** 0.5
    scene.add(
        "another is fastest from here on",
        [
            Dot(x, y, INK, 13, f"from {text(x)} on: {now} before {was}", "ring")
            for (x, y), (_, was, now) in zip(spots, crossed)
        ],
        legend=True,
    )
    lift = (scene.y.high / scene.y.low) ** 0.045
    scene.add(
        "where",
        [
            Label(
                x,
                scene.y.low * lift ** (1 + i % 3),
                text(x),
                INK,
                "start" if x < middle else "end",
                12,
            )
            for i, (x, _) in enumerate(spots)
        ],
    )


def finding(crossed, names, first, ranks):
    """From where on which one is fastest."""
    the = lambda name: f"the {name}" if name[:1].islower() else name
    if not crossed:
        others = "the only one here" if len(names) == 1 else "fastest at every size"
        said = f"{the(first)} is {others}, over {ranks} ranks"
    elif len(crossed) == 1:
        size, was, now = crossed[0]
        beaten = f"faster than {the(was)}" if len(names) == 2 else f"fastest, below it {the(was)}"
        said = f"From {bytes_text(size)} on {the(now)} is {beaten}, over {ranks} ranks"
    elif len(crossed) > CHANGES:
        said = f"Over {ranks} ranks the fastest changes {len(crossed)} times with the size"
    else:
        parts = [f"{the(was)} up to {bytes_text(size)}" for size, was, _ in crossed]
        said = f"Fastest over {ranks} ranks: {', '.join(parts)}, then {the(crossed[-1][2])}"
    return said[0].upper() + said[1:]


def caption(crossed, first, n, counts, alpha, beta, measured, predict, ranks):
    """What the lines are, what happens with more ranks, and how far off the measured times are."""
    words = [
        f"Lines: closed forms with alpha = {seconds_text(alpha)} and beta = {plain(beta * 1e9)} ns per byte."
    ]
    if first and len(predict) > 1:
        parts = [first] + [f"{now} from {N} ranks on" for N, _, now in crossed]
        several = (
            f"fastest: {', '.join(parts)}"
            if len(crossed) <= CHANGES
            else (
                f"the fastest changes {len(crossed)} times from {counts[0]} to {counts[-1]} ranks, "
                f"among {', '.join(dict.fromkeys([first] + [now for _, _, now in crossed]))}"
            )
        )
        words.append(
            f"At {bytes_text(n)}, {several}."
            if crossed
            else f"At {bytes_text(n)}, {first} is fastest from {counts[0]} to {counts[-1]} ranks."
        )
    ratios = [
        t / p
        for name, points in measured.items()
        for size, t in points
        if (p := predict[name](ranks, whole(size, ranks)))
    ]
    if ratios:
        words.append(
            f"Marks: measured times, {plain(min(ratios))} to {plain(max(ratios))} times the predicted ones."
        )
    return " ".join(words)


def table(lines, spread, measured, predict, ranks, n):
    """One row a point of a line, and one a measured time beside its prediction."""
    rows = [(name, ranks, size, t, None) for name, points in lines.items() for size, t in points]
    rows += [(name, N, whole(n, N), t, None) for name, points in spread.items() for N, t in points]
    rows += [
        (name, ranks, size, predict[name](ranks, whole(size, ranks)), t)
        for name, points in measured.items()
        for size, t in points
    ]
    return Table(COLUMNS, rows)
