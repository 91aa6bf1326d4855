"""How do shapes become plotly traces, in as few bytes as will do?

    Box, Box, ...   -> one bar trace: base, length, height, pattern
    Arrow, ...      -> one line trace a style: x = [x0, x1, None, x0, x1, ...], heads as markers
    what hovers     -> one trace of unseen points at the middle of each arrow

Each function takes a layer and two functions that round x and y, and returns a list of dicts.
Left out: axes, title, caption; see plotly_json.
"""

from itertools import groupby

from minidl.viz.drawing.palette import INK, faded, shade
from minidl.viz.drawing.scene import Arrow, Box, Cells, Dot, Label, Layer, Path

DASH = {
    "dashed": "6px,4px",
    "dotted": "2px,3px",
    "dashdot": "9px,3px,2px,3px",
    "long": "16px,4px",
    "longdot": "16px,3px,2px,3px",
}
SYMBOL = {
    "circle": "circle",
    "ring": "circle-open",
    "square": "square",
    "diamond": "diamond",
    "triangle": "triangle-up",
    "cross": "x-thin",
}
ANCHOR = {"start": "middle right", "middle": "middle center", "end": "middle left"}
HOVER = "%{hovertext}<extra></extra>"


def clean(text):
    """Text in which plotly sees no tags; line breaks stay."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>")


def same(values):
    """One value in place of a list of equal ones: plotly takes either."""
    return values[0] if len(set(values)) == 1 else values


def styled(shapes, style):
    """(style, shapes of this style), the styles in a fixed order."""
    return [(key, list(alike)) for key, alike in groupby(sorted(shapes, key=style), key=style)]


def hovering(shapes):
    """The keys that let shapes answer the pointer, if they have something to say."""
    if not any(shape.hover for shape in shapes):
        return {"hoverinfo": "skip"}
    return {"hovertext": [clean(shape.hover) for shape in shapes], "hovertemplate": HOVER}


def bar_marker(style, colors):
    """How the bars of a layer are filled."""
    if style == "hatched":
        pattern = {"shape": "/", "fillmode": "replace", "size": 6, "solidity": 0.4}
        return {"color": colors, "line": {"width": 1, "color": colors}, "pattern": pattern}
    if style == "outline":
        return {"color": faded(INK, 0.12), "line": {"width": 1.2, "color": colors}}
    return {"color": colors, "line": {"width": 0}}


def boxes(layer, x, y):
    """One bar trace for all boxes of a layer."""
    shapes = layer.shapes
    trace = {
        "type": "bar",
        "orientation": "h",
        "base": [x(box.x0) for box in shapes],
        "x": [x(box.x1 - box.x0) for box in shapes],
        "y": [y(box.y) for box in shapes],
        "width": same([y(box.height) for box in shapes]),
        "marker": bar_marker(layer.style, same([box.color for box in shapes])),
        **hovering(shapes),
    }
    if any(box.label for box in shapes):
        trace |= {
            "text": [clean(box.label) for box in shapes],
            "textposition": "inside",
            "textangle": 0,
            "insidetextanchor": "middle",
            "textfont": {"color": INK, "size": 11},
        }
    return [trace]


def arrow_trace(style, shapes, x, y):
    """Arrows of one colour and width, as one line with gaps; the marker at each end is the head."""
    color, width, broken = style
    marker = {
        "size": [0, 9 if broken else 5 + 2 * width, 0] * len(shapes),
        "color": color,
        "opacity": 1,
        "line": {"width": 0},
    }
    marker |= (
        {"symbol": "x-thin", "line": {"width": 2, "color": color}}
        if broken
        else {"symbol": "arrow", "angleref": "previous"}
    )
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "hoverinfo": "skip",
        "cliponaxis": False,
        "x": [v for a in shapes for v in (x(a.x0), x(a.x1), None)],
        "y": [v for a in shapes for v in (y(a.y0), y(a.y1), None)],
        "line": {"color": color, "width": width} | ({"dash": "4px,3px"} if broken else {}),
        "marker": marker,
    }


def arrows(layer, x, y):
    """One line trace a style of arrow, and one trace of unseen points that carries what hovers."""
    traces = [
        arrow_trace(style, alike, x, y)
        for style, alike in styled(layer.shapes, lambda a: (a.color, a.width, a.broken))
    ]
    telling = [arrow for arrow in layer.shapes if arrow.hover]
    if telling:
        middles = [((a.x0 + a.x1) / 2, (a.y0 + a.y1) / 2) for a in telling]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "marker": {"size": 12, "opacity": 0},
                "x": [x(a) for a, _ in middles],
                "y": [y(b) for _, b in middles],
                **hovering(telling),
            }
        )
    return traces


def dashes(style):
    """The key that breaks a line, where the style asks for it."""
    return {"dash": DASH[style]} if style in DASH else {}


def symbols(shapes):
    """The keys of a marker that is not a plain circle."""
    if all(dot.symbol == "circle" for dot in shapes):
        return {"line": {"width": 0}}
    thin = any(dot.symbol in ("ring", "cross") for dot in shapes)
    return {
        "symbol": same([SYMBOL[dot.symbol] for dot in shapes]),
        "line": {"width": 2, "color": shapes[0].color} if thin else {"width": 0},
    }


def paths(layer, x, y):
    """One line trace a colour and width."""
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "hoverinfo": "skip",
            "line": {"color": color, "width": width} | dashes(layer.style),
            "x": [v for path in alike for v in (*map(x, path.xs), None)],
            "y": [v for path in alike for v in (*map(y, path.ys), None)],
        }
        for (color, width), alike in styled(layer.shapes, lambda path: (path.color, path.width))
    ]


def dots(layer, x, y):
    """One marker trace."""
    shapes = layer.shapes
    marker = {
        "size": same([dot.size for dot in shapes]),
        "color": same([dot.color for dot in shapes]),
        "opacity": 1,
        **symbols(shapes),
    }
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [x(dot.x) for dot in shapes],
            "y": [y(dot.y) for dot in shapes],
            "marker": marker,
            **hovering(shapes),
        }
    ]


def labels(layer, x, y):
    """One text trace."""
    shapes = layer.shapes
    return [
        {
            "type": "scatter",
            "mode": "text",
            "hoverinfo": "skip",
            "cliponaxis": False,
            "text": [clean(label.text) for label in shapes],
            "x": [x(label.x) for label in shapes],
            "y": [y(label.y) for label in shapes],
            "textposition": same([ANCHOR[label.anchor] for label in shapes]),
            "textfont": {
                "color": same([label.color for label in shapes]),
                "size": same([label.size for label in shapes]),
            },
        }
    ]


def cells(layer, x, y):
    """One heat map a matrix."""
    return [
        {
            "type": "heatmap",
            "z": shape.values,
            "hovertemplate": shape.hover + "<extra></extra>",
            "showscale": False,
            "zmin": 0,
            "zmax": max((v for row in shape.values for v in row if v), default=1),
            "hoverongaps": False,
            "xgap": 1,
            "ygap": 1,
            "colorscale": [[0, shade(0, shape.opaque)], [1, shade(1, shape.opaque)]],
        }
        for shape in layer.shapes
    ]


DRAW = {Box: boxes, Arrow: arrows, Path: paths, Dot: dots, Label: labels, Cells: cells}


def traces(layer, x, y):
    """All traces of a layer; a click on the layer's name in the legend hides them together."""
    drawn = DRAW[layer.kind](layer, x, y)
    return [trace | {"showlegend": False, "legendgroup": layer.name} for trace in drawn]


