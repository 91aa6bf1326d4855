"""How does an exercise go to an instructor who works with nbgrader?

    FOLDER/source/02_collectives/02_collectives.ipynb    with solutions and hidden tests
    FOLDER/release/02_collectives/02_collectives.ipynb   what students get

nbgrader reads points in parts from the last line of a graded cell, so there a check ends with
`.earned`. Its metadata have version 3: grade, solution, locked, points, and a grade_id that no
other cell has. nbgrader runs answers in the kernel that counts their points: it can be fooled where
`minidl grade` cannot. The way back is inbox/nbgrader_grades.py.
"""

import ast
import hashlib
from copy import deepcopy

import nbformat

from minidl.learner.notes import worth_of
from minidl_grader.course.cells import (
    Unfit,
    masters,
    read_master,
    role,
    task,
    with_role,
    write_aside,
)
from minidl_grader.course.release import id_of, release

KINDS = {"name": "solution", "answer": "solution", "check": "grade", "setup": "locked"}


def source(master, name):
    """The instructor's notebook: solutions in their regions, hidden checks in theirs."""
    hidden = {}  # task -> its hidden checks
    for cell in with_role(master, "hidden"):
        hidden.setdefault(task(cell), []).append(cell.source)
    made = deepcopy(master)
    made.cells = [cell for cell in made.cells if role(cell) != "hidden"]
    for number, cell in enumerate(made.cells):
        cell.id = id_of(cell, number, name)
        if role(cell) == "answer":
            lines = cell.source.splitlines()
            cell.source = "\n".join(line for line in lines if not line.strip().startswith("#|"))
    return marked(made, hidden)


def student_version(master, name):
    """What students get: the exercise, with nbgrader's metadata and checksums."""
    made = marked(release(master, name), {})
    for cell in made.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata["nbgrader"] |= {"cell_type": cell.cell_type, "checksum": checksum(cell)}
    return made


def marked(notebook, hidden):
    """The notebook, changed: nbgrader's metadata in every cell with a role, a number ends a check.

    hidden: {task: its hidden checks}. Raises Unfit.
    """
    for cell in notebook.cells:
        kind = KINDS.get(role(cell))
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
        if kind is None:
            continue
        given = {
            "schema_version": 3,
            "grade": kind == "grade",
            "solution": kind == "solution",
            "locked": kind != "solution",
            "task": False,
            "grade_id": cell.id,
        }
        if kind == "grade":
            points = dict(worth_of({**cell, "source": [cell.source]}))
            given["points"] = points.get(task(cell), 0)
            cell.source = ending_with_a_number(cell.source, hidden.get(task(cell), []))
        cell.metadata["nbgrader"] = given
    validate(notebook)
    return notebook


def ending_with_a_number(text, hidden):
    """A check that ends with the points earned: the lowest of the visible and the hidden ones."""
    last = ast.parse(text).body[-1]
    lines = text.splitlines()
    if not isinstance(last, ast.Expr):
        raise Unfit(f"a check must end with its sentence, not with {lines[-1]!r}")
    first = last.lineno - 1
    if first > 0 and lines[first - 1].strip() == "(":  # the tree does not contain the bracket
        first -= 1
    lines[first] = f"report = {lines[first].lstrip()}"
    for one in hidden:
        lines += [
            "### BEGIN HIDDEN TESTS",
            f"report = min(report, {one.strip()}, key=lambda one: one.earned)",
            "### END HIDDEN TESTS",
        ]
    return "\n".join([*lines, "report.earned"])


def checksum(cell):
    """nbgrader's own fingerprint of a cell."""
    given = cell.metadata["nbgrader"]
    locked = not given["solution"] and (given["grade"] or given["locked"])
    parts = [
        cell.source,
        cell.cell_type,
        str(given["grade"]),
        str(given["solution"]),
        str(locked),
        given["grade_id"],
    ]
    if given["grade"]:
        parts.append(str(float(given["points"])))
    return hashlib.md5("".join(parts).encode("utf-8"), usedforsecurity=False).hexdigest()


def validate(notebook):
    """Raise Unfit for ids that nbgrader refuses: those that are empty or occur twice."""
    marks = [cell.metadata["nbgrader"] for cell in notebook.cells if "nbgrader" in cell.metadata]
    ids = [given["grade_id"] for given in marks]
    if not all(ids):
        raise Unfit("nbgrader needs a grade_id in every cell, and one is empty")
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise Unfit(f"nbgrader needs another grade_id in every cell: {', '.join(twice)}")
    nbformat.validate(notebook)


def export(numbers, solutions, folder):
    """Write source/ and release/ of all exercises below `folder`; prints a line for each."""
    for path in masters(numbers, solutions):
        master = read_master(path)
        versions = {
            "source": source(master, path.stem),
            "release": student_version(master, path.stem),
        }
        for kind, made in versions.items():
            write_aside(folder / kind / path.stem / path.name, nbformat.writes(made) + "\n")
        print(f"{path.name}: written for nbgrader to {folder}")
    return 0
