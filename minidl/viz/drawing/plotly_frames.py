"""How does a Scene move, in a page that has no kernel behind it?

    [Play] [Pause]   step 3
    o---o---O---o---o          the slider: one stop for each moment that has a name
    frame "5": {"data": [{"x": ..., "y": ...}], "traces": [4]}       only what differs between frames

plotly keeps frames in the figure and plays them by itself. A reader may jump from any frame to any other,
so each frame holds all that ever changes, and nothing that never does. Left out: what moves; see replay.
"""

from minidl.viz.drawing.palette import INK, faded
from minidl.viz.drawing.plotly_traces import DRAW, clean
from minidl.viz.drawing.scene import Layer

PACE = 220  # milliseconds that a frame stays


def frames(scene, places, x, y):
    """The frames of a scene; `places` says at which trace a layer stands."""
    moving = [
        layer
        for layer in scene.layers
        if any(layer.name in moment.shapes for moment in scene.moments)
    ]
    columns = []
    for layer in moving:
        column = [
            DRAW[layer.kind](
                Layer(
                    layer.name, moment.shapes.get(layer.name, []), layer.style, empty=layer.sample
                ),
                x,
                y,
            )[0]
            for moment in scene.moments
        ]
        kind = (
            {"type": column[0]["type"]} if column[0]["type"] != "scatter" else {}
        )  # plotly takes a trace for a scatter
        columns.append([kind | small for small in differing(column)])
    traces = [places[layer.name] for layer in moving]
    return [
        {"name": str(number), "data": list(data), "traces": traces}
        for number, data in enumerate(zip(*columns))
    ]


def differing(column):
    """The same dicts without the keys in which all of them agree, and the same within their own dicts."""
    kept = [{} for _ in column]
    for key in sorted({key for one in column for key in one}):
        values = [one.get(key) for one in column]
        if all(isinstance(value, dict) for value in values):
            values = differing(values)
        if any(value != values[0] for value in values):
            for small, value in zip(kept, values):
                small[key] = value
    return kept


def controls(scene, box):
    """Play, Pause and the slider, between the plot and the caption."""
    text, clear = {"color": INK, "size": 11}, "rgba(0,0,0,0)"
    still = {
        "mode": "immediate",
        "frame": {"duration": 0, "redraw": True},
        "transition": {"duration": 0},
    }
    play = {
        "mode": "immediate",
        "fromcurrent": True,
        "frame": {"duration": PACE, "redraw": True},
        "transition": {"duration": 0},
    }
    stops = [(number, moment.stop) for number, moment in enumerate(scene.moments) if moment.stop]
    steps = [
        {"label": clean(stop), "method": "animate", "args": [[str(number)], still]}
        for number, stop in stops
    ]
    buttons = [
        {"label": "Play", "method": "animate", "args": [None, play]},
        {"label": "Pause", "method": "animate", "args": [[None], still]},
    ]
    low = {"y": 0, "yanchor": "top", "xanchor": "left"}
    return {
        "updatemenus": [
            {
                "type": "buttons",
                "direction": "left",
                "showactive": False,
                "buttons": buttons,
                "x": 0,
                **low,
                "pad": {"t": 10, "l": 0, "r": 8},
                "bgcolor": faded(INK, 0.12),
                "bordercolor": INK,
                "font": text,
            }
        ],
        "sliders": [
            {
                "active": 0,
                "steps": steps,
                "x": 0.19,
                "len": 0.81,
                **low,
                "pad": {"t": 4, "b": 0},
                "font": text,
                "bgcolor": faded(INK, 0.3),
                "activebgcolor": INK,
                "bordercolor": INK,
                "tickcolor": INK,
                "ticklen": 4,
                "minorticklen": 2,
                "currentvalue": {"visible": False},
                "transition": {"duration": 0},
            }
        ],
    }