def sample(layer):
    """A trace without points that shows the layer in the legend, in its colour, or grey where it has many."""
    base = {"x": [None], "y": [None], "name": layer.name, "legendgroup": layer.name}
    color = layer.sample.color if len({shape.color for shape in layer.shapes}) <= 1 else INK
    if layer.kind is Box:
        box = boxes(Layer(layer.name, [Box(0, 0, 0, 0, color)], layer.style), int, int)[0]
        return base | {key: box[key] for key in ("type", "orientation", "marker")}
    if layer.kind is Dot:
        shape = layer.sample._replace(color=color)
        marker = {"color": color, "size": min(10, shape.size), "opacity": 1, **symbols([shape])}
        return base | {"type": "scatter", "mode": "markers", "marker": marker}
    if layer.kind is Path:
        return base | {
            "type": "scatter",
            "mode": "lines",
            "line": {"width": 2, "color": color} | dashes(layer.style),
        }
    shape = layer.shapes[0]
    marker = {
        "symbol": "x-thin" if shape.broken else "triangle-right",
        "size": 8,
        "color": color,
        "line": {"width": 2 if shape.broken else 0, "color": color},
    }
    line = {"color": color, "width": shape.width} | ({"dash": "4px,3px"} if shape.broken else {})
    return base | {"type": "scatter", "mode": "lines+markers", "line": line, "marker": marker}
