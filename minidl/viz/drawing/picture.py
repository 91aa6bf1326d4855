"""How does one picture show in JupyterLab, on GitHub, in a terminal and on disk?

    Scene --> plotly JSON     moves and hovers in JupyterLab
          |-> SVG             where no plotly runs: GitHub, nbconvert, a site
          |-> text            Picture(lamport: 4 ranks, 24 messages)
          `-> Table           the numbers behind it

The text holds counts and no measured seconds, so it is the same in every run.
Left out: what is drawn. The functions beside this file decide that.
"""

import json
from html import escape
from pathlib import Path

from minidl.viz.drawing.plotly_json import plotly_json
from minidl.viz.drawing.svg import svg

SHOWN = 20  # rows of a table that its repr shows


class Table:
    """Rows under named columns. Shows itself as aligned text, or as a table in a notebook."""

    def __init__(self, columns, rows):
        self.columns = list(columns)
        self.rows = [tuple(row) for row in rows]

    def __len__(self):
        return len(self.rows)

    def __iter__(self):
        return iter(self.rows)

    def __getitem__(self, column):
        at = self.columns.index(column)
        return [row[at] for row in self.rows]

    def _texts(self):
        return [
            [f"{v:.6g}" if isinstance(v, float) else "" if v is None else str(v) for v in row]
            for row in self.rows[:SHOWN]
        ]

    def _rest(self):
        return f"and {len(self) - SHOWN:,} more rows" if len(self) > SHOWN else ""

    def __repr__(self):
        texts = self._texts()
        widths = [max(map(len, column)) for column in zip(self.columns, *texts)]
        number = [
            all(isinstance(row[i], (int, float)) for row in self.rows) for i in range(len(widths))
        ]
        lines = [
            "  ".join(
                cell.rjust(w) if n else cell.ljust(w) for cell, w, n in zip(row, widths, number)
            ).rstrip()
            for row in [self.columns, *texts]
        ]
        return "\n".join(lines + [self._rest()] * bool(self._rest()))

    def _repr_html_(self):
        line = lambda tag, cells: (
            "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"
        )
        body = "".join(line("td", row) for row in self._texts())
        return f"<table><thead>{line('th', self.columns)}</thead><tbody>{body}</tbody></table>{self._rest()}"


class Picture:
    """A drawn finding.

    title    what was found, in words
    caption  the sentence that says what the picture shows
    """

    def __init__(self, kind, summary, scene, table):
        self.kind, self.summary, self.scene = kind, summary, scene
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
        """Write the picture to a file: .svg, .json (plotly), or .html, which moves and needs no network. Returns the path."""
        path = Path(path)
        if path.suffix == ".svg":
            content = self.svg()
        elif path.suffix == ".json":
            content = json.dumps(self.plotly())
        elif path.suffix == ".html":
            import plotly.io

            content = plotly.io.to_html(
                self.plotly(),
                include_plotlyjs=True,
                config=self.plotly()["config"],
                validate=False,
                auto_play=False,
            )
        else:
            raise ValueError(
                f"a picture is saved as .svg, .html or .json, not as {path.suffix or 'a file without an ending'}"
            )
        path.write_text(content, encoding="utf-8")
        return path
