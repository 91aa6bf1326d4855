"""Who waits for whom, when nothing moves any more?

        (0) ------> (1)      an arrow runs from the waiting rank to the rank that it waits for;
         ^           |       a circle of arrows is a deadlock
         |           v
        (3) <------ (2)

Drawn from `trace.waits`, the graph as it was when the run was stopped. Left out: how the ranks came
there; see lamport.
"""

import textwrap
from collections import defaultdict

from minidl.viz.drawing.palette import FAINT, rank_color, rank_label
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Arrow, Dot
from minidl.viz.drawing.units import counts_text
from minidl.viz.pictures.circle import (
    circle_radius,
    circle_scene,
    label_beside,
    rank_places,
    route,
)
from minidl.viz.reading.findings import deadlock_finding, wait_circle

ROOMY = 16  # ranks that have room for large dots and names
WORDY = 8  # waiting ranks that have room for words beside them
LINE = 36  # letters
COLUMNS = ("rank", "peer", "awaits", "comm", "number", "line", "text")


def wait_for(trace):
    """The picture of the ranks that waited for each other when the run stopped."""
    n = trace.world_size
    waits = trace.waits
    height = _height(n)
    places = rank_places(n, circle_radius(n, height, room=52))
    circle = wait_circle(waits)
    scene = circle_scene(deadlock_finding(trace), _arrows_help(waits, circle), height)
    scene.add("waits", _arrows(waits, circle, places))

    # A rank may wait for several others at once.
    waits_of = defaultdict(list)
    for wait in waits:
        waits_of[wait.rank].append(wait)
    wordy = n <= ROOMY and len(waits_of) <= WORDY
    dots = []
    labels = []
    for rank, (x, y) in enumerate(places):
        # A rank that does not wait has finished or died, and is drawn in grey.
        color = rank_color(rank, n) if rank in waits_of else FAINT
        dots.append(Dot(x, y, color, 18 if n <= ROOMY else 9))
        told = waits_of[rank] if wordy else []
        labels.append(_label(rank, (x, y), told, n))
    scene.add("ranks", dots)
    scene.add("words", labels)
    return Picture("wait_for", counts_text(rank=n, wait=len(waits)), scene, Table(COLUMNS, waits))


def _height(n):
    """Pixels of the plot."""
    if n <= 2:
        return 130
    if n <= 4:
        return 270
    if n <= ROOMY:
        return 400
    return 520


def _gap(n):
    """Pixels between the middle of a dot and the arrows and words beside it."""
    return 9 if n <= ROOMY else 4


def _arrows(waits, circle, places):
    """An arrow a wait, from dot to dot; those that close the circle are thick."""
    n = len(places)
    gap = _gap(n) + 4
    pairs = {(wait.rank, wait.peer) for wait in waits}
    # 0 -> 1 -> 2 -> 0: each rank of the circle and the next one, the last and the first
    closing = set(zip(circle, circle[1:] + circle[:1]))
    arrows = []
    for wait in waits:
        line = route(places[wait.rank], places[wait.peer])
        # Two ranks that wait for each other: their arrows stand beside each other.
        aside = -6 if (wait.peer, wait.rank) in pairs else 0
        start = line.at(gap, aside)
        end = line.at(line.length - gap, aside)
        color = rank_color(wait.rank, n)
        hover = f"rank {wait.rank} {_wait_words(wait)}\n{wait.line}"
        width = 1
        if n <= ROOMY:
            width = 2.5 if (wait.rank, wait.peer) in closing else 1.5
        arrows.append(Arrow(*start, *end, color, hover, width))
    return arrows


def _wait_words(wait):
    """What a rank waits for."""
    # The runtime knows shape and dtype; a wait made by hand has no text.
    if wait.text:
        return wait.text
    verbs = {"send": "to send", "recv": "to receive"}
    verb = verbs.get(wait.awaits, f"to enter {wait.awaits}")
    return f"waits for rank {wait.peer} {verb} (#{wait.number})"


def _label(rank, place, waits, n):
    """The rank's name; below it, of its `waits`, the first one and on which line it waits."""
    lines = [rank_label(rank, n)]
    lift = 12 if n > 8 else 0
    if waits:
        first, *others = waits
        words = _wait_words(first)
        if others:
            words += f" (and {len(others)} more)"
        # More than three lines would reach the next rank of the circle.
        lines += textwrap.wrap(words, LINE)[:3]
        lines.append(first.line)
        lift = 22
    text = "\n".join(filter(None, lines))
    size = 11 if n <= 32 else 9
    return label_beside(place, text, _gap(n) + 6, lift, size)


def _arrows_help(waits, circle):
    """How to read the arrows, and what keeps the ranks waiting."""
    if not waits:
        return (
            "When the run stopped, no rank was waiting: "
            "every message was received and every wait ended."
        )
    if circle:
        why = "The thick arrows close a circle: none of these ranks can go on before the others."
    else:
        why = (
            "There is no circle: the rank at the end has finished or failed without the awaited "
            "call."
        )
    return f"An arrow runs from the rank that waits to the rank that it waits for. {why}"
