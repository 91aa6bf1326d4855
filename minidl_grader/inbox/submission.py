"""What does a file that was handed in hold? Bytes become parts, or a sentence that says why not.

    bytes --UTF-8 or UTF-16--> JSON --nbformat 2 to 4.x--> [SubmittedCell, ...]

Nothing of it is executed, unpickled or believed: what is not text, or not in the place where a
notebook has it, is left out.
"""

import ast
import json
from typing import NamedTuple

from minidl_grader.course.cells import tree_of

LARGEST = 20_000_000  # bytes of a notebook: pictures in outputs make it large, answers never do
MOST = 2000  # cells
LONGEST_NAME = 100  # characters of a learner's name


class Unreadable(Exception):
    """The file is not a notebook; the message tells its author why."""


class SubmittedCell(NamedTuple):
    """A cell of a submission."""

    number: int  # its place in the file, from 0
    source: str
    # What it says of itself, "" for nothing.
    role: str
    task: str
    id: str
    code: bool
    tagged: bool  # has tags, which a student or an editor has set


def submitted_cells(data):
    """The cells of a notebook, given its bytes. Raises Unreadable."""
    if len(data) > LARGEST:
        raise Unreadable(
            f"The file has {len(data) / 1e6:.0f} MB; at most {LARGEST / 1e6:.0f} are read."
            " Clear its outputs and hand it in again."
        )
    if not data.strip(b"\0 \t\r\n"):
        raise Unreadable("The file is empty.")
    try:
        notebook = json.loads(text_of(data))
    except (ValueError, RecursionError):
        raise Unreadable(
            "The file is not a notebook: it cannot be read as JSON."
            " It may be cut off, or be another kind of file."
        ) from None
    cells = cells_of(notebook)
    if not cells:
        raise Unreadable("The notebook has no cells.")
    if len(cells) > MOST:
        raise Unreadable(f"The notebook has {len(cells)} cells; at most {MOST} are read.")
    return [part_of(number, cell) for number, cell in enumerate(cells) if isinstance(cell, dict)]


def text_of(data):
    """The text of a file in UTF-8 or, if a byte order mark says so, UTF-16."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    return data.decode("utf-8-sig", errors="replace")


def cells_of(notebook):
    """The list of cells, of old formats too. Raises Unreadable if there is none."""
    if isinstance(notebook, dict):
        if isinstance(notebook.get("cells"), list):
            return notebook["cells"]
        if isinstance(notebook.get("worksheets"), list):  # nbformat 2 and 3
            cells = []
            for sheet in notebook["worksheets"]:
                if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list):
                    cells += sheet["cells"]
            return cells
    raise Unreadable("The file is JSON, but not a notebook: it has no cells.")


def part_of(number, cell):
    """A cell as a SubmittedCell; what is not text counts as empty."""
    metadata = _dict(cell.get("metadata"))
    given = _dict(metadata.get("minidl"))
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(map(_text, source))
    return SubmittedCell(
        number,
        clean(_text(source)),
        _text(given.get("role")),
        _text(given.get("task")),
        _text(cell.get("id") or metadata.get("id")),
        cell.get("cell_type") == "code",
        bool(metadata.get("tags")),
    )


def _dict(value):
    return value if isinstance(value, dict) else {}


def _text(value):
    return value if isinstance(value, str) else ""


def clean(source):
    """The same text with the line ends of Unix, and without lone surrogates."""
    unix = source.replace("\r\n", "\n").replace("\r", "\n")
    return unix.encode("utf-8", "replace").decode("utf-8")


def name_in(source):
    """The text in `learner = "text"`, read as a literal, never executed; None for other cells."""
    body = getattr(tree_of(source), "body", [])
    if len(body) != 1 or not isinstance(body[0], ast.Assign):
        return None
    targets = [getattr(target, "id", "") for target in body[0].targets]
    value = getattr(body[0].value, "value", None)  # of a Constant
    if targets != ["learner"] or not isinstance(value, str):
        return None
    printable = "".join(letter if letter.isprintable() else " " for letter in value)
    return " ".join(printable.split())[:LONGEST_NAME]
