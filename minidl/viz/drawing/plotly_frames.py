"""How does a Scene move, in a page that has no kernel behind it?

    [Play] [Pause]   step 3
    o---o---O---o---o          the slider: one stop for each moment that has a name
    frame "5": {"data": [{"x": ..., "y": ...}], "traces": [4]}     only what differs between frames

plotly keeps frames in the figure and plays them by itself. A reader may jump from any frame to any
other, so each frame holds all that ever changes, and nothing that never does. Left out: what moves;
see replay.
"""

from minidl.viz.drawing.palette import INK, faded
from minidl.viz.drawing.plotly_traces import first_trace, markup

PACE = 220  # milliseconds that a frame stays
AT_ONCE = {"duration": 0}


def plotly_frames(scene, places, x, y):
    """The frames of a scene; `places` says at which trace a layer stands."""
    # Only layers that change in some moment are worth sending in each frame.
    moving = set()
    for moment in scene.moments:
        moving |= moment.shapes.keys()
    columns = []  # one a layer: what changes in its trace, moment after moment
    traces = []
    for layer in scene.layers:
        if layer.name not in moving:
            continue
        column = []
        for moment in scene.moments:
            column.append(first_trace(layer, moment.shapes.get(layer.name, []), x, y))
        kind = column[0]["type"]
        columns.append(changes(column))
        if kind != "scatter":  # plotly takes a trace without a type for a scatter
            for change in columns[-1]:
                change["type"] = kind
        traces.append(places[layer.name])
    frames = []
    for number, data in enumerate(zip(*columns)):
        frames.append({"name": str(number), "data": list(data), "traces": traces})
    return frames


def changes(column):
    """The same dicts without the keys in which all of them agree, also within dicts inside them.

    changes([{"a": 1, "b": 2}, {"a": 1, "b": 3}]) is [{"b": 2}, {"b": 3}].
    """
    kept = [{} for _ in column]
    for key in sorted(set().union(*column)):
        values = [entry.get(key) for entry in column]
        if all(isinstance(value, dict) for value in values):
            values = changes(values)
        # A key with equal values in all frames stays as it is in the figure.
        if any(value != values[0] for value in values):
            for entry, value in zip(kept, values):
                entry[key] = value
    return kept


def controls(scene):
    """Play, Pause and the slider, between the plot and the caption."""
    jump = {
        "mode": "immediate",
        "frame": {"duration": 0, "redraw": True},
        "transition": AT_ONCE,
    }
    play = jump | {"fromcurrent": True, "frame": {"duration": PACE, "redraw": True}}
    steps = []
    for number, moment in enumerate(scene.moments):
        if moment.stop:
            steps.append(_animate(markup(moment.stop), [str(number)], jump))
    # both controls stand below the plot
    low = {"y": 0, "yanchor": "top", "xanchor": "left", "font": {"color": INK, "size": 11}}
    buttons = {
        "type": "buttons",
        "direction": "left",
        "showactive": False,
        "buttons": [_animate("Play", None, play), _animate("Pause", [None], jump)],
        "x": 0,
        "pad": {"t": 10, "l": 0, "r": 8},
        "bgcolor": faded(INK, 0.12),
        "bordercolor": INK,
        **low,
    }
    slider = {
        "active": 0,
        "steps": steps,
        "x": 0.19,
        "len": 0.81,
        "pad": {"t": 4, "b": 0},
        "bgcolor": faded(INK, 0.3),
        "activebgcolor": INK,
        "bordercolor": INK,
        "tickcolor": INK,
        "ticklen": 4,
        "minorticklen": 2,
        "currentvalue": {"visible": False},
        "transition": AT_ONCE,
        **low,
    }
    return {"updatemenus": [buttons], "sliders": [slider]}


def _animate(label, frames, how):
    """A button or stop that shows frames: None for all of them, [None] for none."""
    return {"label": label, "method": "animate", "args": [frames, how]}
