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

from minidl.viz.frame import TEXT, TITLE, frame
from minidl.viz.palette import INK, faded
from minidl.viz.plotly_traces import clean, sample, traces


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
    given = {"range": [low, high], "zeroline": False, "showgrid": not vertical and axis.ticks is None,
             "ticks": "outside" if vertical else "", "tickcolor": "rgba(0,0,0,0)", "gridcolor": faded(INK, 0.25),
             "tickfont": {"color": INK, "size": 11}, "visible": axis.shown}
    if axis.log:
        given |= {"type": "log", "showgrid": True}
    if axis.title:
        given["title"] = {"text": clean(axis.title), "font": {"color": INK, "size": TEXT}, "standoff": 6}
    if axis.ticks is not None:
        given |= {"tickvals": [value for value, _ in axis.ticks], "ticktext": [clean(text) for _, text in axis.ticks]}
    if scene.square:
        given |= {"constrain": "domain"} | ({"scaleanchor": "x"} if vertical else {})
    return given


def words(scene, box):
    """Title and caption as annotations in the margins; plotly's own title clips its second line."""
    place = {"x": 0, "xref": "paper", "xanchor": "left", "xshift": 6 - box.left, "yref": "paper", "yanchor": "top", "align": "left",
             "showarrow": False}
    title, caption = ("<br>".join(map(clean, lines)) for lines in (box.title, box.caption))
    return [place | {"text": text, "y": y, "yshift": shift, "font": {"color": INK, "size": size}}
            for text, y, shift, size in ((f"<b>{title}</b>", 1, box.top - 4, TITLE), (caption, 0, 12 - box.caption_drop, TEXT))]


def plotly_json(scene):
    """The figure of a scene as a dict: data, layout and config."""
    box, x, y = frame(scene), rounder(scene.x), rounder(scene.y)
    data = [trace for layer in scene.layers for trace in traces(layer, x, y)]
    data += [sample(layer) for layer in scene.layers if layer.legend]
    clear = "rgba(0,0,0,0)"
    layout = {
        "annotations": words(scene, box), "height": box.height, "margin": {"l": box.left, "r": box.right, "t": box.top, "b": box.bottom},
        "paper_bgcolor": clear, "plot_bgcolor": clear, "font": {"color": INK},
        "barmode": "overlay", "hovermode": "closest", "hoverdistance": 30, "uniformtext": {"mode": "hide", "minsize": 9},
        "hoverlabel": {"bgcolor": "#333", "bordercolor": INK, "font": {"color": "#fff", "size": TEXT}, "align": "left"},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "font": {"color": INK, "size": TEXT}},
        "xaxis": axis_json(scene.x, False, scene), "yaxis": axis_json(scene.y, True, scene)}
    return {"data": data, "layout": layout, "config": {"displaylogo": False}}
