"""What does a file that somebody handed in hold? Bytes become parts, or a sentence that says why not.

    bytes --UTF-8, UTF-16, with a BOM or without--> JSON --nbformat 2 to 4.x--> [Part(source, role, task, id, code), ...]

Nothing of it is executed, unpickled or believed: what is not text, or not where a notebook has it, is left out.
"""

import ast
import json
from typing import NamedTuple

from minidl_grader.course.cells import tree_of

LARGEST = 20_000_000  # bytes of a notebook: pictures in outputs make it large, answers never do
MOST = 2000  # cells
LONGEST_NAME = 100  # characters of a learner's name


class Unreadable(Exception):
    """This is no notebook; the message says why, to its author."""


class Part(NamedTuple):
    """A cell of a submission. number: its place in the file, from 0. role, task, id: what it says of itself, "" for nothing."""

    number: int
    source: str
    role: str
    task: str
    id: str
    code: bool
    tagged: bool  # carries tags, which a student has set or somebody's editor


def read(data):
    """The parts of a notebook. Raises Unreadable."""
    if len(data) > LARGEST:
        raise Unreadable(
            f"The file has {len(data) / 1e6:.0f} MB; at most {LARGEST / 1e6:.0f} are read. Clear its outputs and hand it in again."
        )
    if not data.strip(b"\0 \t\r\n"):
        raise Unreadable("The file is empty.")
    try:
        notebook = json.loads(text_of(data))
    except (ValueError, RecursionError):
        raise Unreadable(
            "The file is not a notebook: it cannot be read as JSON. It may be cut off, or be another kind of file."
        ) from None
    cells = cells_of(notebook)
    if not cells:
        raise Unreadable("The notebook has no cells.")
    if len(cells) > MOST:
        raise Unreadable(f"The notebook has {len(cells)} cells; at most {MOST} are read.")
    return [part_of(number, cell) for number, cell in enumerate(cells) if isinstance(cell, dict)]


def text_of(data):
    """The text of a file, whatever the byte order mark says."""
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    return data.decode("utf-16" if wide else "utf-8-sig", errors="strict" if wide else "replace")


def cells_of(notebook):
    """The list of cells, of old formats too. Raises Unreadable where there is none."""
    if isinstance(notebook, dict) and isinstance(notebook.get("cells"), list):
        return notebook["cells"]
    sheets = notebook.get("worksheets") if isinstance(notebook, dict) else None  # nbformat 2 and 3
    if not isinstance(sheets, list):
        raise Unreadable("The file is JSON, but not a notebook: it has no cells.")
    return [
        cell
        for sheet in sheets
        if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list)
        for cell in sheet["cells"]
    ]


def part_of(number, cell):
    """A cell as a Part; what is not text counts as empty."""
    metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
    given = metadata.get("minidl") if isinstance(metadata.get("minidl"), dict) else {}
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    text = lambda value: value if isinstance(value, str) else ""
    return Part(
        number,
        clean(text(source)),
        text(given.get("role")),
        text(given.get("task")),
        text(cell.get("id") or metadata.get("id")),
        cell.get("cell_type") == "code",
        bool(metadata.get("tags")),
    )


def clean(source):
    """The same text with the line ends of Unix, and with nothing that UTF-8 cannot say."""
    return (
        source.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode("utf-8")
    )


def name_in(source):
    """The text in `learner = "text"`, read as a literal and never executed; None where the cell is anything else."""
    body = getattr(tree_of(source), "body", [])
    if (
        len(body) != 1
        or not isinstance(body[0], ast.Assign)
        or [getattr(target, "id", "") for target in body[0].targets] != ["learner"]
    ):
        return None
    value = (
        getattr(body[0].value, "value", None) if isinstance(body[0].value, ast.Constant) else None
    )
    if not isinstance(value, str):
        return None
    return " ".join("".join(letter if letter.isprintable() else " " for letter in value).split())[
        :LONGEST_NAME
    ]
