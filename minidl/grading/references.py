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

from minidl.grading import arena as arenas
from minidl.grading import book as books
from minidl.grading import progress
from minidl.trace import Event, Trace

LARGEST = 8                             # ranks of a recorded case
ROW = ("rank", "peer", "number", "nbytes", "posted", "done")


class Choosing(books.Student):
    """A student whose draws are told: `chosen` where it names them, else the first option. Notes all options."""

    chosen, offered = {}, {}

    def choose(self, what, options):
        options = list(options)
        type(self).offered[what] = options
        return type(self).chosen.get(what, options[0])


class Recording(arenas.LocalArena):
    """An arena that keeps the record of every strict run, by (N, n)."""

    watched = False

    def __init__(self):
        self.traces = {}

    def run(self, fn, inputs, **how):
        outcome = super().run(fn, inputs, **how)
        first = next((arg for arg in inputs[0] if hasattr(arg, "numel")), None)
        self.traces.setdefault((len(inputs), first.numel() if first is not None else 0), outcome.trace)
        return outcome

    def real(self, fn, inputs, *, timeout=20, arguments=None):
        return self.run(fn, inputs, timeout=timeout, arguments=arguments)

    def real_ranks(self):
        return 4

    def told(self, report):
        """Nothing is kept."""


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
        kept = {}
        for values in itertools.product(*(offered[what] for what in draws)):
            kept[key(values)] = run(notebook, dict(zip(draws, values)))[0][task] if values else first[task]
        tasks[task] = {"by": draws, "traces": kept}
    return {"draws": offered, "tasks": tasks}


def run(notebook, chosen):
    """({task: {size: rows}}, {draw: options}) of the solutions, for one choice of draws."""
    names, found = {"__name__": "__main__"}, {}
    Choosing.chosen, Choosing.offered = chosen, {}
    before = books.Student
    books.Student = Choosing
    try:
        with books.opened(books.Book()), contextlib.redirect_stdout(io.StringIO()):
            for number, cell in enumerate(notebook.cells):
                given = cell.metadata.get("minidl", {})
                if given.get("role") in ("name", "setup", "answer"):
                    execute(cell.source, f"<right answer {number}>", names)
                elif given.get("role") == "check":
                    with arenas.use(Recording()) as arena:
                        execute(cell.source, f"<check {number}>", names)
                    found.setdefault(given["task"], {}).update(rows_of(arena.traces))
    finally:
        books.Student = before
    return found, dict(Choosing.offered)


def execute(source, file, names):
    """Run a cell, with its lines where checks look for them."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)


def rows_of(traces):
    """{"N,n": a row for each message}, for the smallest length of each size."""
    found = {}
    for N, n in sorted(traces):
        if 2 <= N <= LARGEST and not any(size.split(",")[0] == str(N) for size in found):
            found[f"{N},{n}"] = [[m.send.rank, m.send.peer, m.send.number, m.send.nbytes, m.send.posted, m.recv.done if m.recv else None]
                                 for m in traces[N, n].messages()]
    return found


def key(values):
    """The draws of a variant as a key of JSON."""
    return json.dumps(list(values))


def find(task, student, N):
    """The Trace of a right answer to `task` on N ranks for this student; None if none was recorded."""
    for path in sorted((progress.COURSE / ".references").glob(f"{task.split('-')[0]}_*.json")):
        recorded = json.loads(path.read_text(encoding="utf-8"))
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
        common = (0, 2 * i, "world", number, (), "", nbytes, posted, posted, done, "", "", "delivered")
        for place, kind, a, b in ((0, "send", rank, peer), (1, "recv", peer, rank)):
            thread, seq, comm, *rest = common
            events.append(Event(a, thread, seq + place, kind, comm, b, *rest))
    return Trace(N, events)
