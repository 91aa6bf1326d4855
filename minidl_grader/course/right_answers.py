"""What does the right answer send? Recorded, so that learners see it beside their own run.

    solutions/02.ipynb  --recorded_references-->  exercises/.references/02.json

The format stands in check/references.py. A task may depend on what is drawn for a student. To find
out on which draws it depends, each is varied alone; those that change what is sent are kept.
"""

import contextlib
import io
import itertools
import linecache

from minidl.check.arena import LocalArena
from minidl.check.book import Book, Student, open_book
from minidl.check.cases import STEPS
from minidl.check.contract import Check
from minidl.check.references import variant_key

LARGEST = 8  # ranks of a recorded case
EXECUTED = ("name", "setup", "answer", "check")  # roles of the cells that are executed


class ChosenStudent(Student):
    """A student with given draws: `chosen`, else the first option. Notes all options."""

    def __init__(self, name, chosen, options):
        super().__init__(name)
        self.chosen = chosen
        self.options = options

    def choose(self, what, options):
        self.options[what] = list(options)
        return self.chosen.get(what, self.options[what][0])


class RecordedCheck(Check):
    """A check without demands: runs the right answer on each world size, keeps the messages."""

    def __init__(self, fn, task, traces):
        super().__init__(fn, task)
        self.traces = traces

    def worth(self, points):
        """Record the task's runs under its name."""
        sizes = [N for N in self.world_sizes if 2 <= N <= LARGEST]
        for case in self.cases(sizes, self.lengths[:1]):
            outcome = LocalArena().run(self.fn, case.fresh(), network=STEPS)
            runs = self.traces.setdefault(self.task, {})
            runs[f"{case.N},{case.n}"] = rows_of(outcome.trace)


def recorded_references(notebook):
    """The references of a solutions notebook, as plain values."""
    first, options = traces_of(notebook, {})
    known = {}  # the draws that are not the first option, in words -> traces

    def traces_with(chosen):
        others = {what: value for what, value in chosen.items() if value != options[what][0]}
        if not others:
            return first
        words = repr(sorted(others.items()))
        if words not in known:
            known[words], _ = traces_of(notebook, others)
        return known[words]

    by = {task: [] for task in first}
    for what in options:
        for other in options[what][1:]:
            traces = traces_with({what: other})
            for task in first:
                # Another draw, other messages: the task depends on it.
                if traces[task] != first[task] and what not in by[task]:
                    by[task].append(what)
    tasks = {}
    for task, draws in by.items():
        runs = {}
        # One run for each variant that a student can have of this task.
        for values in itertools.product(*(options[what] for what in draws)):
            runs[variant_key(values)] = traces_with(dict(zip(draws, values)))[task]
        tasks[task] = {"by": draws, "traces": runs}
    return {"draws": options, "tasks": tasks}


def traces_of(notebook, chosen):
    """({task: {size: rows}}, {draw: options}) of the solutions, for one choice of draws."""
    traces = {}
    options = {}
    names = {"__name__": "__main__"}
    book = Book(new_student=lambda name: ChosenStudent(name, chosen, options))
    with open_book(book), contextlib.redirect_stdout(io.StringIO()):
        for number, cell in enumerate(notebook.cells):
            role = cell.metadata.get("minidl", {}).get("role")
            if role not in EXECUTED:
                continue
            if role == "check":
                names["check"] = lambda fn, task: RecordedCheck(fn, task, traces)
            # Checks read the source of an answer where tracebacks do, in linecache.
            file = f"<right answer {number}>"
            lines = cell.source.splitlines(keepends=True)
            linecache.cache[file] = (len(cell.source), None, lines, file)
            exec(compile(cell.source, file, "exec"), names)
    return traces, options


def rows_of(trace):
    """A row for each message: [rank, peer, number, nbytes, posted, done]."""
    rows = []
    for send, recv in trace.messages():
        done = recv.done if recv else None
        rows.append([send.rank, send.peer, send.number, send.nbytes, send.posted, done])
    return rows
