"""The museum: wrong answers, kept because they look right. Each says which demands it must lose, no
more and no fewer.

    MUTANTS = [Mutant("02-bruck", "whole tensors in every step", loses={"bytes"}, answer='''
    def bruck(chunk, comm):
        ...
    '''), ...]                                                     in tests/check/museum_02.py

A mutant takes the place of the solution in its answer cell; the setup, check and hidden cells
are those of the
exercise. All runs on virtual ranks, real processes included, so that the museum is fast.
"""

import contextlib
import io
import linecache
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from minidl.check import arena as arenas
from minidl.check.book import Book, open_book
from tests.deadlines import generous

SOLUTIONS = Path(__file__).resolve().parent.parent.parent / "solutions"
SETUP, CHECKS = ("setup", "name"), ("check", "hidden")


@dataclass(frozen=True)
class Mutant:
    """A wrong answer. loses: keys of the demands that it fails;"""

    task: str
    name: str
    answer: str
    loses: frozenset = field(default_factory=frozenset)

    def __post_init__(self):
        object.__setattr__(self, "loses", frozenset(self.loses))

    @property
    def values_alone(self):
        """Would a check of values alone have passed it?"""
        return "values" not in self.loses

    def __str__(self):
        return f"{self.task}: {self.name}"


class VirtualArena(arenas.LocalArena):
    """Real processes are virtual ranks here, and nothing is kept."""

    watched = False

    def real(self, fn, inputs, *, timeout=None):
        return self.run(fn, inputs, timeout=timeout or generous(20))

    def real_ranks(self):
        return 4

    def after_check(self, report):
        pass


def changed(answer, *pairs):
    """An answer with some of its lines replaced by others, before, after, before, after; each
    before must be there.
    """
    for before, after in zip(pairs[::2], pairs[1::2], strict=True):
        assert before in answer, before
        answer = answer.replace(before, after)
    return answer


def exercise(number):
    """The solutions notebook whose name begins with this number."""
    [path] = SOLUTIONS.glob(f"{number}_*.ipynb")
    return nbformat.read(path, as_version=4)


def role(cell):
    """(role, task) of a cell; ("", "") for text and free code."""
    given = cell.metadata.get("minidl", {})
    return given.get("role", ""), given.get("task", "")


def tasks(notebook):
    """The ids of all tasks, in order."""
    return list(
        dict.fromkeys(role(cell)[1] for cell in notebook.cells if role(cell)[0] == "answer")
    )


def judged(notebook, task, answer=None, learner="Ada"):
    """The reports of one task: of its solution, or of `answer` in its place. Earlier answers are
    the solutions'.
    """
    names = {"__name__": "__main__"}
    with (
        open_book(Book()) as book,
        arenas.use(VirtualArena()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        for number, cell in enumerate(notebook.cells):
            kind, of = role(cell)
            source = (
                f"learner = {learner!r}"
                if kind == "name"
                else answer
                if kind == "answer" and of == task and answer
                else cell.source
            )
            if kind in SETUP or (kind == "answer"):
                run(source, f"<cell {number} of {task}>", names)
            elif kind in CHECKS and of == task:
                run(source, f"<cell {number} of {task}>", names)
        return book.reports.get(task, [])


def run(source, file, names):
    """Execute a cell, with its lines where tracebacks and checks find them."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)


def lost(reports):
    """The keys of all demands that some report fails."""
    return frozenset(
        finding.demand.key
        for report in reports
        for finding in report.findings
        if not finding.passed
    )


def earned(reports):
    """The points of a task: those of its worst report, as a part of all."""
    return min(
        report.earned / report.points if report.points else float(report.passed)
        for report in reports
    )
