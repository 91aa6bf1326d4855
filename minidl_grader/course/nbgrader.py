"""How does an exercise go to somebody who works with nbgrader?

    FOLDER/source/02_collectives/02_collectives.ipynb       with solutions and hidden tests: for nbgrader's database
    FOLDER/release/02_collectives/02_collectives.ipynb      what students get
    FOLDER/submitted/ada/02_collectives/02_collectives.ipynb    answers in the master, by `minidl grade --nbgrader`

nbgrader reads points in parts from the last line of a graded cell, so there a check ends with `.earned`. Its metadata
have version 3: grade, solution, locked, points, and a grade_id that no other cell has. nbgrader runs answers in the
kernel that counts their points: it can be fooled where `minidl grade` cannot.
"""

import ast
import csv
import hashlib
import io
from copy import deepcopy

import nbformat

from minidl.learner.notes import points_of
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
from minidl_grader.inbox.assemble import assemble
from minidl_grader.inbox.score import earned

ROLES = {"name": "solution", "answer": "solution", "check": "grade", "setup": "locked"}
COLUMNS = (
    "assignment",
    "duedate",
    "timestamp",
    "student_id",
    "last_name",
    "first_name",
    "email",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
)


def source(master, name):
    """The instructor's notebook: solutions in their regions, hidden checks in theirs."""
    hidden = {}
    for cell in with_role(master, "hidden"):
        hidden.setdefault(task(cell), []).append(cell.source)
    made = deepcopy(master)
    made.cells = [cell for cell in made.cells if role(cell) != "hidden"]
    for number, cell in enumerate(made.cells):
        cell.id = id_of(cell, number, name)
        if role(cell) == "answer":
            cell.source = "\n".join(
                line for line in cell.source.splitlines() if not line.strip().startswith("#|")
            )
    return marked(made, hidden)


def student_version(master, name):
    """What students get: the exercise, with nbgrader's metadata and checksums."""
    made = marked(release(master, name), {})
    for cell in made.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata["nbgrader"] |= {"cell_type": cell.cell_type, "checksum": checksum(cell)}
    return made


def submitted(shown):
    """The kernel's copy of a submission, as nbgrader expects it in submitted/."""
    return marked(deepcopy(shown), {})


def marked(notebook, hidden):
    """Give every cell with a role nbgrader's metadata, and let checks end with a number. Raises Unfit."""
    for cell in notebook.cells:
        kind = ROLES.get(role(cell))
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
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
            given["points"] = dict(points_of({**cell, "source": [cell.source]})).get(task(cell), 0)
            cell.source = ending_with_a_number(cell.source, hidden.get(task(cell), []))
        cell.metadata["nbgrader"] = given
    validate(notebook)
    return notebook


def ending_with_a_number(text, hidden):
    """A check that ends with the points earned; of the visible and the hidden one, the lower."""
    last = ast.parse(text).body[-1]
    lines = text.splitlines()
    if not isinstance(last, ast.Expr):
        raise Unfit(f"a check must end with its sentence, not with {lines[-1]!r}")
    before = lines[: last.lineno - 1]
    if before and before[-1].strip() == "(":  # an opening bracket is no part of what stands in it
        before.pop()
    sentence = "\n".join(lines[len(before) :])
    made = [*before, f"report = {sentence.lstrip()}"]
    for one in hidden:
        made += [
            "### BEGIN HIDDEN TESTS",
            f"report = min(report, {one.strip()}, key=lambda one: one.earned)",
            "### END HIDDEN TESTS",
        ]
    return "\n".join([*made, "report.earned"])


def checksum(cell):
    """nbgrader's own fingerprint of a cell."""
    given = cell.metadata["nbgrader"]
    locked = given["grade"] or given["locked"] if not given["solution"] else False
    parts = [
        cell.source,
        cell.cell_type,
        str(given["grade"]),
        str(given["solution"]),
        str(bool(locked)),
        given["grade_id"],
    ]
    parts += [str(float(given["points"]))] if given["grade"] else []
    return hashlib.md5("".join(parts).encode("utf-8"), usedforsecurity=False).hexdigest()


def validate(notebook):
    """Raise Unfit where nbgrader would refuse the notebook: ids that occur twice, points that are missing."""
    ids = [
        cell.metadata["nbgrader"]["grade_id"]
        for cell in notebook.cells
        if "nbgrader" in cell.metadata
    ]
    twice = {one for one in ids if ids.count(one) > 1}
    if twice or not all(ids):
        raise Unfit(
            f"nbgrader needs another grade_id in every cell: {', '.join(sorted(twice)) or 'one is empty'}"
        )
    nbformat.validate(notebook)


# --- Files -----------------------------------------------------------------------------------------------------


def export(numbers, solutions, folder):
    """Write source/ and release/ of all exercises below `folder`; prints a line for each."""
    for path in masters(numbers, solutions):
        master, name = read_master(path), path.stem
        for kind, made in (
            ("source", source(master, name)),
            ("release", student_version(master, name)),
        ):
            write_aside(folder / kind / name / f"{name}.ipynb", nbformat.writes(made) + "\n")
        print(f"{path.name}: written for nbgrader to {folder}")
    return 0


def export_graded(results, handed_in, course, folder):
    """Write every submission that was graded below `folder`/submitted, and the points as nbgrader exports them."""
    data = {one.key: one.data for one in handed_in}
    for result in results:
        if not result["problem"]:
            name = result["exercise"]
            made = assemble(data[result["key"]](), course.exercises[name], name, course.exercises)
            write_aside(
                folder / "submitted" / result["key"] / name / f"{name}.ipynb",
                nbformat.writes(submitted(made.shown)) + "\n",
            )
    write_aside(folder / "grades.csv", grades(results))


def grades(results):
    """The points in the columns of nbgrader's own export."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for result in results:
        points, most = earned(result)
        writer.writerow(
            {
                "assignment": result["exercise"],
                "student_id": result["key"],
                "raw_score": points,
                "late_submission_penalty": 0.0,
                "score": points,
                "max_score": most,
            }
        )
    return file.getvalue()
