"""What did this run send, and what does a right answer send?

    yours       rank 0  --x======.------>      both from their own beginning, on one scale of time;
                rank 1  ---------`=>----      === the message to blame, thick, a cross at its foot
    a right     rank 0  --o--.---------->
    answer      rank 1  -----`->---------     recorded, without its code

Left out: waiting and computing; see lamport for one run in full.
"""

from minidl.viz.drawing.palette import ALARM, FAINT, INK, arrow_color, rank_label
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Arrow, Axis, Dot, Label, Path, Scene
from minidl.viz.drawing.units import bytes_text, count_text
from minidl.viz.pictures.rows import Timescale
from minidl.viz.reading.intervals import extent
from minidl.viz.reading.matching import is_lost

MOST = 400  # messages of a run that are drawn
HEAD = 1.3  # rows between a run's first line and what stands above, for its name


def beside(trace, reference=None, guilty=None, steps=False):
    """The picture of a run's messages above those of a reference, if there is one.

    reference  a Trace, or None
    guilty     a send or receive event of `trace` that is to blame, or None
    steps      whether a second of the record is a step
    """
    sides = [_Side("yours", trace, 0.0)]
    if reference is not None:
        sides.append(_Side("a right answer", reference, sides[0].bottom))
    scale = Timescale(0.0, max(side.seconds for side in sides) or 1.0)
    if steps:
        scale.unit = 1.0
        scale.title = "steps"
    rows = sides[-1].bottom + 0.2
    scene = Scene(
        _finding(sides),
        _caption(sides, guilty),
        rows=max(150, 30 * rows),
        x=scale.axis(before=0.03, after=0.05),
        y=Axis("", rows, 0, [name for side in sides for name in side.rank_names()]),
    )
    lines = []
    names = []
    arrows = []
    lost = []
    blamed = []
    for side in sides:
        # a faint line for each rank, the run's name above, and its messages between the lines
        names.append(Label(0, side.y - 0.75, side.in_words(), INK, size=13))
        for rank in range(side.n):
            y = side.y + rank
            lines.append(Path((0, scale.at(scale.end)), (y, y), FAINT))
        for message in side.trace.messages()[:MOST]:
            arrow = _arrow(message, side, scale)
            if side.trace is trace and guilty is not None and guilty in message:
                blamed.append(arrow._replace(color=ALARM, width=4.0))
            elif is_lost(message):
                lost.append(arrow)
            else:
                arrows.append(arrow)
    crosses = [Dot(arrow.x0, arrow.y0, ALARM, 12, arrow.hover, "cross") for arrow in blamed]
    scene.add("ranks", lines)
    scene.add("message", arrows, legend=True)
    scene.add("never received", lost, legend=True)
    scene.add("to blame", blamed, legend=True)
    scene.add("mark", crosses)
    scene.add("words", names)
    counts = " and ".join(count_text(side.messages, "message") for side in sides)
    return Picture("beside", f"{count_text(len(sides), 'run')}, {counts}", scene, _table(sides))


class _Side:
    """One run: what it sent, and where it stands; y is the line of rank 0, counted in rows."""

    def __init__(self, name, trace, top):
        self.name = name
        self.trace = trace
        self.n = trace.world_size
        self.start, end = extent(trace)
        self.seconds = end - self.start
        self.messages = sum(trace.sent())
        self.nbytes = sum(trace.sent("nbytes"))
        self.y = top + HEAD
        self.bottom = self.y + self.n - 0.2

    def rank_names(self):
        """The ticks of its ranks."""
        return [(self.y + rank, rank_label(rank, self.n)) for rank in range(self.n)]

    def in_words(self):
        """What stands above it."""
        return f"{self.name}: {count_text(self.messages, 'message')}, {bytes_text(self.nbytes)}"


def _arrow(message, side, scale):
    """From the posting of the send to the end of the receive; a broken stub if it is lost."""
    send, recv = message
    hover = (
        f"rank {send.rank} to rank {send.peer}, message #{send.number}\n"
        f"{send.shape} {send.dtype}, {bytes_text(send.nbytes)}\n{send.line}"
    )
    x = scale.at(send.posted - side.start)
    y = side.y + send.rank
    if is_lost(message):  # it leaves its sender, and does not reach the next row
        lean = 0.42 if send.peer > send.rank else -0.42
        width = 0.04 * scale.at(scale.end)
        return Arrow(x, y, x + width, y + lean, ALARM, hover, broken=True)
    end = scale.at(recv.done - side.start)
    return Arrow(x, y, end, side.y + send.peer, arrow_color(send.rank, side.n), hover)


def _finding(sides):
    """What differs, in one sentence."""
    own = sides[0]
    if len(sides) == 1:
        return f"This run sends {count_text(own.messages, 'message')}"
    right = sides[1]
    if own.messages != right.messages:
        sent = count_text(own.messages, "message")
        wanted = count_text(right.messages, "message")
    elif own.nbytes != right.nbytes:
        sent = bytes_text(own.nbytes)
        wanted = bytes_text(right.nbytes)
    else:
        return "Yours sends as much as a right answer, but not the same"
    return f"Yours sends {sent}, a right answer {wanted}"


def _caption(sides, guilty):
    """How to read the picture."""
    text = "Each arrow is a message, from the posting of the send to the end of the receive."
    if len(sides) > 1:
        text += " Above, your run; below, that of a right answer on the same sizes."
    if guilty is not None:
        text += " The thick arrow with a cross at its foot is the message to blame."
    return text


def _table(sides):
    """One row a message."""
    rows = []
    for side in sides:
        for send, recv in side.trace.messages():
            done = recv.done if recv else None
            rows.append((side.name, send.rank, send.peer, send.nbytes, send.posted, done))
    return Table(("run", "source", "to", "nbytes", "posted", "done"), rows)
