"""How much room do the words around a plot need, so that nothing is clipped?

    title            the finding, wrapped            | top
    legend                                           |
         +-----------------------------+             | scene.rows
         |            plot             |
         +-----------------------------+
    left      0   2   4   time (ms)                  | bottom
    caption          what is seen, wrapped           |

Both writers ask here, so the SVG and the plotly figure have the same height and the same lines.
Left out: real text metrics. A letter counts as 0.56 of its size wide, which is a little too much.
"""

import textwrap
from dataclasses import dataclass

WIDTH = 760  # pixels of the whole picture
EDGE = 12  # pixels between the page's edge and the words
CONTROLS = 58  # pixels for the buttons and the slider of a film
TITLE = 16  # size of the title's letters
TEXT = 12  # size of all other letters
LINE = 17  # pixels from one line of text to the next
TITLE_LINE = 21


def text_width(text, size=TEXT):
    """About how many pixels a text takes; of several lines, the longest counts."""
    letters = max((len(line) for line in text.split("\n")), default=0)
    return 0.56 * size * letters


@dataclass
class Frame:
    """Margins in pixels and the wrapped lines of title and caption."""

    left: float
    right: float
    top: float
    bottom: float
    title: list
    caption: list
    height: float

    @property
    def caption_drop(self):
        """From the lower edge of the plot down to the caption's first line, in pixels."""
        return self.bottom - LINE * len(self.caption) - 8


def frame(scene):
    """The Frame that the words around a scene's plot need."""
    title = textwrap.wrap(scene.title, 76) or [""]
    caption = textwrap.wrap(scene.caption, 112)
    top = EDGE + TITLE_LINE * len(title) + 4
    if any(layer.legend for layer in scene.layers):
        top += 18
    bottom = _below(scene) + 14 + LINE * len(caption) + 8
    return Frame(
        left=round(_beside(scene.y)),
        right=24 if scene.x.shown else 8,
        top=top,
        bottom=bottom,
        title=title,
        caption=caption,
        height=round(top + scene.rows + bottom),
    )


def _beside(axis):
    """Pixels for the upright axis: its tick texts and its title."""
    # The widest tick text decides how far the plot moves to the right.
    names = []
    if axis.shown and axis.ticks is None:
        names = ["10,000"]  # round numbers are not known yet; few are longer than this
    elif axis.shown:
        names = [name for _, name in axis.ticks]
    wide = EDGE + max(map(text_width, names), default=0)
    if axis.title:
        wide += LINE + 4
    return wide


def _below(scene):
    """Pixels between the plot and the caption: tick texts, the axis' title, the film's controls."""
    tall = 0
    if scene.x.shown:
        tall += 22
    if scene.x.title:
        tall += LINE + 3
    if scene.moments:
        tall += CONTROLS
    return tall
