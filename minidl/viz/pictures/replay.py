"""How did the messages travel, one step after the other?

         [0] ---o 3---> [1]        a dot with its values travels from the sender to the receiver
          ^              |         #### computing   //// waiting   [] a message is under way
          |              v
         [3] <--------- [2]        Play, Pause, and a slider with one stop a step

A moment of the film is a moment of the run: where the clock is virtual, all that is seen in a frame happened at
once. On a real clock a step is what could happen at once, and each message is shown as far along as the others.
The SVG, which cannot move, shows the first steps side by side. Left out: background threads' states.
"""

import math
from statistics import median

from minidl.viz.drawing.palette import ALARM, INK
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Axis, Box, Dot, Label, Moment, Scene
from minidl.viz.drawing.svg import svg
from minidl.viz.drawing.units import count_text, seconds_text
from minidl.viz.pictures.cost import both_posted, meeting
from minidl.viz.pictures.stage import LABELLED, STYLES, WIDE, Stage, height
from minidl.viz.pictures.strip import strip
from minidl.viz.reading.doing import Doing
from minidl.viz.reading.findings import is_lost, left_out, messages_finding
from minidl.viz.reading.intervals import extent
from minidl.viz.reading.waves import waves

FRAMES = 60  # of a film
DOTS = 2400  # dots in all frames together
STATES = 64  # ranks whose boxes fit
ALONG = (0.0, 0.25, 0.5, 0.75, 1.0)  # how far along its messages a step is seen
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
    """The film of all messages, or of those between `since` and `until` seconds. It starts when Play is pressed."""
    start, end = extent(trace)
    start, end = start if since is None else since, end if until is None else until
    if not end > start:
        raise ValueError(f"until={end} does not lie after since={start}")
    messages = [
        m for m in trace.messages() if m.send.posted <= end and (is_lost(m) or m.recv.done >= start)
    ]
    film = Film(trace, messages, end)
    n, stops, high = trace.world_size, list(film.stops()), height(trace.world_size)
    title = messages_finding(trace, messages)
    if film.steps and not any(map(is_lost, messages)) and not trace.waits and not left_out(trace):
        title += f", in {count_text(len(film.steps), 'step')}"
    scene = Scene(
        title,
        caption(film, n) + left_out(trace),
        rows=high,
        square=True,
        x=Axis("", -WIDE / 2, WIDE / 2, shown=False),
        y=Axis("", high / 2, -high / 2, shown=False),
    )
    stage = Stage(n, high, trace.values, {(m.send.rank, m.send.peer) for m in messages})
    scene.moments = [stage.moment(film, *stop) for stop in stops]
    first = next(moment.shapes for moment in scene.moments if moment.stop)
    scene.add("links", stage.links())
    if n <= STATES:
        for name, style in STYLES:
            scene.add(name, first[name], style, legend=True, empty=Box(0, 0, 0, 0, INK))
    scene.add("ranks", stage.nodes())
    scene.add("message", first["message"], legend=True, empty=Dot(0, 0, INK, 13))
    if any(is_lost(m) for m in messages):
        scene.add(
            "never received",
            first["never received"],
            legend=True,
            empty=Dot(0, 0, ALARM, 9, symbol="cross"),
        )
    scene.add("names", first["names"])
    scene.add("values", first["values"], empty=Label(0, 0, "", INK))
    scene.add("clock", first["clock"])
    drawn = {layer.name for layer in scene.layers}
    scene.moments = [
        Moment({name: shapes for name, shapes in m.shapes.items() if name in drawn}, m.stop)
        for m in scene.moments
    ]
    still = strip(
        film,
        trace,
        title,
        (" ".join(reduced(film)[:-1]) if film.steps else caption(film, n)) + left_out(trace),
    )
    return Replay(
        f"{count_text(n, 'rank')}, {count_text(len(messages), 'message')}",
        scene,
        table(film, trace),
        still,
    )


