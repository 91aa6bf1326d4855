"""Where does a rank's row stand, and where is a second on the axis of time?

    rank 0  |   ####   ///        time runs to the right, rows stand below each other
    rank 1  |      ###   //       #### and /// are boxes: stretches of time, one kind a layer
            0    1    2  (ms)

What lamport, timeline, compare and cost share. Left out: what a box means.
"""

from typing import NamedTuple

from minidl.viz.drawing.palette import rank_color, rank_label
from minidl.viz.drawing.scene import Axis, Box, Scene
from minidl.viz.drawing.units import axis_seconds, seconds_text


class Row(NamedTuple):
    """Where one rank, or one thread, stands in a picture."""

    y: float  # the middle of the row
    color: str
    name: str  # what hovering over one of its boxes says first


def rank_rows(n, top=0.0, run=""):
    """One row a rank, rank 0 on top, at `top`: a list of Rows. `run` precedes their names."""
    return [Row(top + rank, rank_color(rank, n), f"{run}rank {rank}") for rank in range(n)]


def rank_scene(title, n, time):
    """A Scene without caption and layers: `time` is its x axis, and its rows are `rank_rows`."""
    names = [(rank, rank_label(rank, n)) for rank in range(0, n, named_every(n))]
    ranks = Axis("" if n <= 16 else "rank", n - 0.5, -0.5, names)
    return Scene(title, "", rows=row_pixels(n) * n, x=time, y=ranks)


def named_every(n, most=32):
    """How many rows go with one name: about `most` names are legible."""
    if n <= most:
        return 1
    return 2 if n <= 3 * most else n // most


def row_pixels(n):
    """The height of a rank's row."""
    if n <= 4:
        return 56
    if n <= 8:
        return 44
    return 30 if n <= 16 else max(4, 720 / n)


class Timescale:
    """From seconds to places on an axis, in the largest unit of which the picture holds two."""

    def __init__(self, start, end):
        self.start = start
        self.end = end
        self.unit, name = axis_seconds(end - start)
        self.title = f"time ({name})"

    def at(self, seconds):
        """Where a second stands on the axis."""
        return seconds / self.unit

    def axis(self, before=0.012, after=0.012):
        """The axis; `before` and `after` are free room, as shares of the time."""
        room = self.at(self.end - self.start)
        low = self.at(self.start) - before * room
        high = self.at(self.end) + after * room
        return Axis(self.title, low, high)

    def boxes(self, lanes, rows, activity, height, below=0.0):
        """A box for each stretch of {lane: stretches}, `below` the middle of the lane's row.

        Hovering says who does what for how long: "rank 0, computing: 2 ms".
        """
        boxes = []
        for lane, stretches in sorted(lanes.items()):
            row = rows[lane]
            for start, end in stretches:
                hover = f"{row.name}, {activity}: {seconds_text(end - start)}"
                y = row.y + below
                boxes.append(Box(self.at(start), self.at(end), y, height, row.color, hover))
        return boxes
