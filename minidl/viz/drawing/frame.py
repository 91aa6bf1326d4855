"""How much room do the words around a plot need, so that nothing is clipped?

    title            the finding, wrapped            | top
    legend                                           |
         +-----------------------------+             | scene.rows
         |            plot             |
         +-----------------------------+
    left      0   2   4   time (ms)                  | bottom
    caption          what is seen, wrapped           |

Both writers ask here, so the SVG and the plotly figure have the same height and the same lines.
Left out: real text metrics. A letter is taken to be 0.56 of its size wide, which is a little too much.
"""

import textwrap
from dataclasses import dataclass

WIDTH = 760
CONTROLS = 58  # pixels for the buttons and the slider of a film
TITLE, TEXT, LINE = 16, 12, 17


def text_width(text, size=TEXT):
    """About how many pixels a line of text takes."""
    return 0.56 * size * max((len(line) for line in text.split("\n")), default=0)


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
    """Lay out the words around a scene's plot."""
    title = textwrap.wrap(scene.title, 76) or [""]
    caption = textwrap.wrap(scene.caption, 112)
    names = [text for _, text in scene.y.ticks or []] if scene.y.shown else []
    if scene.y.shown and scene.y.ticks is None:
        names = ["10,000"]
    left = 12 + max(map(text_width, names), default=0) + (LINE + 4 if scene.y.title else 0)
    right = 24 if scene.x.shown else 8
    top = 12 + 21 * len(title) + (22 if any(layer.legend for layer in scene.layers) else 4)
    below = (
        (22 if scene.x.shown else 0)
        + (LINE + 3 if scene.x.title else 0)
        + (CONTROLS if scene.moments else 0)
    )
    bottom = below + 14 + LINE * len(caption) + 8
    return Frame(round(left), right, top, bottom, title, caption, round(top + scene.rows + bottom))
