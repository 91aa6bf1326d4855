"""How did the messages travel, one step after the other?

         [0] ---o 3---> [1]        a dot with its values travels from the sender to the receiver
          ^              |         #### computing   //// waiting   [] a message is under way
          |              v
         [3] <--------- [2]        Play, Pause, and a slider with one stop a step

A film in plotly: film.py chooses its moments, stage.py places what is seen. The SVG, which cannot
move, shows the first steps side by side. Left out: background threads' states.
"""

from minidl.viz.drawing.palette import ALARM, INK
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Box, Dot, Label, Moment
from minidl.viz.drawing.svg import svg
from minidl.viz.drawing.units import count_text, counts_text
from minidl.viz.pictures.circle import WIDE, circle_radius, circle_scene
from minidl.viz.pictures.film import Film
from minidl.viz.pictures.stage import NAMED, Stage, heaviest
from minidl.viz.pictures.strip import strip
from minidl.viz.reading.findings import left_out, messages_finding
from minidl.viz.reading.intervals import window
from minidl.viz.reading.matching import messages_between, pair_of, started

STATES = 64  # ranks whose boxes fit
LABELLED = 10  # messages in a frame that have room for their values
STYLES = {"computing": "solid", "message under way": "outline", "waiting": "hatched"}
CROSS = 0.35  # how far along its way a message is lost
COLUMNS = ("step", "source", "to", "number", "nbytes", "values", "posted", "started", "done")


class Replay(Picture):
    """A film in plotly, and its first steps as a still picture in SVG."""

    def __init__(self, summary, scene, table, strip):
        super().__init__("replay", summary, scene, table)
        self.strip = strip

    def svg(self):
        """The first steps side by side, as SVG text."""
        return svg(self.strip)


def replay(trace, since=None, until=None):
    """The film of all messages, or of those from `since` to `until` seconds.

    It starts when Play is pressed. Raises ValueError if `until` does not lie after `since`.
    """
    start, end = window(trace, since, until)
    n = trace.world_size
    messages = messages_between(trace, start, end)
    film = Film(trace, messages, end)
    missing = left_out(trace)
    title = messages_finding(trace, messages)
    # The number of steps means something only if every message was received and recorded.
    if film.steps and not film.lost and not trace.waits and not missing:
        title += f", in {count_text(len(film.steps), 'step')}"

    height = _height(n)
    radius = circle_radius(n, height, room=62)
    stage = Stage(
        n,
        middle=(0, 0),
        radii=(radius * _stretch(n), radius),
        box=_box(n),
        values=trace.values,
        pairs=set(map(pair_of, messages)),
    )
    # The frames come first: each layer is added with what it holds when the picture opens.
    scene = circle_scene(title, _film_help(film) + missing, height)
    for instant in film.instants():
        shapes = _moving_shapes(film, stage, instant, height)
        scene.moments.append(Moment(shapes, instant.stop))
    # The page opens on the first stop of the slider.
    first = next(moment.shapes for moment in scene.moments if moment.stop)
    # A layer that is empty at first needs a sample, or the legend would not show it.
    scene.add("links", stage.links())
    if n <= STATES:
        for name, style in STYLES.items():
            scene.add(name, first[name], style, legend=True, empty=Box(0, 0, 0, 0, INK))
    scene.add("ranks", stage.rank_dots(size=7))
    scene.add("message", first["message"], legend=True, empty=Dot(0, 0, INK, 13))
    if film.lost:
        cross = Dot(0, 0, ALARM, 9, symbol="cross")
        scene.add("never received", first["never received"], legend=True, empty=cross)
    scene.add("names", first["names"])
    scene.add("values", first["values"], empty=Label(0, 0, "", INK))
    scene.add("clock", first["clock"])

    # The still picture explains its own panels; of the film it repeats what was left out.
    still_caption = _film_help(film)
    if film.steps:
        still_caption = " ".join(_reductions(film))
    still = strip(film, trace, title, still_caption + missing)
    summary = counts_text(rank=n, message=len(messages))
    return Replay(summary, scene, _step_table(film, trace), still)


