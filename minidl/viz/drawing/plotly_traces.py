"""How do shapes become plotly traces, in as few bytes as will do?

    Box, Box, ...   -> one bar trace: base, length, height, pattern
    Arrow, ...      -> one line trace a style: x = [x0, x1, None, x0, x1, ...], heads as markers
    hover texts     -> one trace of unseen points at the middle of each arrow

Each function takes a layer and two functions that round x and y, and returns a list of dicts.
Left out: axes, title, caption; see plotly_json.
"""

from collections import defaultdict

from minidl.viz.drawing.palette import INK, faded, shade
from minidl.viz.drawing.scene import DASHES, Arrow, Box, Cells, Dot, Label, Layer, Path

SYMBOL = {
    "circle": "circle",
    "ring": "circle-open",
    "square": "square",
    "diamond": "diamond",
    "triangle": "triangle-up",
    "cross": "x-thin",
}
ANCHOR = {"start": "middle right", "middle": "middle center", "end": "middle left"}


def markup(text):
    """Text in which plotly sees no tags; line breaks stay."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>")


def plotly_traces(layer, x, y):
    """All traces of a layer; a click on the layer's name in the legend hides them together."""
    group = {"showlegend": False, "legendgroup": layer.name}
    return [trace | group for trace in DRAW[layer.kind](layer, x, y)]


def first_trace(layer, shapes, x, y):
    """The one trace of a layer of boxes, dots or labels, with other shapes than it has now."""
    # A layer without shapes is drawn as one of no points, so that frames can fill it.
    changed = Layer(layer.name, shapes, layer.style, empty=layer.sample)
    return DRAW[layer.kind](changed, x, y)[0]


def legend_trace(layer):
    """A trace without points that shows a layer in the legend."""
    shape = layer.legend_sample
    # plotly turns an arrow's head along its line; the legend has no line, so it needs a triangle.
    if layer.kind is Arrow:
        marker = {
            "symbol": "x-thin" if shape.broken else "triangle-right",
            "size": 8,
            "color": shape.color,
            "line": {"width": 2 if shape.broken else 0, "color": shape.color},
        }
        trace = _scatter("lines+markers", line=_arrow_line(shape), marker=marker)
    elif layer.kind is Path:
        trace = _scatter("lines", line=_line(shape.color, 2, layer.style))
    else:
        # boxes, dots and labels look like their trace, without its points
        trace = first_trace(layer, [shape], float, float)
        looks = ("type", "mode", "orientation", "marker")
        trace = {key: trace[key] for key in looks if key in trace}
    return trace | {"x": [None], "y": [None], "name": layer.name, "legendgroup": layer.name}


def _scatter(mode, **keys):
    """A trace of points: "markers", "lines", "lines+markers" or "text"."""
    return {"type": "scatter", "mode": mode, **keys}


def _same(values):
    """One value in place of a list of equal ones: plotly takes either."""
    return values[0] if len(set(values)) == 1 else values


def _alike(shapes, style):
    """[(style, shapes of this style), ...], the styles in order."""
    # Each trace costs a few hundred bytes, so shapes that look alike share one.
    groups = defaultdict(list)
    for shape in shapes:
        groups[style(shape)].append(shape)
    return sorted(groups.items())


