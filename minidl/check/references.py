"""What does a right answer send? Recorded when an exercise is released, without the answer's code.

    solutions/02.ipynb --record--> {"draws": {"02 offset": [1, 2, 3]}, "tasks": {task: {"by": [...], "traces": {"offset": {"4,12": rows}}}}}
    a failed check     --find----> the Trace of the right answer, for this student's variant and this size

A task may depend on what is drawn for a student. Which draws it depends on is found by trying: each draw is
varied alone, and those that change what is sent are kept.
"""

import contextlib
import io
import itertools
import json
import linecache

from minidl.check import arena as arenas
from minidl.check import book as books
from minidl.check.cases import STEPS, cases_of
from minidl.check.contract import Check
from minidl.learner import notes as progress
from minidl.trace import Event, Trace

LARGEST = 8  # ranks of a recorded case
ROW = ("rank", "peer", "number", "nbytes", "posted", "done")


class Choosing(books.Student):
    """A student whose draws are told: `chosen` where it names them, else the first option. Notes all options."""

    chosen, offered = {}, {}

    def choose(self, what, options):
        options = list(options)
        type(self).offered[what] = options
        return type(self).chosen.get(what, options[0])


class Recorder(Check):
    """A check that looks at nothing: it runs the right answer once for each world size, and keeps what was sent."""

    traces = {}

    def worth(self, points):
        """Record the task's runs under its name."""
        sizes = [N for N in self.world_sizes if 2 <= N <= LARGEST]
        draws = lambda *words: books.book().draws(self.task, *words)
        for case in cases_of(sizes, [self.lengths[0]], self.give, draws):
            outcome = arenas.LocalArena().run(
                self.fn, case.fresh(), network=STEPS, arguments=self.arguments
            )
            self.traces.setdefault(self.task, {})[f"{case.N},{case.n}"] = rows_of(outcome.trace)


def record(notebook):
    """The references of a solutions notebook, as plain values."""
    first, offered = run(notebook, {})
    by = {task: [] for task in first}
    for what, options in offered.items():
        for other in options[1:]:
            for task, traces in run(notebook, {what: other})[0].items():
                if traces != first[task] and what not in by[task]:
                    by[task].append(what)
    tasks = {}
    for task, draws in by.items():
        runs = {}
        for values in itertools.product(*(offered[what] for what in draws)):
            runs[key(values)] = (
                run(notebook, dict(zip(draws, values)))[0][task] if values else first[task]
            )
        tasks[task] = {"by": draws, "traces": runs}
    return {"draws": offered, "tasks": tasks}


def run(notebook, chosen):
    """({task: {size: rows}}, {draw: options}) of the solutions, for one choice of draws."""
    names = {"__name__": "__main__"}
    Choosing.chosen, Choosing.offered, Recorder.traces = chosen, {}, {}
    before = books.Student
    books.Student = Choosing
    try:
        with books.opened(books.Book()), contextlib.redirect_stdout(io.StringIO()):
            for number, cell in enumerate(notebook.cells):
                given = cell.metadata.get("minidl", {})
                if given.get("role") in ("name", "setup", "answer", "check"):
                    if given["role"] == "check":
                        names["check"] = Recorder
                    execute(cell.source, f"<right answer {number}>", names)
    finally:
        books.Student = before
    return dict(Recorder.traces), dict(Choosing.offered)


def execute(source, file, names):
    """Run a cell, with its lines where checks look for them."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)


def rows_of(trace):
    """A row for each message."""
    return [
        [
            m.send.rank,
            m.send.peer,
            m.send.number,
            m.send.nbytes,
            m.send.posted,
            m.recv.done if m.recv else None,
        ]
        for m in trace.messages()
    ]


def key(values):
    """The draws of a variant as a key of JSON."""
    return json.dumps(list(values))


def kept(task):
    """What was recorded of the exercises that may have this task."""
    for path in sorted((progress.COURSE / ".references").glob(f"{task.split('-')[0]}_*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def hints(task):
    """The hints of a task; none where none were recorded."""
    return tuple(
        hint for recorded in kept(task) for hint in recorded.get("hints", {}).get(task, ())
    )


def find(task, student, N):
    """The Trace of a right answer to `task` on N ranks for this student; None if none was recorded."""
    for recorded in kept(task):
        entry = recorded["tasks"].get(task)
        if entry is None:
            continue
        values = [student.choose(what, recorded["draws"][what]) for what in entry["by"]]
        for size, rows in entry["traces"].get(key(values), {}).items():
            if size.split(",")[0] == str(N):
                return trace_of(N, rows)
    return None


def trace_of(N, rows):
    """A Trace with these messages."""
    events = []
    for i, (rank, peer, number, nbytes, posted, done) in enumerate(rows):
        common = (
            0,
            2 * i,
            "world",
            number,
            (),
            "",
            nbytes,
            posted,
            posted,
            done,
            "",
            "",
            "delivered",
        )
        for place, kind, a, b in ((0, "send", rank, peer), (1, "recv", peer, rank)):
            thread, seq, comm, *rest = common
            events.append(Event(a, thread, seq + place, kind, comm, b, *rest))
    return Trace(N, events)
