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
from minidl.viz.drawing.palette import CLEAR, INK, faded
from minidl.viz.drawing.plotly_frames import controls, plotly_frames
from minidl.viz.drawing.plotly_traces import legend_trace, markup, plotly_traces

GAP = 0.13  # share of the width between two plots, for the texts of the right one


def plotly_json(scene):
    """The figure of a scene as a dict: data, layout and config; for a film also frames."""
    data = []
    places = {}  # name of a layer -> where its first trace stands
    # Fewer digits make fewer bytes, and 1/100,000 of an axis cannot be seen.
    x = _rounder(scene.x)
    y = _rounder(scene.y)
    for layer in scene.layers:
        places[layer.name] = len(data)
        data += plotly_traces(layer, x, y)
    # The second plot shares the title, the caption and the legend.
    layout = _layout(scene)
    if scene.beside:
        data += _beside(scene.beside, layout)
    # The legend has traces of its own, so that its samples look alike in all pictures.
    data += [legend_trace(layer) for layer in scene.layers if layer.legend]
    figure = {"data": data, "layout": layout, "config": {"displaylogo": False}}
    if scene.moments:  # nothing plays before somebody presses Play
        figure["frames"] = plotly_frames(scene, places, x, y)
        layout |= controls(scene)
    return figure


def _beside(scene, layout):
    """The traces of the right plot of two; gives each plot its half of the layout."""
    layout["xaxis"]["domain"] = [0, 0.5 - GAP / 2]
    layout["xaxis2"] = _axis(scene, vertical=False)
    layout["xaxis2"] |= {"domain": [0.5 + GAP / 2, 1], "anchor": "y2"}
    layout["yaxis2"] = _axis(scene, vertical=True)
    layout["yaxis2"]["anchor"] = "x2"
    traces = []
    for layer in scene.layers:
        traces += plotly_traces(layer, _rounder(scene.x), _rounder(scene.y))
    return [trace | {"xaxis": "x2", "yaxis": "y2"} for trace in traces]


def _layout(scene):
    """All but the traces: axes, margins, colours, legend, title and caption."""
    box = frame(scene)
    return {
        "annotations": _title_and_caption(box),
        "height": box.height,
        "margin": {"l": box.left, "r": box.right, "t": box.top, "b": box.bottom},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
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
        "xaxis": _axis(scene, vertical=False),
        "yaxis": _axis(scene, vertical=True),
    }


def _rounder(axis):
    """A function that rounds to 1/100,000 of the axis, or to five digits if it is logarithmic."""
    width = abs(axis.high - axis.low) or 1
    digits = max(0, 5 - math.floor(math.log10(width)))

    def rounded(value):
        value = float(f"{value:.5g}") if axis.log else round(value, digits)
        return int(value) if value == int(value) else value

    return rounded


def _axis(scene, vertical):
    """An axis without a line, with the scene's own ticks if it has some."""
    axis = scene.y if vertical else scene.x
    # plotly wants the logarithms of a logarithmic axis' ends.
    ends = [axis.low, axis.high]
    if axis.log:
        ends = [math.log10(end) for end in ends]
    given = {
        "range": ends,
        "zeroline": False,
        "showgrid": axis.log or (not vertical and axis.ticks is None),
        "ticks": "outside" if vertical else "",
        "tickcolor": CLEAR,
        "gridcolor": faded(INK, 0.25),
        "tickfont": {"color": INK, "size": 11},
        "visible": axis.shown,
    }
    if axis.log:
        given["type"] = "log"
    # Without a text, plotly would still reserve room for the title.
    if axis.title:
        font = {"color": INK, "size": TEXT}
        given["title"] = {"text": markup(axis.title), "font": font, "standoff": 6}
    if axis.ticks is not None:
        given["tickvals"] = [value for value, _ in axis.ticks]
        given["ticktext"] = [markup(text) for _, text in axis.ticks]
    # One unit is as long on both axes, and the plot stays in the middle.
    if scene.square:
        given["constrain"] = "domain"
        if vertical:
            given["scaleanchor"] = "x"
    return given


def _title_and_caption(box):
    """Two annotations in the margins; plotly's own title clips its second line."""
    title = "<br>".join(map(markup, box.title))
    caption = "<br>".join(map(markup, box.caption))
    return [
        _margin_text(box, f"<b>{title}</b>", TITLE, y=1, yshift=box.top - 4),
        _margin_text(box, caption, TEXT, y=0, yshift=12 - box.caption_drop),
    ]


def _margin_text(box, text, size, **place):
    """A text at the left edge of the page, above (y=1) or below (y=0) the plot."""
    return {
        "text": text,
        "font": {"color": INK, "size": size},
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "xshift": 6 - box.left,
        "yref": "paper",
        "yanchor": "top",
        "align": "left",
        "showarrow": False,
        **place,
    }
