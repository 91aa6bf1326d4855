"""Where does a rank's row stand, and where is a second on the axis of time?

    rank 0  |   ####   ///        time runs to the right, rows stand below each other
    rank 1  |      ###   //       #### and /// are boxes: stretches of time, one kind a layer
            0    1    2  (ms)

What all pictures with a row for each rank share. Left out: what a box means.
"""

from typing import NamedTuple

from minidl.viz.drawing.palette import ALARM, INK, arrow_color, rank_color, rank_label
from minidl.viz.drawing.scene import Arrow, Axis, Box, Label, Scene
from minidl.viz.drawing.units import axis_seconds, bytes_text, count_text, seconds_text
from minidl.viz.reading.matching import is_lost

HEAD = 0.9  # rows above each of several runs, for its name
GAP = 0.3  # rows between two runs


class Row(NamedTuple):
    """Where one rank, or one thread, stands in a picture."""

    y: float  # the middle of the row
    color: str
    name: str  # what hovering over one of its boxes says first


def rank_rows(n, top=0, run=""):
    """One row a rank, rank 0 on top, at `top`: a list of Rows. `run` precedes their names."""
    rows = []
    for rank in range(n):
        rows.append(Row(top + rank, rank_color(rank, n), f"{run}rank {rank}"))
    return rows


def rank_ticks(rows, most=32):
    """The names of rows, for an axis: (y, label) of each, or of about `most`."""
    ticks = [(row.y, rank_label(rank, len(rows))) for rank, row in enumerate(rows)]
    return ticks[:: named_every(len(rows), most)]


def named_every(n, most=32):
    """How many rows go with one name: about `most` names are legible."""
    if n <= most:
        return 1
    if n <= 3 * most:
        return 2
    return n // most


def rank_scene(title, rows, time):
    """A Scene without caption and layers: `time` is its x axis, `rows` are rank_rows()."""
    n = len(rows)
    axis_title = "" if n <= 16 else "rank"  # up to 16 each name says "rank" itself
    # From n - 0.5 at the bottom to -0.5 at the top: rank 0 is on top, with half a row of room.
    ranks = Axis(axis_title, low=n - 0.5, high=-0.5, ticks=rank_ticks(rows))
    height = row_pixels(n) * n
    return Scene(title, caption="", rows=height, x=time, y=ranks)


def row_pixels(n):
    """The height of a rank's row."""
    if n <= 4:
        return 56
    if n <= 8:
        return 44
    if n <= 16:
        return 30
    return max(4, 720 / n)


class RunRows:
    """One of several runs above each other: where it stands, counted in rows.

    top   where its first row begins, below its name
    rows  a Row for each rank
    sent  how many messages and bytes its ranks send in all: two texts
    """

    def __init__(self, name, trace, above=None):
        """above: the RunRows above it, if it is not the first."""
        self.name = name
        self.n = trace.world_size
        #   0 --------------   HEAD holds the run's name
        #   top  ----- rank 0
        #        ----- rank 1
        #   bottom             GAP, then the HEAD of the next run
        self.top = HEAD
        if above is not None:
            self.top += above.bottom + GAP
        self.bottom = self.top + self.n
        self.rows = rank_rows(self.n, self.top + 0.5, f"{name}, ")
        self.messages = trace.sent("messages")
        self.nbytes = trace.sent("nbytes")
        self.sent = [count_text(sum(self.messages), "message"), bytes_text(sum(self.nbytes))]

    def head(self, facts):
        """The run's name and some facts, above its rows."""
        y = self.top - HEAD / 2.6
        return Label(0, y, f"{self.name}: {', '.join(facts)}", INK, size=13)


def runs_scene(title, caption, runs, time, pixels):
    """A Scene of RunRows above each other: `time` is its x axis, `pixels` the height of a row."""
    ticks = []
    for run in runs:
        ticks += rank_ticks(run.rows, most=16)
    bottom = runs[-1].bottom
    height = max(150, pixels * bottom)
    return Scene(title, caption, rows=height, x=time, y=Axis("", bottom, 0, ticks))


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
                ends = (self.at(start), self.at(end))
                boxes.append(Box(*ends, row.y + below, height, row.color, hover))
        return boxes

    def arrow(self, message, rows, hover, start=0.0):
        """An arrow from the posting of the send to the end of the receive, both from `start` on.

        A message that was never received is a broken one, which ends near its sender's row.
        """
        send, recv = message
        x = self.at(send.posted - start)
        y = rows[send.rank].y
        if is_lost(message):
            # it points to the row of the rank that never received it, and ends before it
            x_end = x + 0.03 * self.at(self.end - self.start)
            y_end = y + (0.42 if send.peer > send.rank else -0.42)
            return Arrow(x, y, x_end, y_end, ALARM, hover, broken=True)
        x_end = self.at(recv.done - start)
        y_end = rows[send.peer].y
        color = arrow_color(send.rank, len(rows))
        return Arrow(x, y, x_end, y_end, color, hover)


def message_words(send):
    """What hovering over a message says first: its way and what it carries, two lines."""
    return (
        f"rank {send.rank} to rank {send.peer}, message #{send.number}\n"
        f"{send.shape} {send.dtype}, {bytes_text(send.nbytes)}"
    )
