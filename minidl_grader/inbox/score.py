"""What does each submission earn? Two hundred of them, several at once, and none graded twice.

    submission --assemble--> the kernel's copy --nbval--> did it run to its end?   no points here
                     |
                     '-----> the judge's copy  --judge--> points, demand by demand
                                                  '--> results/ada.json, written aside and renamed

A result has a digest of the submission, its master, minidl's own code and the limits. While that is
the same, the result is used again: an interrupted run loses only the submissions in progress.
"""

import functools
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from tqdm import tqdm

import minidl
import minidl_grader
from minidl.learner.notes import worth_of
from minidl_grader.course.cells import (
    SOLUTIONS,
    Unfit,
    answers,
    digest,
    masters,
    read_master,
    with_role,
    write_aside,
)
from minidl_grader.course.release import TELLING
from minidl_grader.inbox.assemble import assemble, exercise_of
from minidl_grader.inbox.submission import Unreadable, submitted_cells
from minidl_grader.judge import in_kernel
from minidl_grader.judge.confine import Keepers, Limits, clean_environment

STATES = ("passed", "partly", "wrong", "not done", "error")


@dataclass
class Settings:
    """How to grade."""

    solutions: Path = SOLUTIONS
    exercise: str = ""  # number of the exercise that was asked for, "" to recognise it
    jobs: int = 0  # submissions at once; 0 for as many as there are cores
    kernel: Limits = field(default_factory=Limits)  # of the notebook's own run
    # Of the judge and its ranks.
    judge: Limits = field(default_factory=lambda: Limits(wall=300, cpu=600, processes=200))
    judged_by: tuple = ("judge",)  # the program that judges, and its arguments: see confine.py
    shown: bool = True  # run the notebook itself, too
    version: str = field(default_factory=lambda: package_digest())  # results of another are void


class Course:
    """The masters of a course. exercises: {name: its notebook}"""

    def __init__(self, folder=SOLUTIONS):
        self.exercises = {path.stem: read_master(path) for path in masters((), folder)}

    def named(self, number):
        """The name of the exercise that begins with a number. Raises Unfit if there is none."""
        for name in self.exercises:
            if name.startswith(number):
                return name
        raise Unfit(f"no exercise begins with {number}. They are: {', '.join(self.exercises)}")

    def tasks(self, name):
        """Every task of an exercise, not done yet."""
        master = self.exercises[name]
        points = {}
        for cell in master.cells:
            points.update(worth_of({**cell, "source": [cell.source]}))
        return [
            {
                "task": task,
                "title": task,
                "points": float(points.get(task, 0)),
                "earned": 0.0,
                "state": "not done",
                "demands": [],
                "message": "",
                "picture": "",
                "challenge": None,
            }
            for task in answers(master)
        ]


class Grading:
    """One call of `minidl grade`: its submissions, its keepers, and the folder of results."""

    def __init__(self, course, out, settings):
        self.course = course
        self.out = Path(out)
        self.settings = settings
        self.keepers = Keepers()

    def run(self, handed_in):
        """Grade all that has no result yet; returns all results, by key.

        A KeyboardInterrupt ends every program that runs.
        """
        results = {}
        with (
            self.keepers,
            ThreadPoolExecutor(self.settings.jobs or cores()) as pool,
            tqdm(total=len(handed_in), unit="submission", disable=not handed_in) as bar,
        ):
            try:
                pending = {pool.submit(self.result, one): one for one in handed_in}
                for done in as_completed(pending):
                    results[pending[done].key] = done.result()
                    bar.update()
            except BaseException:
                self.keepers.stop()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return dict(sorted(results.items()))

    def result(self, one):
        """The result of a submission: the stored one if it is still valid, else a new one."""
        data = b"" if one.problem else one.data()
        path = self.out / "results" / f"{one.key}.json"
        name, problem = self.exercise(data)
        settings = self.settings
        mark = digest(
            data,
            one.problem,
            name,
            nbformat.writes(self.course.exercises[name]) if name else "",
            settings.version,
            settings.kernel,
            settings.judge,
            settings.judged_by,
            settings.shown,
        )
        known = stored(path)
        if known is not None and known["digest"] == mark:
            return known | {"place": one.place}
        result = self.graded(data, name, one.problem or problem)
        result |= {"key": one.key, "place": one.place, "digest": mark}
        if result.pop("complete"):
            write_aside(path, json.dumps(result, indent=1))
        return result

    def exercise(self, data):
        """(the exercise to grade a submission as, why it cannot be graded), each "" if none."""
        problem = ""
        name = ""
        try:
            name = exercise_of(submitted_cells(data), self.course.exercises)
        except Unreadable as reason:
            problem = str(reason)
        if self.settings.exercise:
            name = self.course.named(self.settings.exercise)
        elif not name and len(self.course.exercises) == 1:
            [name] = self.course.exercises
        if not name and not problem:
            problem = "No exercise of this course was recognised in this notebook."
        return name, problem

    def graded(self, data, name, problem):
        """Grade a submission as the exercise `name`, unless there is a problem.

        `complete` is False if the grader failed or was interrupted: such a result is not stored.
        """
        result = {
            "exercise": name,
            "learner": "",
            "seed": 0,
            "isolation": [],
            "isolation_of_notebook": [],
            "notes": [],
            "problem": problem,
            "notebook": "",
            "tasks": self.course.tasks(name) if name else [],
            "checks": {},
            "seconds": {},
            "cpu_seconds": {},
            "complete": True,
        }
        if problem:
            return result
        made = assemble(data, self.course.exercises[name], name, self.course.exercises)
        if made.refusal:
            return result | {"problem": made.refusal}
        result |= {"learner": made.learner, "notes": made.notes}
        self.keepers.load(self.settings.judged_by[0])  # while the notebook runs
        folder = Path(tempfile.mkdtemp(prefix="minidl-grade-"))
        try:
            if self.settings.shown:
                result |= self.run_notebook(made, name, folder)
            return self.ask_judge(made, name, folder, result)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run_notebook(self, made, name, parent):
        """Run the kernel's copy in a folder of its own; returns what the result says of it."""
        folder = parent / "kernel"
        folder.mkdir()
        shown = in_kernel.run(made.shown, name, folder, self.keepers, self.settings.kernel)
        shutil.rmtree(folder, ignore_errors=True)
        return {
            "notebook": shown.words(),
            "checks": shown.checks,
            "isolation_of_notebook": shown.isolation,
            "seconds": {"notebook": shown.seconds},
            "cpu_seconds": {"notebook": shown.cpu},
        }

    def ask_judge(self, made, name, parent, result):
        """Let the judge run its copy in a folder of its own; returns the result with the points."""
        folder = parent / "judge"
        folder.mkdir()
        notebook = folder / f"{name}.ipynb"
        report = folder / "result.json"
        notebook.write_text(nbformat.writes(made.judged), encoding="utf-8")
        ended = self.keepers.run(
            [*self.settings.judged_by, notebook, "--result", report],
            folder,
            self.settings.judge,
            clean_environment(folder),
            remove=parent,
        )
        hidden = hidden_lines(self.course.exercises[name])
        result = without_lines(judged(result, report, ended), hidden)
        # Without a result and without a limit that was crossed, the judge itself has failed.
        failed = result["problem"] and not ended.why
        return result | {"complete": ended.why != "told to end" and not failed}


