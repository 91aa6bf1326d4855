"""What is a submission worth?

    judge ASSEMBLED.ipynb --result FILE    forked from a process that has loaded torch: warm.py

    name            read as a literal
    setup           executed here, and on every caged rank
    answer          executed on caged ranks only; here its names are Remotes
    check, hidden   executed here; the answers' names stand for what runs in the cage

The judge executes the master's code and nothing else. The learner's code runs in cage/, from where
it can only ask. Points come from the reports that the checks write into the judge's own book.
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
from minidl_grader.judge.cage.caged_arena import CagedArena, CaseLimits, Remote

ERROR = "error"


def judge(notebook, cage=None, limits=None):
    """The result of an assembled notebook, as plain values; see docs/grading.md.

    cage  a Cage, which is used and closed; None for a new one

    {"learner", "seed", "exercise", "isolation": [phrases], "seconds", "notes",
     "tasks": [{"task", "title", "points", "earned", "state", "demands": [...], "message",
                "picture", "challenge"}]}
    """
    began = time.monotonic()
    [name_cell, *_] = [cell for cell in notebook["cells"] if _role(cell) == "name"]
    learner = ast.literal_eval(source_of(name_cell).split("=", 1)[1].strip())
    with (
        CagedArena(learner, caged_cells(notebook), limits or CaseLimits(), cage) as arena,
        arenas.use(arena),
        open_book(Book()) as book,
    ):
        refused = examine(notebook, learner)
        tasks = []
        for cell in notebook["cells"]:
            if _role(cell) == "answer":
                task = cell["metadata"]["minidl"]["task"]
                trouble = refused.get(task) or not_executed(arena, cell)
                tasks.append(task_result(task, book.reports.get(task, []), trouble))
        return {
            "learner": learner,
            "seed": book.seed,
            "exercise": notebook["metadata"]["minidl"]["exercise"],
            "isolation": arena.isolation,
            "seconds": round(time.monotonic() - began, 2),
            "tasks": tasks,
            "notes": list(arena.notes),
        }


def _role(cell):
    """The role of a cell; "" for text and free code."""
    return cell["metadata"].get("minidl", {}).get("role", "")


def source_of(cell):
    """The text of a cell, which may be stored in lines."""
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def name_of(cell):
    """How errors call a cell: "answer cell of 02-bruck"."""
    return f"answer cell of {cell['metadata']['minidl']['task']}"


def caged_cells(notebook):
    """(name, source) of what every caged rank executes, in order."""
    cells = []
    for number, cell in enumerate(notebook["cells"]):
        if _role(cell) == "answer":
            cells.append((name_of(cell), source_of(cell)))
        elif _role(cell) == "setup":
            cells.append((f"setup cell {number}", source_of(cell)))
    return cells


def examine(notebook, learner):
    """Execute the master's cells; returns {task: what went wrong in a check itself, in words}.

    An answer's cell is not executed here: its names are Remotes, which run in the cage.
    """
    names = {"__name__": "__main__", "learner": learner}
    refused = {}
    for number, cell in enumerate(notebook["cells"]):
        kind = _role(cell)
        if kind == "answer":
            defines = cell["metadata"]["minidl"]["defines"]
            names |= {name: Remote(name) for name in defines}
        elif kind in ("setup", "check", "hidden"):
            try:
                code = compile(source_of(cell), f"<{kind} cell {number}>", "exec")
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(code, names)
            except Exception as error:
                if kind == "setup":
                    raise
                why = f"The check could not be carried out: {type(error).__name__}: {error}"
                refused[cell["metadata"]["minidl"]["task"]] = why
    return refused


def not_executed(arena, cell):
    """Why the answer cell could not be executed; "" if it could."""
    why = arena.errors.get(name_of(cell), "")
    if not why:
        return ""
    told = f"Your cell could not be executed: {why}"
    if "NameError" in why:
        told += "\nCells that you added do not count: put what your answer needs into its own cell."
    return told


def task_result(task, reports, trouble):
    """A task as the scorer reads it.

    A demand is passed if every check passes it; points are those of the worst check. trouble: why
    the answer could not be checked, or "".
    """
    result = {
        "task": task,
        "title": task,
        "points": reports[0].points if reports else 0,
        "earned": 0,
        "state": ERROR if trouble else NOT_DONE,
        "demands": [],
        "message": trouble,
        "picture": "",
        "challenge": None,
    }
    if all(report.state == NOT_DONE for report in reports):
        return result
    failed = [report for report in reports if not report.passed]
    worst = failed[0] if failed else reports[0]
    if not trouble:
        share = min(_share(report) for report in reports)
        result["earned"] = round(result["points"] * share, 2)
        partly = PARTLY if share and result["points"] else WRONG
        result["state"] = partly if failed else PASSED
    if worst.failing is not None:
        result["message"] = trouble or str(worst.failing.strict.error or "")
        drawn = failure_picture(worst)
        result["picture"] = drawn.svg() if drawn else ""
    result["demands"] = demands_of(reports, result["points"])
    race = next((report.race for report in reports if report.race is not None), None)
    if race is not None:
        rival = {race.rival_name: race.rival}
        result["challenge"] = {"seconds": race.seconds, "lower bound": race.bound} | rival
    return result


def _share(report):
    """The part of its points that a report earns."""
    return report.earned / report.points if report.points else float(report.passed)


def demands_of(reports, points):
    """A row for each demand: of the first check that fails it, else of the first check."""
    findings = {}
    for report in reports:
        for finding in report.findings:
            known = findings.setdefault(finding.demand.key, finding)
            if known.passed and not finding.passed:
                findings[finding.demand.key] = finding
    rows = []
    for key, finding in findings.items():
        worth = points * (1 - finding.demand.leaves)
        rows.append(
            {
                "demand": key,
                "says": finding.demand.says(),
                "passed": finding.passed,
                "wanted": finding.sight.wanted if finding.sight else "",
                "counted": finding.sight.counted if finding.sight else "",
                "where": str(finding.case or ""),
                "points": round(worth, 2),
                "earned": round(worth * finding.passed, 2),
            }
        )
    return rows


def main(arguments=None):
    """Judge the notebook and write the result.

    The cage comes first: its keeper and ranks are copies of this process, which has not read
    anything yet.
    """
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
