"""What did this run send, and what does a right answer send?

    yours       rank 0  --x======.------>      both from their own beginning, on one scale of time;
                rank 1  ---------`=>----      === the message to blame, thick, a cross at its foot
    a right     rank 0  --o--.---------->
    answer      rank 1  -----`->---------     recorded, without its code

Left out: waiting and computing; see lamport for one run in full.
"""

from minidl.viz.drawing.palette import ALARM, FAINT, INK
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Dot, Label, Path, Scene
from minidl.viz.drawing.units import bytes_text, count_text, counts_text
from minidl.viz.pictures.rows import HEAD, RunRows, Timescale, message_words, rank_ticks
from minidl.viz.reading.intervals import extent
from minidl.viz.reading.matching import is_lost

MOST = 400  # messages of a run that are drawn


def beside(trace, reference=None, guilty=None, steps=False):
    """The picture of a run's messages above those of a reference, if there is one.

    reference  a Trace, or None
    guilty     a send or receive event of `trace` that is to blame, or None
    steps      whether a second of the record is a step
    """
    sides = [_Sent("yours", trace)]
    if reference is not None:
        sides.append(_Sent("a right answer", reference, sides[0]))
    scale = Timescale(0.0, max(side.seconds for side in sides))
    if steps:
        scale.unit = 1.0
        scale.title = "steps"
    bottom = sides[-1].bottom
    ticks = [tick for side in sides for tick in rank_ticks(side.rows)]
    scene = Scene(
        _finding(*sides),
        _caption(sides, guilty),
        rows=max(150, 30 * bottom),
        x=scale.axis(before=0.03, after=0.05),
        y=Axis("", bottom, 0, ticks),
    )
    lines = []
    names = []
    arrows = {"message": [], "never received": [], "to blame": []}  # a layer each
    for side in sides:
        # the run's name above, a faint line for each rank, and its messages between the lines
        names.append(Label(0, side.top - HEAD / 2.6, side.in_words(), INK, size=13))
        for row in side.rows:
            lines.append(Path((0, scale.at(scale.end)), (row.y, row.y), FAINT))
        for message in side.sent[:MOST]:
            hover = f"{message_words(message.send)}\n{message.send.line}"
            arrow = scale.arrow(message, side.rows, hover, side.start)
            if guilty is not None and side is sides[0] and guilty in message:
                arrows["to blame"].append(arrow._replace(color=ALARM, width=4.0))
            else:
                arrows["never received" if is_lost(message) else "message"].append(arrow)
    scene.add("ranks", lines)
    for name, drawn in arrows.items():
        scene.add(name, drawn, legend=True)
    blamed = arrows["to blame"]
    crosses = [Dot(arrow.x0, arrow.y0, ALARM, 12, arrow.hover, "cross") for arrow in blamed]
    scene.add("mark", crosses)
    scene.add("words", names)
    counts = " and ".join(count_text(sum(side.messages), "message") for side in sides)
    return Picture("beside", f"{counts_text(run=len(sides))}, {counts}", scene, _table(sides))


class _Sent(RunRows):
    """One run, and what it sent."""

    def __init__(self, name, trace, above=None):
        super().__init__(name, trace, above)
        self.sent = trace.messages()
        self.start, end = extent(trace)
        self.seconds = end - self.start

    def counts(self):
        """How many messages and bytes it sent, in words."""
        return count_text(sum(self.messages), "message"), bytes_text(sum(self.nbytes))

    def in_words(self):
        """What stands above it."""
        return f"{self.name}: {', '.join(self.counts())}"


def _finding(own, right=None):
    """What differs, in one sentence."""
    if right is None:
        return f"This run sends {own.counts()[0]}"
    for sent, wanted in zip(own.counts(), right.counts()):
        if sent != wanted:
            return f"Yours sends {sent}, a right answer {wanted}"
    return "Yours sends as much as a right answer, but not the same"


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
        for send, recv in side.sent:
            done = recv.done if recv else None
            rows.append((side.name, send.rank, send.peer, send.nbytes, send.posted, done))
    return Table(("run", "source", "to", "nbytes", "posted", "done"), rows)
