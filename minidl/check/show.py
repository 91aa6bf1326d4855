"""A Report as a learner sees it below the check: what is right, what is not, where, and what helps.

yes  every rank returns the right values
no   each rank sends 4 * n * (N - 1) // N bytes     wanted 168, found 336 (2 ranks, 84 elements)
picture: yours above, a right answer below, the message to blame marked
read again: notebook 02, round 2        hint > another hint > a last hint       (folded)
"""

import re
from html import escape

from minidl.check.book import current_book
from minidl.check.references import recorded_hints, reference_trace
from minidl.check.values import in_few_words
from minidl.learner.notes import noted
from minidl.viz.drawing.palette import ALARM, RANKS
from minidl.viz.pictures.beside import beside
from minidl.viz.pictures.race import race

YES = f"<b style='color:{RANKS[2]}'>&#10003; yes</b>"
NO = f"<b style='color:{ALARM}'>&#10007; no</b>"
CELL = "style='text-align:left;vertical-align:top;padding:2px 10px 2px 0;white-space:{}'"
HINT_NAMES = {1: "The last hint", 2: "Another hint", 3: "A hint"}  # by how many are left


def report_html(report):
    """The Report as HTML: no script, no style sheet, no request to the outside."""
    parts = [f"<b>{escape(report.task)}</b>: {report.result}"]
    if not report.not_done:
        parts.append(_table(report))
        if report.race:
            parts.append(_race_picture(report).svg())
        if not report.passed:
            parts.append(_what_helps(report))
    return "".join(parts)


def failure_picture(report):
    """The Picture of the smallest failing run beside a right answer; None if nothing was sent."""
    trial = report.failing
    if trial is None:
        return None
    trace = trial.strict.trace
    reference = reference_trace(report.task, current_book().student, trial.case.N)
    if not trace.messages() and reference is None:
        return None
    # The message to blame may be one of another run, which is not drawn.
    drawn = trial.outcome is trial.strict
    guilty = report.first_failed.sight.guilty if drawn else None
    return beside(trace, reference, guilty, steps=True)


def _table(report):
    """A row for each demand: yes or no, the demand, wanted and found."""
    narrow = CELL.format("nowrap")
    wide = CELL.format("normal")
    rows = ""
    for passed, *words in report.lines():
        rows += f"<tr><td {narrow}>{YES if passed else NO}</td>"
        rows += "".join(f"<td {wide}>{escape(text)}</td>" for text in words) + "</tr>"
    return f"<table>{rows}</table>"


def _race_picture(report):
    """The Picture of a challenge: this run, the bound, the rival, the learner's best so far."""
    run = report.race
    best = noted()["races"].get(report.task, ())
    return race(run.seconds, run.bound, run.rival_name, run.rival, best)


def _what_helps(report):
    """The smallest failing case, its error, the picture, the round to read again, the hints."""
    parts = []
    trial = report.failing
    if trial is not None:
        inputs = _inputs_in_words(trial.case)
        parts.append(f"<p>The smallest case that fails: {trial.case}. {inputs}</p>")
        if trial.strict.error is not None:
            error = escape(str(trial.strict.error))
            parts.append(f"<pre style='white-space:pre-wrap'>{error}</pre>")
        picture = failure_picture(report)
        if picture is not None:
            parts.append(picture.svg())
    if report.round:
        parts.append(f"<p>Read again: {escape(report.round)}.</p>")
    # In an exercise the hints do not stand in the check, where all would be read at once.
    hints = report.hints or recorded_hints(report.task)
    return "".join(parts) + _folded(hints)


def _inputs_in_words(case):
    """The inputs of a small case; "" for a large one."""
    if case.N > 4 or case.n > 6:
        return ""
    inputs = []
    for rank, arguments in enumerate(case.inputs):
        inputs.append(f"rank {rank} {', '.join(map(in_few_words, arguments))}")
    return escape(f"Given: {'; '.join(inputs)}.")


def _folded(hints):
    """Hints, each folded inside the one before."""
    if not hints:
        return ""
    name = HINT_NAMES.get(len(hints), "A hint")
    # `code` in a hint becomes code in HTML.
    words = re.sub("`([^`]+)`", r"<code>\1</code>", escape(hints[0]))
    return f"<details><summary>{name}</summary><p>{words}</p>{_folded(hints[1:])}</details>"
