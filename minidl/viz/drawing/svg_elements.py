"""How is an element of SVG written?

    element("rect", x=1, stroke_width=2)        <rect x="1" stroke-width="2"/>
    path("M", 0, 5, "L", 2.25, 5, fill="none")  <path fill="none" d="M0 5L2.2 5"/>

Numbers have one digit after the point, so that a picture stays small. Left out: shapes; see
svg_shapes.
"""

from html import escape

from minidl.viz.drawing.frame import TEXT
from minidl.viz.drawing.palette import INK


def element(tag, content=None, **attributes):
    """One element; an attribute that is None is left out, and a "_" in its name becomes a "-".

    content: the text between <tag> and </tag>, as markup. `class_` stands for the attribute class.
    """
    head = tag
    for name, value in attributes.items():
        # Attributes that do not apply are None: a solid line has no dashes.
        if value is not None:
            text = escape(value) if isinstance(value, str) else number(value)
            head += f' {name.rstrip("_").replace("_", "-")}="{text}"'
    if content is None:
        return f"<{head}/>"
    return f"<{head}>{content}</{tag}>"


def number(value):
    """A number with one digit after the point, if it is not 0."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def path_data(*parts):
    """The commands and numbers of a path as one text."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        # Two numbers need a space between them; after a letter there is no need.
        if text and not text[-1].isalpha():
            text += " "
        text += number(part)
    return text


def path(*parts, **attributes):
    """A path element of these commands and numbers."""
    return element("path", **attributes, d=path_data(*parts))


def text_element(x, y, text, color=INK, size=TEXT, anchor="start", bold=False):
    """A text; one tspan for each further line, the lines centred around y."""
    # SVG does not break lines by itself.
    first, *others = text.split("\n")
    content = escape(first)
    for line in others:
        content += element("tspan", escape(line), x=x, dy="1.24em")
    return element(
        "text",
        content,
        x=x,
        y=y - 0.62 * size * len(others),
        font_size=size,
        fill=color,
        text_anchor=None if anchor == "start" else anchor,
        font_weight="600" if bold else None,
    )