def _hovering(shapes):
    """The keys that show a text when the pointer is over a shape, if any shape has one."""
    if not any(shape.hover for shape in shapes):
        return {"hoverinfo": "skip"}
    return {
        "hovertext": [markup(shape.hover) for shape in shapes],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _line(color, width, style):
    """How a line looks."""
    line = {"color": color, "width": width}
    if style in DASHES:
        line["dash"] = ",".join(f"{pixels}px" for pixels in DASHES[style])
    return line


def _boxes(layer, x, y):
    """One bar trace for all boxes of a layer."""
    shapes = layer.shapes
    trace = {
        "type": "bar",
        "orientation": "h",
        "base": [x(box.x0) for box in shapes],
        "x": [x(box.x1 - box.x0) for box in shapes],
        "y": [y(box.y) for box in shapes],
        "width": _same([y(box.height) for box in shapes]),
        "marker": _bar_marker(layer.style, _same([box.color for box in shapes])),
        **_hovering(shapes),
    }
    # Empty labels would cost bytes in each box.
    if any(box.label for box in shapes):
        trace |= {
            "text": [markup(box.label) for box in shapes],
            "textposition": "inside",
            "textangle": 0,
            "insidetextanchor": "middle",
            "textfont": {"color": INK, "size": 11},
        }
    return [trace]


def _bar_marker(style, colors):
    """How the bars of a layer are filled."""
    if style == "hatched":
        pattern = {"shape": "/", "fillmode": "replace", "size": 6, "solidity": 0.4}
        return {"color": colors, "line": {"width": 1, "color": colors}, "pattern": pattern}
    if style == "outline":
        return {"color": faded(INK, 0.12), "line": {"width": 1.2, "color": colors}}
    return {"color": colors, "line": {"width": 0}}


def _arrows(layer, x, y):
    """One line trace a style of arrow, and one trace of unseen points that carries the texts."""
    traces = []
    for _, arrows in _alike(layer.shapes, lambda a: (a.color, a.width, a.broken)):
        traces.append(_arrow_trace(arrows, x, y))
    # plotly hovers over points only, and the pointer is more often over the middle of an arrow.
    with_text = [arrow for arrow in layer.shapes if arrow.hover]
    if with_text:
        middles = _scatter(
            "markers",
            marker={"size": 12, "opacity": 0},
            x=[x((arrow.x0 + arrow.x1) / 2) for arrow in with_text],
            y=[y((arrow.y0 + arrow.y1) / 2) for arrow in with_text],
            **_hovering(with_text),
        )
        traces.append(middles)
    return traces


def _arrow_trace(arrows, x, y):
    """Arrows of one style, as one line with gaps; the marker at each end is the head."""
    # All arrows here have the same style.
    first = arrows[0]
    marker = {"color": first.color, "opacity": 1}
    if first.broken:
        size = 9
        marker |= {"symbol": "x-thin", "line": {"width": 2, "color": first.color}}
    else:
        size = 5 + 2 * first.width
        marker |= {"symbol": "arrow", "angleref": "previous", "line": {"width": 0}}
    # three points an arrow: the start without a mark, the head, and the gap
    marker["size"] = [0, size, 0] * len(arrows)
    return _scatter(
        "lines+markers",
        hoverinfo="skip",
        cliponaxis=False,
        x=_with_gaps([(arrow.x0, arrow.x1) for arrow in arrows], x),
        y=_with_gaps([(arrow.y0, arrow.y1) for arrow in arrows], y),
        line=_arrow_line(first),
        marker=marker,
    )


def _arrow_line(arrow):
    """How an arrow's line looks."""
    return _line(arrow.color, arrow.width, "broken" if arrow.broken else "solid")


def _paths(layer, x, y):
    """One line trace a colour and width."""
    traces = []
    for (color, width), paths in _alike(layer.shapes, lambda path: (path.color, path.width)):
        line = _line(color, width, layer.style)
        xs = _with_gaps([path.xs for path in paths], x)
        ys = _with_gaps([path.ys for path in paths], y)
        traces.append(_scatter("lines", hoverinfo="skip", line=line, x=xs, y=ys))
    return traces


def _with_gaps(lines, rounded):
    """The coordinates of several lines in one list; None breaks the line after each."""
    # x0, x1, None, x0, x1, None: one trace, many lines
    values = []
    for line in lines:
        values += [*map(rounded, line), None]
    return values


def _dots(layer, x, y):
    """One marker trace."""
    dots = layer.shapes
    marker = {
        "size": _same([dot.size for dot in dots]),
        "color": _same([dot.color for dot in dots]),
        "opacity": 1,
        "line": {"width": 0},
    }
    symbols = [dot.symbol for dot in dots]
    # Rings and crosses are drawn as lines, which have a width and a colour of their own.
    if "ring" in symbols or "cross" in symbols:
        marker["line"] = {"width": 2, "color": dots[0].color}
    if set(symbols) - {"circle"}:  # plotly takes a marker without a symbol for a circle
        marker["symbol"] = _same([SYMBOL[symbol] for symbol in symbols])
    xs = [x(dot.x) for dot in dots]
    ys = [y(dot.y) for dot in dots]
    return [_scatter("markers", x=xs, y=ys, marker=marker, **_hovering(dots))]


def _labels(layer, x, y):
    """One text trace."""
    labels = layer.shapes
    font = {
        "color": _same([label.color for label in labels]),
        "size": _same([label.size for label in labels]),
    }
    trace = _scatter(
        "text",
        hoverinfo="skip",
        cliponaxis=False,
        text=[markup(label.text) for label in labels],
        x=[x(label.x) for label in labels],
        y=[y(label.y) for label in labels],
        textposition=_same([ANCHOR[label.anchor] for label in labels]),
        textfont=font,
    )
    return [trace]


def _cells(layer, x, y):
    """One heat map a matrix."""
    return [_heat_map(matrix) for matrix in layer.shapes]


def _heat_map(matrix):
    return {
        "type": "heatmap",
        "z": matrix.values,
        "hovertemplate": matrix.hover + "<extra></extra>",
        "showscale": False,
        "zmin": 0,
        "zmax": matrix.most,
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "colorscale": [[0, shade(0, matrix.opaque)], [1, shade(1, matrix.opaque)]],
    }


DRAW = {Box: _boxes, Arrow: _arrows, Path: _paths, Dot: _dots, Label: _labels, Cells: _cells}
