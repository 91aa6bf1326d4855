"""How do shapes become SVG elements? One rect a box, one path an arrow, one circle a dot.

    Box     <rect/>                 hatched: filled with a pattern named after its colour
    Arrow   <path d="M.. L.. M.."/> the line and the two strokes of its head, in one path
    broken  <path/> <use/>          a dashed line, and a cross at its end

Each function takes a layer and a page, which turns data coordinates into pixels, and returns text.
Left out: axes, title, caption, legend; see svg.
"""

import math
from collections import defaultdict
from itertools import groupby

from minidl.viz.drawing.frame import text_width
from minidl.viz.drawing.palette import INK, faded, shade
from minidl.viz.drawing.scene import DASHES, Arrow, Box, Cells, Dot, Label, Path
from minidl.viz.drawing.svg_elements import element, path, path_data, text_element

HEAD = 7  # length of an arrow's head in pixels
WING = 0.42  # radians between an arrow and each stroke of its head
SHADES = 12  # steps of a matrix's colour
CROSS = "minidl-cross"  # the name of the cross that ends a broken arrow
# the steps that draw a symbol, from its middle, for a dot of radius 1
SYMBOLS = {
    "square": (("m", -0.9, -0.9), ("l", 1.8, 0), ("l", 0, 1.8), ("l", -1.8, 0)),
    "diamond": (("m", 0, -1.2), ("l", 1.2, 1.2), ("l", -1.2, 1.2), ("l", -1.2, -1.2)),
    "triangle": (("m", 0, -1.2), ("l", 1.1, 1.9), ("l", -2.2, 0)),
    "cross": (("m", -1, -1), ("l", 2, 2), ("m", 0, -2), ("l", -2, 2)),
}


def svg_layer(layer, page):
    """All shapes of a layer, in a group with the layer's name."""
    return element("g", DRAW[layer.kind](layer, page), class_=layer.name)


def definitions(scene):
    """What shapes refer to by its name: a pattern for each hatched colour, and the cross."""
    colors = set()
    for layer in scene.layers:
        if layer.style == "hatched":
            colors |= {box.color for box in layer.shapes}
    patterns = sorted(colors)
    if colors and INK not in colors:
        patterns.append(INK)  # for the legend
    parts = [_hatching(color) for color in patterns]
    cross = ("M", -4, -4, "L", 4, 4, "M", -4, 4, "L", 4, -4)
    parts.append(path(*cross, id=CROSS, stroke_width=2))
    return element("defs", "".join(parts))


def _hatching(color):
    """A pattern of slanted lines."""
    return element(
        "pattern",
        element("path", d=path_data("M", 1.5, 0, "V", 6), stroke=color, stroke_width=2),
        id=_hatch_id(color),
        width=6,
        height=6,
        patternUnits="userSpaceOnUse",
        patternTransform="rotate(45)",
    )


def _hatch_id(color):
    """The name of a colour's hatching; equal in all pictures of a page, and so is the hatching."""
    return f"minidl-hatch-{color.lstrip('#')}"


def box_fill(style, color):
    """The attributes of a box in this style."""
    if style == "hatched":
        return {"fill": f"url(#{_hatch_id(color)})", "stroke": color}
    if style == "outline":
        return {"fill": faded(INK, 0.12), "stroke": color, "stroke_width": 1.2}
    return {"fill": color}


def dash_array(style):
    """The lengths of a line's dashes as SVG writes them, or None for a solid line."""
    return " ".join(map(str, DASHES[style])) if style in DASHES else None


def _boxes(layer, page):
    """Rectangles, and on top of them the labels that fit into them."""
    # neighbours of one colour share a group, so that the fill is written once
    groups = ""
    labels = ""
    for color, boxes in groupby(layer.shapes, key=lambda box: box.color):
        rects = ""
        for box in boxes:
            left = page.px(box.x0)
            width = page.px(box.x1) - left
            half = box.height / 2
            top, bottom = sorted((page.py(box.y - half), page.py(box.y + half)))
            height = bottom - top
            # A box of no width is still seen as a hairline.
            rects += element("rect", x=left, y=top, width=max(0.3, width), height=height)
            if box.label and text_width(box.label, 11) < width - 4 and height > 10:
                middle = left + width / 2
                line = top + height / 2 + 4
                labels += text_element(middle, line, box.label, size=11, anchor="middle")
        groups += element("g", rects, **box_fill(layer.style, color))
    return groups + labels


