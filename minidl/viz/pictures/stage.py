"""Where do ranks, messages and their values stand, in a picture of one moment?

         rank 3 [#] ----o----> [/] rank 0        ranks on an oval, each with a box that says what it does
                 ^     1, 2     |                a message somewhere on its way, its values to its left:
                 |              v                outside, where messages go round clockwise
         rank 2 [ ] <---------- [ ] rank 1

Coordinates are pixels from the middle, rounded: a film repeats them many times. Left out: which moment it is.
"""

import math
from numbers import Real

from minidl.viz.drawing.palette import ALARM, FAINT, INK, arrow_color, rank_color, rank_label
from minidl.viz.drawing.scene import Box, Dot, Label, Moment, Path
from minidl.viz.drawing.units import bytes_text, plain
from minidl.viz.pictures.wait_for import places

WIDE = 728  # pixels
LABELLED = 10  # messages in a frame that have room for their values
NAMED = 16  # ranks that have room for their names and what they do
PAIRS = 128  # links that are drawn
STYLES = (("computing", "solid"), ("message under way", "outline"), ("waiting", "hatched"))


def height(n):
    """Pixels of the plot."""
    return 250 if n == 2 else 330 if n <= 4 else 400 if n <= NAMED else 520


class Stage:
    """Where everything stands: ranks on an oval, messages between them, in pixels from the middle."""

    def __init__(self, n, high, values, pairs):
        self.n, self.high, self.values, self.pairs = n, high, values, pairs
        self.box = 34 if n <= 8 else 24 if n <= NAMED else max(5, 900 / n / 2)
        radius = 110 if n == 2 else high / 2 - (62 if n <= NAMED else 34)
        wide = 1.0 if n == 1 else 1.6 if n <= NAMED else 1.25
        self.where = [(wide * x, y) for x, y in places(n, radius)]

    def links(self):
        """A faint line for each pair that has messages."""
        return [
            Path(*zip(*self.ends(a, b, self.box / 2)), FAINT)
            for a, b in sorted({tuple(sorted(pair)) for pair in self.pairs})[:PAIRS]
        ]

    def ends(self, a, b, edge):
        """The two points at which a line between two ranks begins and ends, `edge` pixels away from them."""
        (x0, y0), (x1, y1) = self.where[a], self.where[b]
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        dx, dy = (
            min(edge, 0.4 * length) * (x1 - x0) / length,
            min(edge, 0.4 * length) * (y1 - y0) / length,
        )
        return (round(x0 + dx), round(y0 + dy)), (round(x1 - dx), round(y1 - dy))

    def nodes(self):
        """A small dot for each rank; the box around it says what the rank does."""
        return [
            Dot(round(x), round(y), rank_color(rank, self.n), 7 if self.n <= NAMED else 4)
            for rank, (x, y) in enumerate(self.where)
        ]

    def moment(self, film, stop, words, travelling, times):
        """All that moves, in one frame."""
        kept, states = (
            self.kept(travelling, film.most),
            [film.doing.now(rank, time) for rank, time in enumerate(times)],
        )
        lost = film.lost if stop == "end" else []
        labelled = kept if len(kept) <= LABELLED and self.n <= NAMED else []
        shapes = {
            name: [self.node(rank) for rank, (state, _) in enumerate(states) if state == name]
            for name, _ in STYLES
        }
        return Moment(
            shapes
            | {
                "message": [
                    Dot(
                        *self.at(m, share),
                        arrow_color(m.send.rank, self.n),
                        13 if self.n <= NAMED else 8,
                    )
                    for m, share in kept
                ],
                "never received": [
                    Dot(*self.at(m, 0.35), ALARM, 9, symbol="cross") for m in lost[: film.most]
                ],
                "names": [
                    self.name(rank, states[rank][1])
                    for rank in range(0, self.n, 1 if self.n <= 32 else self.n // 16)
                ],
                "values": [self.value(m, share) for m, share in labelled]
                + [self.value(m, 0.35) for m in lost if self.n <= NAMED][:LABELLED],
                "clock": [Label(6 - WIDE // 2, 20 - round(self.high / 2), words, INK, "start", 13)],
            },
            stop,
        )

    def kept(self, travelling, most):
        """One message a pair where there are too many, those of most bytes first."""
        if len(travelling) <= most:
            return travelling
        pairs = {}
        for m, share in travelling:
            key = m.send.rank, m.send.peer
            if key not in pairs or pairs[key][0].send.nbytes < m.send.nbytes:
                pairs[key] = m, share
        return sorted(pairs.values(), key=lambda pair: -pair[0].send.nbytes)[:most]

    def node(self, rank):
        """The box around a rank."""
        x, y = map(round, self.where[rank])
        half = round(self.box / 2)
        return Box(x - half, x + half, y, 2 * half, rank_color(rank, self.n))

    def name(self, rank, words):
        """The rank's name, outside of the ring, and what it does."""
        x, y = self.where[rank]
        away, low = self.box / 2 + 5, y / max(1.0, math.hypot(x, y))
        side = "start" if x >= -1 else "end"
        text = f"{rank_label(rank, self.n)}\n{words}" if self.n <= NAMED else str(rank)
        if self.n > NAMED:
            side, x, y, away = "middle", 1.07 * x, 1.07 * y, 0
        return Label(
            round(x + away if side == "start" else x - away),
            round(y + 12 * low * (self.n <= NAMED)),
            text,
            INK,
            side,
            12 if self.n <= 8 else 10,
        )

    def at(self, message, share):
        """(x, y) of a message that has come this share of its way; opposite ways keep to different sides."""
        (x0, y0), (x1, y1) = self.where[message.send.rank], self.where[message.send.peer]
        dx, dy, length = self.direction(message)
        edge, aside = (
            min(0.4 * length, 0.75 * self.box),
            7 if (message.send.peer, message.send.rank) in self.pairs else 0,
        )
        way = edge + share * (length - 2 * edge)
        return round(x0 + way * dx + aside * dy), round(y0 + way * dy - aside * dx)

    def direction(self, message):
        """(dx, dy) of length 1, and the length, of the way that a message goes."""
        (x0, y0), (x1, y1) = self.where[message.send.rank], self.where[message.send.peer]
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        return (x1 - x0) / length, (y1 - y0) / length, length

    def value(self, message, share, most=4):
        """What the message carries, to the left of its way: outside, where messages go round clockwise."""
        dx, dy, _ = self.direction(message)
        x, y = self.at(message, share)
        side = "start" if dy > 0.4 else "end" if dy < -0.4 else "middle"
        return Label(
            round(x + 12 * dy),
            round(y - (16 if self.n > 8 else 25) * dx),
            carried(message, self.values, most),
            INK,
            side,
            12,
        )


def carried(message, values, most):
    """The numbers of a small tensor, or the size of a large one."""
    numbers = values.get((message.send.rank, message.send.seq))
    if numbers is None:
        return bytes_text(message.send.nbytes)
    texts = [
        plain(v) if isinstance(v, Real) and not isinstance(v, bool) else str(v) for v in numbers
    ]
    return ", ".join(texts[:most]) + ("..." if len(texts) > most else "") if texts else "0 B"
