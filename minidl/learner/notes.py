"""How far has the learner got? Each check notes in work/mine/progress.json what it found.

    02_collectives   5 of 7 tasks    34 of 52 points     shown by `minidl progress` and notebook 00

Which tasks there are, and what they are worth, is read from the check cells of the exercises.
"""

import ast
import json
from html import escape
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import minidl.learner.mine as mine

EXERCISES = Path(__file__).resolve().parent.parent.parent / "exercises"
EVENT_FIELDS = ("rank", "kind", "peer", "number", "shape", "dtype", "posted", "done", "line")
EVENT_VALUES = attrgetter(*EVENT_FIELDS)
MOST_EVENTS = 400  # of a failing run that are noted
MOST_RACES = 5


def noted():
    """What is noted, as a dict with three keys.

    tasks  {task: {"state", "earned", "points"}}
    last   {exercise: the last failed check, see _failure_of}
    races  {task: the fastest virtual seconds, ascending}
    """
    try:
        text = (mine.kept_folder() / "progress.json").read_text(encoding="utf-8")
        found = json.loads(text)
        return {part: dict(found[part]) for part in ("tasks", "last", "races")}
    except (TypeError, OSError, ValueError, KeyError):  # no folder, no file, or a broken one
        return {"tasks": {}, "last": {}, "races": {}}


def note(report, source, seed):
    """Note a task's best result, an exercise's last failure, and the fastest races."""
    folder = mine.kept_folder()
    if folder is None:
        return
    # Two notebooks may run at once; the one that writes last wins.
    notes = noted()
    # A later failure does not take away what was earned before.
    best = notes["tasks"].get(report.task, {"earned": -1})
    if report.passed or report.earned > best["earned"]:
        notes["tasks"][report.task] = {
            name: getattr(report, name) for name in ("state", "earned", "points")
        }
    exercise = report.task.split("-")[0]
    last = notes["last"].get(exercise, {})
    if report.passed and last.get("task") == report.task:
        del notes["last"][exercise]
    # A stub that has not been begun is no question for a teacher.
    elif not report.passed and not report.not_done:
        notes["last"][exercise] = _failure_of(report, source, seed)
    if report.race is not None:
        seconds = {*notes["races"].get(report.task, []), report.race.seconds}
        notes["races"][report.task] = sorted(seconds)[:MOST_RACES]
    mine.write_whole(folder / "progress.json", json.dumps(notes, indent=1))


def _failure_of(report, source, seed):
    """What a teacher needs to know of a failed check, as plain values."""
    failure = {
        "task": report.task,
        "seed": seed,
        "code": source.rstrip(),
        "report": repr(report),
        "error": "none",
        "case": "",
        "events": [],
    }
    trial = report.failing
    if trial is not None:
        failure["error"] = str(trial.outcome.error or "none")
        failure["case"] = str(trial.case)
        # Enough for a teacher to see the beginning, in a file that can be mailed.
        failure["events"] = list(map(EVENT_VALUES, islice(trial.outcome.trace, MOST_EVENTS)))
    return failure


def course():
    """{exercise: {task: points}}, in order: the package's exercises and the learner's."""
    # A teacher's own exercises are in the learner's folder only.
    folders = [EXERCISES]
    work = mine.home()
    if work is not None:
        folders.append(work / "exercises")
    exercises = {}
    for folder in folders:
        for path in folder.glob("[0-9]*.ipynb"):
            tasks = _tasks_of(path)
            if tasks:
                # The package's own copy counts, in case the learner has edited a check.
                exercises.setdefault(path.stem, tasks)
    return dict(sorted(exercises.items()))


def _tasks_of(path):
    """{task: points} of an exercise; {} if it cannot be read."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8-sig"))["cells"]
        return dict(pair for cell in cells for pair in worth_of(cell))
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def worth_of(cell):
    """(task, points) of a check cell: what its `worth(...)` says. Nothing for other cells."""
    about = cell.get("metadata", {}).get("minidl", {})
    if about.get("role") != "check":
        return
    # The points are read from the check itself, so they cannot differ from it.
    for node in ast.walk(ast.parse("".join(cell["source"]))):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr == "worth":
            yield about["task"], ast.literal_eval(node.args[0])


class ExerciseProgress(NamedTuple):
    """What is done of one exercise."""

    exercise: str
    passed: int
    tasks: int
    earned: float
    points: float

    def in_words(self):
        """A line for a terminal."""
        return (
            f"{self.exercise:<24} "
            f"{self.passed:>2} of {self.tasks:<2} tasks  "
            f"{self.earned:>5g} of {self.points:<3g} points  "
            f"{self.bar()}"
        )

    def bar(self, width=20):
        """ "######.............." """
        # The points of an exercise may sum to 0; then the bar is empty.
        full = round(width * self.earned / (self.points or 1))
        return "#" * full + "." * (width - full)


class Progress:
    """What is done of each exercise. Shows itself as a table, in a terminal and in a notebook."""

    def __init__(self):
        self.exercises = course()
        self.tasks = noted()["tasks"]

    def rows(self):
        """An ExerciseProgress for each exercise."""
        for exercise, points in self.exercises.items():
            passed = sum(map(self.passed, points))
            found = [self.tasks[task] for task in points if task in self.tasks]
            earned = sum(result["earned"] for result in found)
            worth = sum(points.values())
            yield ExerciseProgress(exercise, passed, len(points), earned, worth)

    def passed(self, task):
        """Whether a task has passed its check."""
        return task in self.tasks and self.tasks[task]["state"] == "passed"

    def __repr__(self):
        lines = [row.in_words() for row in self.rows()]
        for exercise, tasks in self.exercises.items():
            # Only exercises that are begun and not finished have a next task.
            left = [task for task in tasks if not self.passed(task)]
            if 0 < len(left) < len(tasks):
                lines.append(f"next in {exercise}: {left[0]}")
        return "\n".join(lines) or "No exercise was found."

    def _repr_html_(self):
        left = "style='text-align:left'"
        rows = "<tr>"
        for heading in ("exercise", "tasks passed", "points", ""):
            rows += f"<th {left}>{heading}</th>"
        rows += "</tr>"
        for row in self.rows():
            rows += f"<tr><td {left}>{escape(row.exercise)}</td>"
            rows += f"<td>{row.passed} of {row.tasks}</td>"
            rows += f"<td>{row.earned:g} of {row.points:g}</td>"
            rows += f"<td><progress value='{row.earned:g}' max='{row.points:g}'>"
            rows += f"{row.bar()}</progress></td></tr>"
        return f"<table>{rows}</table>"


def progress():
    """What is done of the course."""
    return Progress()
