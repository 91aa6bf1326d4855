"""How does one picture show in JupyterLab, on GitHub, in a terminal and on disk?

    Scene --> plotly JSON     moves and hovers in JupyterLab
          |-> SVG             where no plotly runs: GitHub, nbconvert, a site
          |-> text            Picture(lamport: 4 ranks, 24 messages)
          `-> Table           the numbers behind it

The text holds counts and no measured seconds, so it is the same in every run.
Left out: what is drawn; see the functions in pictures/.
"""

import json
from html import escape
from numbers import Real
from pathlib import Path

from minidl.viz.drawing.plotly_json import plotly_json
from minidl.viz.drawing.svg import svg

SHOWN = 20  # rows of a table that its repr shows


class Table:
    """Rows under named columns. Shows itself as aligned text, or as a table in a notebook.

    columns  the names
    rows     one tuple a row
    """

    cell_style = ""  # an HTML attribute of every cell

    def __init__(self, columns, rows):
        self.columns = list(columns)
        self.rows = [tuple(row) for row in rows]

    def __len__(self):
        return len(self.rows)

    def __iter__(self):
        return iter(self.rows)

    def __getitem__(self, column):
        index = self.columns.index(column)
        return [row[index] for row in self.rows]

    def _shown(self):
        """The first rows as texts."""
        return [[_cell_text(value) for value in row] for row in self.rows[:SHOWN]]

    def _rest(self):
        """How many rows are not shown, in words; "" if all are."""
        hidden = len(self) - SHOWN
        return f"and {hidden:,} more rows" if hidden > 0 else ""

    def __repr__(self):
        columns = []
        for texts in zip(self.columns, *self._shown()):
            width = max(map(len, texts))
            # numbers end below each other, words begin below each other
            numbers = all(isinstance(value, Real) for value in self[texts[0]])
            pad = str.rjust if numbers else str.ljust
            columns.append([pad(text, width) for text in texts])
        lines = []
        for cells in zip(*columns):
            lines.append("  ".join(cells).rstrip())
        lines.append(self._rest())
        return "\n".join(lines).rstrip("\n")

    def _repr_html_(self):
        head = self._html_row("th", self.columns)
        body = "".join(self._html_row("td", row) for row in self._shown())
        table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
        return table + self._rest()

    def _html_row(self, tag, texts):
        cells = "".join(f"<{tag}{self.cell_style}>{escape(text)}</{tag}>" for text in texts)
        return f"<tr>{cells}</tr>"


def _cell_text(value):
    """What a cell of a table shows: six digits of a number, nothing for None."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class Picture:
    """A drawn finding.

    title    what was found, in words
    caption  the sentence that says what the picture shows
    """

    def __init__(self, kind, summary, scene, table):
        self.kind = kind
        self.summary = summary
        self.scene = scene
        self._table = table

    @property
    def title(self):
        """What was found, in words."""
        return self.scene.title

    @property
    def caption(self):
        """The sentence that says what the picture shows."""
        return self.scene.caption

    def __repr__(self):
        return f"Picture({self.kind}: {self.summary})"

    def table(self):
        """The data behind the picture."""
        return self._table

    def plotly(self):
        """The figure as plotly JSON, a dict."""
        return plotly_json(self.scene)

    def svg(self):
        """The picture as SVG text."""
        return svg(self.scene)

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {
            "application/vnd.plotly.v1+json": self.plotly(),
            "image/svg+xml": self.svg(),
            "text/plain": repr(self),
        }

    def save(self, path):
        """Write the picture to a file and return its path.

        The ending decides: .svg, .json (plotly), or .html, which moves and needs no network.
        """
        path = Path(path)
        # the file's ending names the format
        if path.suffix == ".svg":
            content = self.svg()
        elif path.suffix == ".json":
            content = json.dumps(self.plotly())
        elif path.suffix == ".html":
            content = self._html()
        else:
            ending = path.suffix or "a file without an ending"
            raise ValueError(f"a picture is saved as .svg, .html or .json, not as {ending}")
        path.write_text(content, encoding="utf-8")
        return path

    def _html(self):
        """A page that carries plotly itself."""
        import plotly.io  # slow to import, and only needed here

        figure = self.plotly()
        return plotly.io.to_html(
            figure,
            include_plotlyjs=True,
            config=figure["config"],
            validate=False,
            auto_play=False,
        )
