"""What does each submission earn?  Two hundred of them, several at once, and never one twice.

    submission --assemble--> the kernel's copy --nbval--> ran to its end?       no points come from here
                     |
                     '-----> the judge's copy  --judge--> points, demand by demand
                                                  '--> results/ada.json, written aside and renamed

A result carries a digest of the submission, its master, minidl's own code and the limits. While that is the same, the result
stands: an interrupted run loses only what was under way.
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
from minidl.learner.notes import points_of
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
from minidl_grader.inbox.submission import Unreadable, read
from minidl_grader.judge import in_kernel
from minidl_grader.judge.confine import Keepers, Limits, clean_environment

STATES = ("passed", "partly", "wrong", "not done", "error")


@dataclass
class Settings:
    """How to grade.

    exercise  number of the exercise that was asked for, "" to recognise it
    kernel    limits of the notebook's own run;  judge: limits of the judge and its ranks
    judged_by the command that judges;  shown: run the notebook itself, too
    version   of minidl: results of another one do not stand
    """

    solutions: Path = SOLUTIONS
    exercise: str = ""
    jobs: int = 0
    kernel: Limits = field(default_factory=Limits)
    judge: Limits = field(default_factory=lambda: Limits(wall=300, cpu=600, processes=200))
    judged_by: tuple = ("judge",)
    shown: bool = True
    version: str = field(default_factory=lambda: package_digest())


class Course:
    """The masters of a course. exercises: {name: its notebook}"""

    def __init__(self, folder=SOLUTIONS):
        self.exercises = {path.stem: read_master(path) for path in masters((), folder)}

    def named(self, number):
        """The exercise that begins with a number. Raises Unfit if there is none."""
        for name in self.exercises:
            if name.startswith(number):
                return name
        raise Unfit(f"no exercise begins with {number}. They are: {', '.join(self.exercises)}")

    def tasks(self, name):
        """Every task of an exercise, as nobody has done it yet."""
        worth = dict(
            pair
            for cell in self.exercises[name].cells
            for pair in points_of({**cell, "source": [cell.source]})
        )
        return [
            {
                "task": task,
                "title": task,
                "points": float(worth.get(task, 0)),
                "earned": 0.0,
                "state": "not done",
                "demands": [],
                "message": "",
                "picture": "",
                "challenge": None,
            }
            for task in answers(self.exercises[name])
        ]


class Grading:
    """One call of `minidl grade`: its submissions, its keepers, and the folder of results."""

    def __init__(self, course, out, settings):
        self.course, self.out, self.settings = course, Path(out), settings
        self.keepers = Keepers()

    def run(self, handed_in):
        """Grade everybody who has no result yet; returns all results, by key. A KeyboardInterrupt ends all that runs."""
        jobs = self.settings.jobs or cores()
        results, waiting = {}, {}
        with (
            self.keepers,
            ThreadPoolExecutor(jobs) as pool,
            tqdm(total=len(handed_in), unit="submission", disable=not handed_in) as bar,
        ):
            try:
                waiting = {pool.submit(self.result, one): one for one in handed_in}
                for done in as_completed(waiting):
                    results[waiting[done].key] = done.result()
                    bar.update()
            except BaseException:
                self.keepers.stop()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return {key: results[key] for key in sorted(results)}

    def result(self, one):
        """The result of a submission: the stored one if it still holds, else a new one, which is stored."""
        data, path = b"" if one.problem else one.data(), self.out / "results" / f"{one.key}.json"
        name = self.exercise(data)
        mark = digest(
            data,
            one.problem,
            name,
            nbformat.writes(self.course.exercises[name]) if name else "",
            self.settings.version,
            self.settings.kernel,
            self.settings.judge,
            self.settings.judged_by,
            self.settings.shown,
        )
        known = stored(path)
        if known is not None and known["digest"] == mark:
            return known | {"place": one.place}
        result = self.graded(one, data, name) | {"key": one.key, "place": one.place, "digest": mark}
        if result.pop("complete"):
            write_aside(path, json.dumps(result, indent=1))
        return result

    def exercise(self, data):
        """The name of the exercise that a submission is graded as; "" if that cannot be told."""
        if self.settings.exercise:
            return self.course.named(self.settings.exercise)
        try:
            found = exercise_of(read(data), self.course.exercises)
        except Unreadable:
            found = ""
        return found or (
            next(iter(self.course.exercises)) if len(self.course.exercises) == 1 else ""
        )

    def graded(self, one, data, name):
        """Grade a submission. `complete` is False where the grader itself, or its user, was in the way."""
        empty = {
            "exercise": name,
            "learner": "",
            "seed": 0,
            "isolation": [],
            "isolation_of_notebook": [],
            "notes": [],
            "problem": "",
            "notebook": "",
            "tasks": self.course.tasks(name) if name else [],
            "checks": {},
            "seconds": {},
            "complete": True,
        }
        if one.problem:
            return empty | {"problem": one.problem}
        try:
            if not name and read(data):
                return empty | {
                    "problem": "No exercise of this course was recognised in this notebook."
                }
            made = assemble(
                data, self.course.exercises[name] if name else None, name, self.course.exercises
            )
        except Unreadable as reason:
            return empty | {"problem": str(reason)}
        if made.refusal:
            return empty | {"problem": made.refusal}
        self.keepers.load(self.settings.judged_by[0])  # while the notebook runs
        folder = Path(tempfile.mkdtemp(prefix="minidl-grade-"))
        try:
            return self.executed(
                made, name, folder, empty | {"learner": made.learner, "notes": made.notes}
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def executed(self, made, name, folder, result):
        """Run both copies, each in a folder of its own."""
        if self.settings.shown:
            (folder / "kernel").mkdir()
            shown = in_kernel.run(
                made.shown, name, folder / "kernel", self.keepers, self.settings.kernel
            )
            result = result | {
                "notebook": shown.words(),
                "checks": shown.checks,
                "isolation_of_notebook": shown.isolation,
                "seconds": {"notebook": shown.seconds},
            }
            shutil.rmtree(folder / "kernel", ignore_errors=True)
        (folder / "judge").mkdir()
        given, told = folder / "judge" / f"{name}.ipynb", folder / "judge" / "result.json"
        given.write_text(nbformat.writes(made.judged), encoding="utf-8")
        ended = self.keepers.run(
            [*self.settings.judged_by, given, "--result", told],
            folder / "judge",
            self.settings.judge,
            clean_environment(folder / "judge"),
            remove=folder,
        )
        result = unhidden(judged(result, told, ended), secrets(self.course.exercises[name]))
        return result | {
            "complete": ended.why != "told to end" and not (result["problem"] and not ended.why)
        }


def judged(result, path, ended):
    """The result with what the judge has written down; without that, nothing is earned and the result says why."""
    result["seconds"] = result["seconds"] | {"judge": ended.seconds}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        found = {task["task"]: task for task in told["tasks"]}
        tasks = [within(found.get(task["task"], {}), task) for task in result["tasks"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = (
            ended.words()
            or f"It ended with code {ended.code} and left no result ({type(error).__name__})."
        )
        return result | {
            "problem": f"The judge came to no result. {why}",
            "tasks": [task | {"state": "error"} for task in result["tasks"]],
            "log": ended.output[-4000:],
        }
    return result | {
        "tasks": tasks,
        "seed": told.get("seed", 0),
        "isolation": list(told.get("isolation", [])),
        "notes": result["notes"]
        + [note for note in told.get("notes", []) if note not in result["notes"]],
    }


def within(found, task):
    """A task as the judge saw it; never more than its points, and no less than nothing."""
    points = max(float(found.get("points", 0) or 0), task["points"])
    earned = min(max(float(found.get("earned", 0) or 0), 0.0), points)
    state = found.get("state", "error")
    return (
        task
        | found
        | {
            "points": points,
            "earned": round(earned, 2),
            "state": state if state in STATES else "error",
        }
    )


def secrets(master):
    """The lines of hidden cells that say something."""
    lines = {
        line.strip() for cell in with_role(master, "hidden") for line in cell.source.splitlines()
    }
    return [line for line in lines if len(line) >= TELLING]


def unhidden(value, lines):
    """The same texts, with dots in place of lines of hidden cells, which an error may have quoted."""
    if isinstance(value, str):
        for line in lines:
            value = value.replace(line, "...")
        return value
    if isinstance(value, dict):
        return {key: unhidden(part, lines) for key, part in value.items()}
    return [unhidden(part, lines) for part in value] if isinstance(value, list) else value


@functools.cache
def package_digest():
    """A fingerprint of the code of both packages: another version may count differently."""
    parts = []
    for package in (minidl, minidl_grader):
        folder = Path(package.__file__).parent
        for path in sorted(folder.rglob("*.py")):
            parts += [path.relative_to(folder).as_posix(), path.read_bytes()]
    return digest(*parts)


def stored(path):
    """A result that was written before; None where there is none, or one that cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return (
            found if isinstance(found["digest"], str) and isinstance(found["tasks"], list) else None
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def earned(result):
    """Points of a result, and points to be had."""
    return round(sum(task["earned"] for task in result["tasks"]), 2), sum(
        task["points"] for task in result["tasks"]
    )


def cores():
    """How many submissions fit beside each other on this machine."""
    return max(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 1
    )
