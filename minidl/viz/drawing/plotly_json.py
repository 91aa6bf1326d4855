"""How does a Scene become a figure for plotly?

    title                       the finding
    legend     o computing   / waiting
    +--------------------+      the traces, from plotly_traces
    +--------------------+
    caption                     title and caption are wrapped here: plotly does not wrap

The result is a plain dict: no template, rounded numbers, transparent background. plotly itself is
not imported. Left out: events and ranks, which a Scene does not know.
"""

import math

from minidl.viz.drawing.frame import TEXT, TITLE, frame
from minidl.viz.drawing.palette import INK, faded
from minidl.viz.drawing.plotly_frames import controls, frames
from minidl.viz.drawing.plotly_traces import clean, sample, traces

GAP = 0.13  # share of the width between two plots, for the texts of the right one


def rounder(axis):
    """A function that rounds to a hundred-thousandth of the axis, or to five digits where it is logarithmic."""
    digits = max(0, 5 - math.floor(math.log10(abs(axis.high - axis.low) or 1)))

    def cut(value):
        value = float(f"{value:.5g}") if axis.log else round(value, digits)
        return int(value) if value == int(value) else value

    return cut


def axis_json(axis, vertical, scene):
    """An axis without a line, with the scene's own ticks where it has some."""
    low, high = (math.log10(axis.low), math.log10(axis.high)) if axis.log else (axis.low, axis.high)
    given = {
        "range": [low, high],
        "zeroline": False,
        "showgrid": not vertical and axis.ticks is None,
        "ticks": "outside" if vertical else "",
        "tickcolor": "rgba(0,0,0,0)",
        "gridcolor": faded(INK, 0.25),
        "tickfont": {"color": INK, "size": 11},
        "visible": axis.shown,
    }
    if axis.log:
        given |= {"type": "log", "showgrid": True}
    if axis.title:
        given["title"] = {
            "text": clean(axis.title),
            "font": {"color": INK, "size": TEXT},
            "standoff": 6,
        }
    if axis.ticks is not None:
        given |= {
            "tickvals": [value for value, _ in axis.ticks],
            "ticktext": [clean(text) for _, text in axis.ticks],
        }
    if scene.square:
        given |= {"constrain": "domain"} | ({"scaleanchor": "x"} if vertical else {})
    return given


def words(scene, box):
    """Title and caption as annotations in the margins; plotly's own title clips its second line."""
    place = {
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "xshift": 6 - box.left,
        "yref": "paper",
        "yanchor": "top",
        "align": "left",
        "showarrow": False,
    }
    title, caption = ("<br>".join(map(clean, lines)) for lines in (box.title, box.caption))
    return [
        place | {"text": text, "y": y, "yshift": shift, "font": {"color": INK, "size": size}}
        for text, y, shift, size in (
            (f"<b>{title}</b>", 1, box.top - 4, TITLE),
            (caption, 0, 12 - box.caption_drop, TEXT),
        )
    ]


def plotly_json(scene):
    """The figure of a scene as a dict: data, layout and config."""
    box = frame(scene)
    data, places = drawn(scene)
    if scene.beside:
        data += [trace | {"xaxis": "x2", "yaxis": "y2"} for trace in drawn(scene.beside)[0]]
    data += [sample(layer) for layer in scene.layers if layer.legend]
    clear = "rgba(0,0,0,0)"
    layout = {
        "annotations": words(scene, box),
        "height": box.height,
        "margin": {"l": box.left, "r": box.right, "t": box.top, "b": box.bottom},
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "font": {"color": INK},
        "barmode": "overlay",
        "hovermode": "closest",
        "hoverdistance": 30,
        "uniformtext": {"mode": "hide", "minsize": 9},
        "hoverlabel": {
            "bgcolor": "#333",
            "bordercolor": INK,
            "font": {"color": "#fff", "size": TEXT},
            "align": "left",
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1,
            "yanchor": "bottom",
            "font": {"color": INK, "size": TEXT},
        },
        "xaxis": axis_json(scene.x, False, scene),
        "yaxis": axis_json(scene.y, True, scene),
    }
    if scene.beside:
        layout["xaxis"]["domain"], right = (
            [0, 0.5 - GAP / 2],
            {"domain": [0.5 + GAP / 2, 1], "anchor": "y2"},
        )
        layout |= {
            "xaxis2": axis_json(scene.beside.x, False, scene.beside) | right,
            "yaxis2": axis_json(scene.beside.y, True, scene.beside) | {"anchor": "x2"},
        }
    film = film_json(scene, places, box) if scene.moments else {}
    return {
        "data": data,
        "layout": layout | film.pop("layout", {}),
        "config": {"displaylogo": False},
        **film,
    }


def drawn(scene):
    """(the traces of all layers, {name of a layer: where its first trace stands})."""
    data, places, x, y = [], {}, rounder(scene.x), rounder(scene.y)
    for layer in scene.layers:
        places[layer.name] = len(data)
        data += traces(layer, x, y)
    return data, places


def film_json(scene, places, box):
    """Frames, and the buttons and the slider that show them. Nothing plays before somebody presses Play."""
    return {
        "frames": frames(scene, places, rounder(scene.x), rounder(scene.y)),
        "layout": controls(scene, box),
    }
