"""Where do ranks, messages and their values stand, in a picture of one moment?

     rank 3 [#] ----o----> [/] rank 0      ranks on an oval, each with a box that says what it does
             ^     1, 2     |              a message on its way, its values to its left: outside,
             |              v              where messages go round clockwise
     rank 2 [ ] <---------- [ ] rank 1

Coordinates are whole pixels: a film repeats them many times.
Left out: which moment it is; see film.
"""

from dataclasses import dataclass, field

from minidl.viz.drawing.palette import ALARM, FAINT, INK, arrow_color, rank_color, rank_label
from minidl.viz.drawing.scene import Box, Dot, Label, Path
from minidl.viz.drawing.units import bytes_text, value_text
from minidl.viz.pictures.circle import label_beside, rank_places, route
from minidl.viz.reading.matching import pair_of

NAMED = 16  # ranks that have room for their names and what they do
LINKS = 128  # pairs of ranks whose link is drawn


@dataclass
class Stage:
    """Where everything stands, in pixels.

    n       how many ranks there are
    middle  (x, y) of the oval's middle
    radii   half of its width and half of its height
    box     the width of the box around a rank
    values  Trace.values: what small messages carry
    pairs   (source, to) of all messages
    places  (x, y) of each rank
    """

    n: int
    middle: tuple
    radii: tuple
    box: float
    values: dict
    pairs: set
    places: list = field(init=False)

    def __post_init__(self):
        x, y = self.middle
        wide, high = self.radii
        self.places = []
        for across, down in rank_places(self.n, 1.0):
            self.places.append((x + wide * across, y + high * down))

    @property
    def roomy(self):
        """Whether there is room for words."""
        return self.n <= NAMED

    def links(self):
        """A faint line for each pair that has messages, from box to box."""
        lines = []
        # both directions of a pair share a link
        linked = sorted({tuple(sorted(pair)) for pair in self.pairs})
        for pair in linked[:LINKS]:
            start, end = [self.places[rank] for rank in pair]
            link = route(start, end)
            # Of many ranks the boxes overlap: a fifth of the link is to be seen all the same.
            edge = min(self.box / 2, 0.4 * link.length)
            x0, y0 = map(round, link.at(edge))
            x1, y1 = map(round, link.at(link.length - edge))
            lines.append(Path((x0, x1), (y0, y1), FAINT))
        return lines

    def rank_dots(self, size):
        """A dot for each rank, of `size` pixels where there is room."""
        if not self.roomy:
            size = 4
        dots = []
        for rank, place in enumerate(self.places):
            x, y = map(round, place)
            dots.append(Dot(x, y, rank_color(rank, self.n), size))
        return dots

    def rank_box(self, rank):
        """The box around a rank."""
        # whole pixels, and an even width, so that the rank is in the middle of its box
        x, y = map(round, self.places[rank])
        half = round(self.box / 2)
        left = x - half
        right = x + half
        color = rank_color(rank, self.n)
        return Box(left, right, y, 2 * half, color)

    def rank_name(self, rank, words):
        """The rank's name, outside of the oval, and what it does."""
        place = self.places[rank]
        if self.roomy:
            text = f"{rank_label(rank, self.n)}\n{words}"
            size = 12 if self.n <= 8 else 10
            label = label_beside(place, text, self.box / 2 + 5, 12, size)
        else:
            x, y = place
            label = Label(1.07 * x, 1.07 * y, str(rank), INK, "middle", 10)
        return label._replace(x=round(label.x), y=round(label.y))

    def route_of(self, message):
        """The Route from the sender to the receiver."""
        source, to = pair_of(message)
        return route(self.places[source], self.places[to])

    def place_of(self, message, share):
        """(x, y) of a message that has gone this share of its way, between the boxes."""
        way = self.route_of(message)
        # A message travels from box to box; between neighbours of many, a fifth of the way is left.
        edge = min(0.4 * way.length, 0.75 * self.box)
        along = edge + share * (way.length - 2 * edge)
        # Messages of opposite ways keep to different sides.
        source, to = pair_of(message)
        aside = 7 if (to, source) in self.pairs else 0
        x, y = way.at(along, aside)
        return round(x), round(y)

    def message_dot(self, message, share):
        """A dot in the sender's colour."""
        color = arrow_color(message.send.rank, self.n)
        return Dot(*self.place_of(message, share), color, 13 if self.roomy else 8)

    def cross(self, message, share):
        """A cross for a message that was never received."""
        return Dot(*self.place_of(message, share), ALARM, 9, symbol="cross")

    def value(self, message, share, most=4):
        """What a message carries, to the left of its way; at most `most` numbers."""
        x, y = self.place_of(message, share)
        way = self.route_of(message)
        # The left of a way down is to the right on the page, so the text begins there.
        side = "middle"
        if abs(way.dy) > 0.4:
            side = "start" if way.dy > 0 else "end"
        rise = 16 if self.n > 8 else 25
        x += 12 * way.dy
        y -= rise * way.dx
        text = _carried(message, self.values, most)
        return Label(round(x), round(y), text, INK, side, 12)


def _carried(message, values, most):
    """The numbers of a small tensor, or the size of a large one."""
    numbers = values.get((message.send.rank, message.send.seq))
    if numbers is None:
        return bytes_text(message.send.nbytes)
    if not numbers:
        return "0 B"
    rest = "..." if len(numbers) > most else ""
    return ", ".join(map(value_text, numbers[:most])) + rest


def heaviest(travelling, most):
    """The (message, share) pairs, if there are too many one a pair of ranks, most bytes first."""
    if len(travelling) <= most:
        return travelling
    # The heaviest come first, and the first of each pair is kept.
    heavy = {}  # (source, to) -> the (message, share) of most bytes
    for moving in sorted(travelling, key=_nbytes, reverse=True):
        heavy.setdefault(pair_of(moving[0]), moving)
    return list(heavy.values())[:most]


def _nbytes(moving):
    return moving[0].send.nbytes