def _arrows(layer, page):
    """One path an arrow, in a group for neighbours of one colour and width."""
    groups = ""
    for (color, width), arrows in groupby(layer.shapes, key=lambda a: (a.color, a.width)):
        paths = ""
        for arrow in arrows:
            start = (page.px(arrow.x0), page.py(arrow.y0))
            end = (page.px(arrow.x1), page.py(arrow.y1))
            paths += arrow_line(start, end, arrow.broken)
        groups += element("g", paths, fill="none", stroke=color, stroke_width=width)
    return groups


def arrow_line(start, end, broken):
    """A line between two points, in pixels, and its head; a broken one is dashed up to a cross."""
    line = ("M", *start, "L", *end)
    x, y = end
    if broken:
        cross = element("use", href=f"#{CROSS}", x=x, y=y)
        return path(*line, stroke_dasharray=dash_array("broken")) + cross
    # The direction back along the line; short arrows have shorter heads.
    back = math.atan2(start[1] - y, start[0] - x)
    head = min(HEAD, 0.7 * math.dist(start, end))
    # a wing is a stroke that leaves the tip backwards, a little to the left or to the right
    left, right = [
        (x + head * math.cos(back + turned), y + head * math.sin(back + turned))
        for turned in (WING, -WING)
    ]
    return path(*line, "M", *left, "L", *end, "L", *right)


def _paths(layer, page):
    """One path a line."""
    drawn = ""
    dashes = dash_array(layer.style)
    for line in layer.shapes:
        points = [path_data(page.px(x), page.py(y)) for x, y in zip(line.xs, line.ys)]
        drawn += path(
            *("M", "L".join(points)),
            fill="none",
            stroke=line.color,
            stroke_width=line.width,
            stroke_dasharray=dashes,
        )
    return drawn


def _dots(layer, page):
    """One mark a dot."""
    return "".join(mark(dot, page.px(dot.x), page.py(dot.y)) for dot in layer.shapes)


def mark(dot, x, y):
    """A circle, or the path of another symbol, around (x, y)."""
    r = dot.size / 2
    if dot.symbol == "circle":
        return element("circle", cx=x, cy=y, r=r, fill=dot.color)
    if dot.symbol == "ring":
        return element("circle", cx=x, cy=y, r=r, fill="none", stroke=dot.color, stroke_width=2)
    # relative steps: "m" moves there, "l" draws a line
    outline = ["M", x, y]
    for command, dx, dy in SYMBOLS[dot.symbol]:
        outline += [command, r * dx, r * dy]
    if dot.symbol == "cross":
        return path(*outline, stroke=dot.color, stroke_width=2)
    return path(*outline, "z", fill=dot.color)


def _labels(layer, page):
    """Texts, a little away from their point on the side to which they run."""
    aside = {"start": 3, "middle": 0, "end": -3}
    # An upright shift puts the middle of the letters, not their foot, at y.
    texts = ""
    for label in layer.shapes:
        x = page.px(label.x) + aside[label.anchor]
        y = page.py(label.y) + 0.36 * label.size
        texts += text_element(x, y, label.text, label.color, label.size, label.anchor)
    return texts


def _cells(layer, page):
    """One path a shade: cells of nearly the same value are drawn together."""
    drawn = ""
    # A gap of one pixel parts the cells.
    width = abs(page.px(1) - page.px(0)) - 1
    height = abs(page.py(1) - page.py(0)) - 1
    outline = path_data("h", width, "v", height, "h", -width) + "z"
    for matrix in layer.shapes:
        most = matrix.most
        shades = defaultdict(str)
        for row, column, value in matrix.cells():
            corner = path_data("M", page.px(column - 0.5), page.py(row - 0.5))
            shades[round(SHADES * value / most)] += corner + outline
        for step, outlines in sorted(shades.items()):
            drawn += element("path", fill=shade(step / SHADES, matrix.opaque), d=outlines)
    return drawn


DRAW = {Box: _boxes, Arrow: _arrows, Path: _paths, Dot: _dots, Label: _labels, Cells: _cells}