def judged(result, path, ended):
    """The result with what the judge has written to `path`.

    If it has written nothing usable, nothing is earned, and the result says why.
    """
    result["seconds"] = result["seconds"] | {"judge": ended.seconds}
    result["cpu_seconds"] = result["cpu_seconds"] | {"judge": ended.cpu}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        found = {task["task"]: task for task in report["tasks"]}
        tasks = [limited(found.get(task["task"], {}), task) for task in result["tasks"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        kind = type(error).__name__
        why = ended.words() or f"It ended with code {ended.code} and left no result ({kind})."
        return result | {
            "problem": f"The judge came to no result. {why}",
            "tasks": [task | {"state": "error"} for task in result["tasks"]],
            "log": ended.output[-4000:],
        }
    notes = list(result["notes"])
    notes += [note for note in report.get("notes", []) if note not in result["notes"]]
    return result | {
        "tasks": tasks,
        "seed": report.get("seed", 0),
        "isolation": list(report.get("isolation", [])),
        "notes": notes,
    }


def limited(found, task):
    """A task as the judge reports it, with no more than its points and no less than 0."""
    points = max(float(found.get("points", 0) or 0), task["points"])
    earned = min(max(float(found.get("earned", 0) or 0), 0.0), points)
    state = found.get("state")
    if state not in STATES:
        state = "error"
    return task | found | {"points": points, "earned": round(earned, 2), "state": state}


def hidden_lines(master):
    """The lines of hidden cells that are long enough to reveal something."""
    lines = set()
    for cell in with_role(master, "hidden"):
        lines.update(line.strip() for line in cell.source.splitlines())
    return [line for line in lines if len(line) >= TELLING]


def without_lines(value, lines):
    """The same texts with dots in place of these lines, which an error may have quoted."""
    if isinstance(value, str):
        for line in lines:
            value = value.replace(line, "...")
    elif isinstance(value, dict):
        value = {key: without_lines(part, lines) for key, part in value.items()}
    elif isinstance(value, list):
        value = [without_lines(part, lines) for part in value]
    return value


@functools.cache
def package_digest():
    """A fingerprint of the code of both packages: another version of them may count otherwise."""
    parts = []
    for package in (Path(minidl.__file__).parent, Path(minidl_grader.__file__).parent):
        for path in sorted(package.rglob("*.py")):
            parts += [path.relative_to(package.parent).as_posix(), path.read_bytes()]
    return digest(*parts)


def stored(path):
    """A result that was written before; None if there is none, or it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        usable = isinstance(found["digest"], str) and isinstance(found["tasks"], list)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if usable else None


def earned(result):
    """(points of a result, points that its exercise is worth)."""
    points = sum(task["earned"] for task in result["tasks"])
    return round(points, 2), sum(task["points"] for task in result["tasks"])


def cores():
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
