"""How far has the learner come?  Each check notes what it found in work/mine/progress.json, and the best counts.

    02_collectives   5 of 7 tasks    34 of 52 points       `minidl progress` prints this, notebook 00 shows it

A course is what the exercises beside it say: tasks from their cells, points from their checks.
"""

import ast
import json
from html import escape
from pathlib import Path

from minidl.learner import mine

EXERCISES = Path(__file__).resolve().parent.parent.parent / "exercises"


def noted():
    """{"tasks": {task: {state, earned, points}}, "last": {exercise: the last failed check}, "races": {task: [seconds]}}."""
    place = mine.folder()
    try:
        found = json.loads((place / "progress.json").read_text(encoding="utf-8"))
        return {
            "tasks": dict(found["tasks"]),
            "last": dict(found["last"]),
            "races": dict(found["races"]),
        }
    except (TypeError, OSError, ValueError, KeyError):  # no folder, no file, or one that is broken
        return {"tasks": {}, "last": {}, "races": {}}


def note(report, source, seed):
    """Remember what a check found: the best report of a task, the last failure of an exercise, the fastest races."""
    place = mine.folder()
    if place is None:
        return
    book = noted()
    before = book["tasks"].get(report.task, {"earned": -1})
    if report.earned > before["earned"] or report.passed:
        book["tasks"][report.task] = {
            "state": report.state,
            "earned": report.earned,
            "points": report.points,
        }
    exercise = report.task.split("-")[0]
    if report.state == "not done":
        pass
    elif report.passed:
        if book["last"].get(exercise, {}).get("task") == report.task:
            del book["last"][exercise]
    else:
        book["last"][exercise] = last_failure(report, source, seed)
    if report.race is not None:
        book["races"][report.task] = sorted(
            {*book["races"].get(report.task, []), report.race.seconds}
        )[:5]
    mine.write(place / "progress.json", json.dumps(book, indent=1))


def last_failure(report, source, seed):
    """What a teacher needs of a failed check, as plain values."""
    events = []
    if report.failing is not None:
        events = [
            [e.rank, e.kind, e.peer, e.number, list(e.shape), e.dtype, e.posted, e.done, e.line]
            for e in report.failing.outcome.trace
        ]
    error = report.failing.outcome.error if report.failing is not None else None
    return {
        "task": report.task,
        "seed": seed,
        "code": source,
        "report": repr(report),
        "error": str(error or ""),
        "case": str(report.failing.case) if report.failing is not None else "",
        "events": events[:400],
    }


def course(folder=None):
    """{exercise: {task: points}} of all exercises, in order."""
    work = mine.home()
    folders = [folder] if folder else [EXERCISES] + ([work / "exercises"] if work else [])
    found = {}
    for path in sorted(path for place in folders for path in Path(place).glob("[0-9]*.ipynb")):
        try:
            cells = json.loads(path.read_text(encoding="utf-8-sig"))["cells"]
            tasks = dict(points for cell in cells for points in points_of(cell))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if path.stem not in found and tasks:
            found[path.stem] = tasks
    return dict(sorted(found.items()))


def points_of(cell):
    """(task, points) of a check cell: what its sentence is worth."""
    given = cell.get("metadata", {}).get("minidl", {})
    if given.get("role") != "check":
        return
    for node in ast.walk(ast.parse("".join(cell["source"]))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "worth"
        ):
            yield given["task"], ast.literal_eval(node.args[0])


class Progress:
    """What is done of each exercise. Shows itself as a table, in a terminal and in a notebook."""

    def __init__(self):
        self.exercises, self.tasks, self.races = course(), noted()["tasks"], noted()["races"]

    def rows(self):
        """(exercise, tasks passed, tasks, points earned, points) each."""
        for exercise, tasks in self.exercises.items():
            mine_ = [self.tasks.get(task, {"state": "", "earned": 0}) for task in tasks]
            yield (
                exercise,
                sum(t["state"] == "passed" for t in mine_),
                len(tasks),
                sum(t["earned"] for t in mine_),
                sum(tasks.values()),
            )

    def __repr__(self):
        lines = [
            f"{name:<24} {done:>2} of {of:<2} tasks  {earned:>5g} of {points:<3g} points  {bar(earned, points)}"
            for name, done, of, earned, points in self.rows()
        ]
        for exercise, tasks in self.exercises.items():
            open_ = [task for task in tasks if self.tasks.get(task, {}).get("state") != "passed"]
            if len(open_) < len(tasks) and open_:
                lines.append(f"next in {exercise}: {open_[0]}")
        return "\n".join(lines) or "No exercise was found."

    def _repr_html_(self):
        head = "".join(
            f"<th style='text-align:left'>{name}</th>"
            for name in ("exercise", "tasks passed", "points", "")
        )
        body = "".join(
            f"<tr><td style='text-align:left'>{escape(name)}</td><td>{done} of {of}</td><td>{earned:g} of {points:g}</td>"
            f"<td><progress value='{earned:g}' max='{points:g}'>{bar(earned, points)}</progress></td></tr>"
            for name, done, of, earned, points in self.rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def bar(part, whole, width=20):
    """ "######......" """
    full = round(width * part / whole) if whole else 0
    return "#" * full + "." * (width - full)


def progress():
    """What is done of the course."""
    return Progress()