def _height(n):
    """Pixels of the plot."""
    if n == 2:
        return 250
    if n <= 4:
        return 330
    if n <= NAMED:
        return 400
    return 520


def _stretch(n):
    """How much wider than high the oval of ranks is."""
    if n == 1:
        return 1.0
    if n <= NAMED:
        return 1.6
    return 1.25


def _box(n):
    """Pixels of the box around a rank."""
    if n <= 8:
        return 34
    if n <= NAMED:
        return 24
    return max(5, 450 / n)


def _moving_shapes(film, stage, instant, height):
    """{layer name: its shapes} of all that moves, in one frame."""
    states = [film.states.at(rank, time) for rank, time in enumerate(instant.times)]
    shapes = {name: [] for name in STYLES}
    if film.n <= STATES:
        for rank, state in enumerate(states):
            if state.name in STYLES:
                shapes[state.name].append(stage.rank_box(rank))
    shapes["names"] = []
    # Of many ranks, about sixteen have room for their numbers.
    step = 1 if film.n <= 32 else film.n // 16
    for rank in range(0, film.n, step):
        shapes["names"].append(stage.rank_name(rank, states[rank].words))
    travelling = heaviest(instant.travelling, film.most)
    lost = []
    if instant.stop == "end":
        lost = [(message, CROSS) for message in film.lost[: film.most]]
    shapes["message"] = [stage.message_dot(*moving) for moving in travelling]
    shapes["never received"] = [stage.cross(*moving) for moving in lost]
    shapes["values"] = []
    if stage.roomy:
        # Values of more messages would overlap.
        wordy = travelling if len(travelling) <= LABELLED else []
        shapes["values"] = [stage.value(*moving) for moving in wordy + lost[:LABELLED]]
    x = 6 - WIDE // 2
    y = 20 - round(height / 2)
    shapes["clock"] = [Label(x, y, instant.words, INK, "start", 13)]
    return shapes


def _film_help(film):
    """How to read the film, and what was left out of it."""
    words = []
    if film.steps:
        words.append(
            "Press Play, or drag the slider: one stop a step. A dot is a message on its way from "
            "its sender, whose colour it has, to its receiver."
        )
        if film.ticks:
            words.append("Messages that end at the same moment are one step.")
        else:
            words.append(
                "A step holds messages that did not have to follow each other; "
                "the clock shows their middle."
            )
        if film.n <= STATES:
            words.append(
                "Filled: the rank computes. Framed: its message is under way. "
                "Hatched: it waits for another rank."
            )
    elif film.lost:
        words.append("No message was received.")
    else:
        words.append("No message was sent.")
    if film.lost:
        words.append("A cross was never received.")
    words += _reductions(film)
    if film.joined > 1 or any(len(messages) > LABELLED for messages in film.stops):
        words.append("replay(since=, until=) shows a part in full.")
    return " ".join(words)


def _reductions(film):
    """What was left out of the film, a sentence each."""
    words = []
    if film.joined > 1:
        words.append(f"{len(film.steps):,} steps, {film.joined} at each stop of the slider.")
    if any(len(messages) > film.most for messages in film.stops):
        words.append(f"At most {film.most} messages are drawn at once, those of most bytes.")
    return words


def _step_table(film, trace):
    """One row a message, in the order of the steps; lost ones come last, without a step."""
    rows = []
    for number, step in enumerate(film.steps, start=1):
        for message in step:
            row = _row(message.send, trace)
            rows.append((number, *row, started(message), message.recv.done))
    for message in film.lost:
        row = _row(message.send, trace)
        rows.append((None, *row, None, None))
    return Table(COLUMNS, rows)


def _row(send, trace):
    """What the table says of a send."""
    values = trace.values.get((send.rank, send.seq))
    return send.rank, send.peer, send.number, send.nbytes, values, send.posted
