"""What did this run send, and what does a right answer send?

    yours       rank 0  --x======.------>      both from their own beginning, on one scale of time;
                rank 1  ---------`=>----      === the message to blame, thick, a cross at its foot
    a right     rank 0  --o--.---------->
    answer      rank 1  -----`->---------     recorded, without its code

Left out: waiting and computing; see lamport for one run in full.
"""

from minidl.viz.drawing.palette import ALARM, FAINT
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Dot, Path
from minidl.viz.drawing.units import counts_text
from minidl.viz.pictures.rows import RunRows, Timescale, message_words, runs_scene
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
    # Both runs from their own beginning, so that what differs stands below each other.
    scale = Timescale(0.0, max(side.seconds for side in sides))
    if steps:
        scale.unit = 1.0
        scale.title = "steps"
    axis = scale.axis(before=0.03, after=0.05)
    scene = runs_scene(_finding(*sides), _caption(sides, guilty), sides, axis, pixels=30)
    ends = (0, scale.at(scale.end))
    lines = []
    heads = []
    arrows = {"message": [], "never received": [], "to blame": []}  # a layer each
    for side in sides:
        # the run's name above, a faint line for each rank, and its messages between the lines
        heads.append(side.head(side.sent))
        for row in side.rows:
            lines.append(Path(ends, (row.y, row.y), FAINT))
        for message in side.all_messages[:MOST]:
            hover = f"{message_words(message.send)}\n{message.send.line}"
            arrow = scale.arrow(message, side.rows, hover, side.start)
            layer = "never received" if is_lost(message) else "message"
            # Only the run itself has a message to blame; a right answer may send an equal one.
            if guilty is not None and side is sides[0] and guilty in message:
                layer = "to blame"
                arrow = arrow._replace(color=ALARM, width=4.0)
            arrows[layer].append(arrow)
    scene.add("ranks", lines)
    for name, drawn in arrows.items():
        scene.add(name, drawn, legend=True)
    # A cross as well, because some readers cannot tell this red from a rank's orange.
    blamed = arrows["to blame"]
    crosses = [Dot(arrow.x0, arrow.y0, ALARM, 12, arrow.hover, "cross") for arrow in blamed]
    scene.add("mark", crosses)
    scene.add("words", heads)
    counts = " and ".join(side.sent[0] for side in sides)
    summary = f"{counts_text(run=len(sides))}, {counts}"
    return Picture("beside", summary, scene, _table(sides))


class _Sent(RunRows):
    """One run, and what it sent."""

    def __init__(self, name, trace, above=None):
        super().__init__(name, trace, above)
        self.all_messages = trace.messages()
        self.start, end = extent(trace)
        self.seconds = end - self.start


def _finding(own, right=None):
    """What differs, in one sentence."""
    if right is None:
        return f"This run sends {own.sent[0]}"
    # messages are compared first, then bytes
    for sent, wanted in zip(own.sent, right.sent):
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
        for send, recv in side.all_messages:
            done = recv.done if recv else None
            rows.append((side.name, send.rank, send.peer, send.nbytes, send.posted, done))
    return Table(("run", "source", "to", "nbytes", "posted", "done"), rows)
