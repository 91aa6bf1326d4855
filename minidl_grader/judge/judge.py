"""What is a submission worth?

    judge ASSEMBLED.ipynb --result FILE        forked from a process that has loaded torch; see warm.py

    name     read as a literal                        setup    executed here, and on every caged rank
    answer   executed on caged ranks only;            check    executed here, with the answers' names standing for
             here its names are Remotes               hidden   what runs in the cage

The judge executes the master's code and nothing else. What the learner's code does, it does in cage/, from where it can
only ask. Points come from the reports that the checks write into the judge's own book.
"""

import argparse
import ast
import contextlib
import io
import json
import time
from pathlib import Path

from minidl.check import arena as arenas
from minidl.check.book import Book, open_book
from minidl.check.reports import NOT_DONE, PARTLY, PASSED, WRONG
from minidl.check.show import failure_picture
from minidl_grader.judge.cage.cage_launch import Cage
from minidl_grader.judge.cage.caged_arena import CagedArena, Limits, Remote

ERROR = "error"


def judge(notebook, cage=None, limits=Limits()):
    """The result of an assembled notebook, as plain values; see docs/grading.md. cage: a Cage that is used and closed.

    {"learner", "seed", "exercise", "isolation": [phrases], "seconds", "notes",
     "tasks": [{"task", "title", "points", "earned", "state", "demands": [...], "message", "picture", "challenge"}]}
    """
    began = time.monotonic()
    learner = ast.literal_eval(
        next(
            source_of(cell).split("=", 1)[1].strip()
            for cell in notebook["cells"]
            if role(cell) == "name"
        )
    )
    with (
        CagedArena(learner, caged_cells(notebook), limits, cage) as arena,
        arenas.use(arena),
        open_book(Book()) as book,
    ):
        refused = examine(notebook, learner, book)
        tasks = [
            task_result(task, book.reports.get(task, []), refused.get(task) or told(arena, cell))
            for task, cell in answers(notebook)
        ]
        return {
            "learner": learner,
            "seed": book.seed,
            "exercise": notebook["metadata"]["minidl"]["exercise"],
            "isolation": arena.isolation,
            "seconds": round(time.monotonic() - began, 2),
            "tasks": tasks,
            "notes": list(arena.notes),
        }


def role(cell):
    """The role of a cell; "" for text and free code."""
    return cell["metadata"].get("minidl", {}).get("role", "")


def source_of(cell):
    """The text of a cell, which may be stored in lines."""
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def answers(notebook):
    """(task, its answer cell) each."""
    return [
        (cell["metadata"]["minidl"]["task"], cell)
        for cell in notebook["cells"]
        if role(cell) == "answer"
    ]


def name_of(cell):
    """How errors call a cell: "answer cell of 02-bruck"."""
    return f"answer cell of {cell['metadata']['minidl']['task']}"


def caged_cells(notebook):
    """(name, source) of what every caged rank executes, in order."""
    return [
        (name_of(cell) if role(cell) == "answer" else f"setup cell {number}", source_of(cell))
        for number, cell in enumerate(notebook["cells"])
        if role(cell) in ("setup", "answer")
    ]


def examine(notebook, learner, book):
    """Execute the master's cells; {task: what went wrong in a check itself, in words}."""
    names, refused = {"__name__": "__main__", "learner": learner}, {}
    for number, cell in enumerate(notebook["cells"]):
        if role(cell) == "answer":
            names |= {name: Remote(name) for name in cell["metadata"]["minidl"]["defines"]}
        elif role(cell) in ("setup", "check", "hidden"):
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(source_of(cell), f"<{role(cell)} cell {number}>", "exec"), names)
            except Exception as error:
                if role(cell) == "setup":
                    raise
                refused[cell["metadata"]["minidl"]["task"]] = (
                    f"The check could not be carried out: {type(error).__name__}: {error}"
                )
    return refused


def told(arena, cell):
    """Why the answer cell could not be executed; "" if it could."""
    why = arena.errors.get(name_of(cell), "")
    if not why:
        return ""
    lost = "NameError" in why
    return f"Your cell could not be executed: {why}" + (
        "\nCells that you added do not count: put what your answer needs into its own cell."
        if lost
        else ""
    )


def task_result(task, reports, trouble):
    """A task as the scorer reads it: a demand is passed where every check passes it, points are those of the worst check."""
    if not reports:
        return result_of(task, 0, 0, ERROR if trouble else NOT_DONE, message=trouble)
    points = reports[0].points
    if all(report.state == NOT_DONE for report in reports):
        return result_of(task, points, 0, ERROR if trouble else NOT_DONE, message=trouble)
    share = min(
        report.earned / report.points if report.points else float(report.passed)
        for report in reports
    )
    share = 0.0 if trouble else share
    passed = all(report.passed for report in reports) and not trouble
    worst = next((report for report in reports if not report.passed), reports[0])
    state = PASSED if passed else ERROR if trouble else PARTLY if share and points else WRONG
    message = trouble or (
        str(worst.failing.strict.error or "") if worst.failing is not None else ""
    )
    race = next((report.race for report in reports if report.race is not None), None)
    drawn = failure_picture(worst)
    return result_of(
        task,
        points,
        round(points * share, 2),
        state,
        demands_of(reports, points),
        message,
        drawn.svg() if drawn else "",
        race and {"seconds": race.seconds, "lower bound": race.bound, race.rival_name: race.rival},
    )


def demands_of(reports, points):
    """A row for each demand: of the first check that fails it, else of the first check."""
    rows = {}
    for report in reports:
        for finding in report.findings:
            if finding.demand.key not in rows or (
                rows[finding.demand.key].passed and not finding.passed
            ):
                rows[finding.demand.key] = finding
    return [
        {
            "demand": key,
            "says": finding.demand.says(),
            "passed": finding.passed,
            "wanted": finding.sight.wanted if finding.sight else "",
            "counted": finding.sight.counted if finding.sight else "",
            "where": str(finding.case or ""),
            "points": round(points * (1 - finding.demand.leaves), 2),
            "earned": round(points * (1 - finding.demand.leaves) * finding.passed, 2),
        }
        for key, finding in rows.items()
    ]


def result_of(task, points, earned, state, demands=(), message="", picture="", challenge=None):
    """One task of the result."""
    return {
        "task": task,
        "title": task,
        "points": points,
        "earned": earned,
        "state": state,
        "demands": list(demands),
        "message": message,
        "picture": picture,
        "challenge": challenge,
    }


def main(arguments=None):
    """Judge the notebook and write the result. The cage is made first: its keeper is a copy of a process that knows nothing yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args(arguments)
    cage = Cage(fork=True)
    result = judge(json.loads(options.notebook.read_text(encoding="utf-8")), cage)
    aside = options.result.with_suffix(".part")
    aside.write_text(json.dumps(result, indent=1), encoding="utf-8")
    aside.replace(options.result)


if __name__ == "__main__":
    main()