class Film:
    """The steps of a run, and which moments of it are shown.

    steps   lists of messages; ticks: the messages of a step end at the same moment
    joined  how many steps share a stop of the slider; frames: how many frames a stop has
    """

    def __init__(self, trace, messages, end):
        self.trace, self.end, self.ready = trace, end, both_posted(trace)
        self.lost = [m for m in messages if is_lost(m)]
        self.steps, self.ticks = waves([m for m in messages if not is_lost(m)])
        self.joined = max(1, math.ceil(len(self.steps) / (FRAMES - 1)))
        self.shown = [
            [m for step in self.steps[i : i + self.joined] for m in step]
            for i in range(0, len(self.steps), self.joined)
        ]
        self.frames = max(1, min(len(ALONG), (FRAMES - 1) // max(1, len(self.shown))))
        self.most = max(16, DOTS // (1 + self.frames * len(self.shown)))
        self.doing = Doing(trace, self.ready)

    def started(self, message):
        """When both sides had posted it."""
        return min(self.ready[meeting(message.send)], message.recv.done)

    def stops(self):
        """(stop, words, [(message, share of its way)], time of each rank) of every frame, in order."""
        before, ranks, fractions = -math.inf, range(self.trace.world_size), along(self.frames)
        room = FRAMES - 1 - self.frames * len(self.shown)
        for number, step in enumerate(self.shown):
            words, end = self.words(number), max(m.recv.done for m in step)
            begin = min(map(self.started, step))
            begin = (
                max(begin, before) if self.ticks and before < end and self.joined == 1 else begin
            )
            if (
                self.ticks
                and room > 0
                and self.joined == 1
                and self.doing.computes(max(before, 0.0), begin)
            ):
                room -= 1
                now = (max(before, 0.0) + begin) / 2
                yield "", f"{words}\n{seconds_text(now)}", self.under_way(now), [now] * len(ranks)
            for i, share in enumerate(fractions):
                stop = str(number * self.joined + 1) if i == len(fractions) // 2 else ""
                now = begin + share * (end - begin)
                if self.ticks and self.joined == 1:
                    inside = begin + min(max(share, 0.001), 0.999) * (end - begin)
                    yield (
                        stop,
                        f"{words}\n{seconds_text(now)}",
                        self.under_way(now, step),
                        [inside] * len(ranks),
                    )
                else:
                    yield (
                        stop,
                        f"{words}\n{seconds_text(now)}",
                        [(m, share) for m in step],
                        self.own_times(step, share),
                    )
            before = end
        ended = "the run has stopped" if self.lost or self.trace.waits else "the run is over"
        yield "end", f"{ended}\n{seconds_text(self.end)}", [], [self.end] * len(ranks)

    def words(self, number):
        """Which steps a stop shows, in words."""
        first, last = number * self.joined + 1, min(len(self.steps), (number + 1) * self.joined)
        return f"{f'step {first}' if first == last else f'steps {first} to {last}'} of {len(self.steps)}"

    def under_way(self, now, step=()):
        """Every message that is posted and not yet received, and those of the step, with the share of their way."""
        inside = {id(m) for m in step}
        return [
            (m, self.share(m, now))
            for one in self.steps
            for m in one
            if id(m) in inside or m.send.posted <= now < m.recv.done
        ]

    def share(self, message, now):
        """How far a message has come."""
        start, end = self.started(message), message.recv.done
        return (
            min(1.0, max(0.0, (now - start) / (end - start))) if end > start else float(now >= end)
        )

    def own_times(self, step, share):
        """What time it is on each rank: on a real clock the messages of a step are not simultaneous."""
        share, own = min(max(share, 0.001), 0.999), {}
        for m in step:
            now = self.started(m) + share * (m.recv.done - self.started(m))
            own[m.send.rank] = now
            own.setdefault(m.recv.rank, now)
        middle = median(own.values())
        return [own.get(rank, middle) for rank in range(self.trace.world_size)]


def along(frames):
    """The shares of the way at which a step is seen."""
    return {1: (0.5,), 2: (0.2, 0.8), 3: (0.1, 0.5, 0.9), 4: (0.0, 0.33, 0.67, 1.0)}.get(
        frames, ALONG
    )


def reduced(film):
    """What was left out of the film, in words."""
    words = []
    if film.joined > 1:
        words.append(f"{len(film.steps):,} steps, {film.joined} at each stop of the slider.")
    if any(len(step) > film.most for step in film.shown):
        words.append(f"At most {film.most} messages are drawn at once, those of most bytes.")
    if film.joined > 1 or any(len(step) > LABELLED for step in film.shown):
        words.append("replay(since=, until=) shows a part in full.")
    return words


def caption(film, n):
    """How to read the film, and what was left out of it."""
    if not film.steps:
        words = ["No message was received." if film.lost else "No message was sent."]
    else:
        words = [
            "Press Play, or drag the slider: one stop a step. A dot is a message on its way from its sender, whose colour it has, "
            "to its receiver."
        ]
        if film.ticks:
            words.append("Messages that end at the same moment are one step.")
        else:
            words.append(
                "A step holds messages that did not have to follow each other; the clock shows their middle."
            )
    words += (
        [
            "Filled: the rank computes. Framed: its message is under way. Hatched: it waits for another rank."
        ]
        if n <= STATES and film.steps
        else []
    )
    if film.lost:
        words.append("A cross was never received.")
    return " ".join(words + reduced(film))


def table(film, trace):
    """One row a message, in the order of the steps; those never received come last, without a step."""
    rows = [
        (
            number,
            s.rank,
            s.peer,
            s.number,
            s.nbytes,
            trace.values.get((s.rank, s.seq)),
            s.posted,
            film.started(m),
            m.recv.done,
        )
        for number, step in enumerate(film.steps, start=1)
        for m in step
        for s in (m.send,)
    ]
    rows += [
        (
            None,
            s.rank,
            s.peer,
            s.number,
            s.nbytes,
            trace.values.get((s.rank, s.seq)),
            s.posted,
            None,
            None,
        )
        for s, _ in film.lost
    ]
    return Table(COLUMNS, rows)
