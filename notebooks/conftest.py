"""How nbval runs these notebooks, and what it leaves out when it compares outputs.

    tests/browser ran the notebook  ->  its cells are played back to nbval, which compares them
    no browser, or only notebooks/  ->  nbval starts a kernel and runs the cells itself

Pictures are compared by their text, which holds counts; the drawings hold measured seconds.
nbval runs
cells without counting them, so "In [9]" is the same as "In [1]".
"""

import queue
from collections import deque

import pytest

DRAWINGS = ("application/vnd.plotly.v1+json", "image/svg+xml")
QUICK = "00_start_here.ipynb"  # the one notebook that is executed without the slow tests
OUTPUT_SECONDS = 60  # nbval's own 5 s for the last message are too few for a busy machine


class Playback:
    """A kernel for nbval that executes nothing: it sends the outputs of cells that already ran."""

    def __init__(self, cells):
        self.cells = deque(cell for cell in cells if cell.cell_type == "code")
        self.messages = deque()

    def execute_cell_input(self, source, allow_stdin=None):
        """Put the next cell's messages into the queue; return the number of the request."""
        cell = self.cells.popleft()
        assert cell.source == source, "the browser ran another cell"
        for output in cell.outputs:
            self._send(cell.id, output.output_type, output)
        self._send(cell.id, "status", {"execution_state": "idle"})
        return cell.id

    def _send(self, request, kind, content):
        message = {"msg_type": kind, "content": content, "parent_header": {"msg_id": request}}
        self.messages.append(message)

    def await_reply(self, request, timeout=None):
        """The cell has already run."""

    def await_idle(self, request, timeout):
        """No message of this request is needed any more."""
        self.messages.clear()

    def get_message(self, stream, timeout=None):
        """The next message; raises queue.Empty if there is none."""
        if not self.messages:
            raise queue.Empty
        return self.messages.popleft()

    def is_alive(self):
        """A playback never dies."""
        return True

    def stop(self):
        """Forget all messages."""
        self.messages.clear()


def prepare(notebook):
    """Let `notebook.executed`, the cells that ran in a browser, take the place of a kernel."""
    start_kernel = notebook.setup
    notebook.executed = None  # tests/browser may set it

    def setup():
        if notebook.executed is None:
            start_kernel()
        else:
            notebook.kernel = Playback(notebook.executed)

    notebook.setup = setup


def pytest_collection_modifyitems(items):
    cells = [item for item in items if hasattr(item.parent, "skip_compare")]
    for item in cells:
        item.output_timeout = OUTPUT_SECONDS
        if item.path.name != QUICK:
            item.add_marker(pytest.mark.slow)
    for notebook in {item.parent for item in cells}:
        if not set(DRAWINGS) <= set(notebook.skip_compare):
            notebook.skip_compare += DRAWINGS
        notebook.sanitize_patterns[r"In \[\d+\]"] = "In [.]"
        prepare(notebook)
