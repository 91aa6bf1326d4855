"""A Report as a learner sees it, below the check: what is right, what is not, where, and what helps.

yes  every rank returns the right values
no   each rank sends 4 * n * (N - 1) // N bytes       wanted 168, found 336 (2 ranks, 84 elements)
picture: yours above, a right answer below, the message to blame marked
read again: notebook 02, round 2        hint > another hint > a last hint       (folded)
"""

import re
from html import escape

from minidl.check import references
from minidl.check.book import book
from minidl.check.report import NOT_DONE
from minidl.check.values import spelled
from minidl.learner.notes import noted
from minidl.viz.drawing.palette import ALARM, RANKS
from minidl.viz.pictures.beside import beside
from minidl.viz.pictures.race import race

COLORS = {True: RANKS[2], False: ALARM}
CELL = "style='text-align:left;vertical-align:top;padding:2px 10px 2px 0;white-space:{}'"


def html(report):
    """The Report as HTML: no script, no style sheet, nothing from outside."""
    if report.state == NOT_DONE:
        return f"<b>{escape(report.task)}</b>: not done yet ({report.points:g} points)"
    points = f"{report.earned:g} of {report.points:g} points" if report.points else report.state
    rows = "".join(
        f"<tr><td {CELL.format('nowrap')}><b style='color:{COLORS[passed]}'>{'&#10003; yes' if passed else '&#10007; no'}</b></td>"
        f"<td {CELL.format('normal')}>{escape(says)}</td><td {CELL.format('normal')}>{escape(words)}</td></tr>"
        for passed, says, words in report.lines()
    )
    parts = [f"<b>{escape(report.task)}: {points}</b><table>{rows}</table>"]
    parts += [board(report).svg()] if report.race else []
    return "".join(parts + ([] if report.passed else [failure(report)]))


def board(report):
    """The Picture of a challenge: this run, the bound, the paper's algorithm, and the learner's best before."""
    run = report.race
    return race(
        run.seconds, run.bound, run.rival_name, run.rival, noted()["races"].get(report.task, ())
    )


def failure(report):
    """What helps: the smallest failing case, its error, the picture, the round to read again, the hints."""
    parts, trial = [], report.failing
    if trial is not None:
        parts.append(
            f"<p>The smallest case that fails: {escape(str(trial.case))}. {given(trial.case)}</p>"
        )
        error = trial.strict.error
        parts += (
            [f"<pre style='white-space:pre-wrap'>{escape(str(error))}</pre>"]
            if error is not None
            else []
        )
        drawn = picture(report)
        parts += [drawn.svg()] if drawn is not None else []
    parts += [f"<p>Read again: {escape(report.round)}.</p>"] if report.round else []
    return "".join(parts) + ladder(report.hints or references.hints(report.task))


def given(case):
    """The inputs of a small case, in words."""
    if case.N > 4 or case.n > 6:
        return ""
    return (
        "Given: "
        + "; ".join(
            f"rank {rank} " + ", ".join(escape(spelled(value)) for value in args)
            for rank, args in enumerate(case.inputs)
        )
        + "."
    )


def ladder(hints):
    """Hints, each folded inside the one before."""
    if not hints:
        return ""
    name = "A hint" if len(hints) == 3 else "Another hint" if len(hints) == 2 else "The last hint"
    words = re.sub("`([^`]+)`", r"<code>\1</code>", escape(hints[0]))
    return f"<details><summary>{name}</summary><p>{words}</p>{ladder(hints[1:])}</details>"


def picture(report):
    """The Picture of the smallest failing run beside that of a right answer; None where there is nothing to draw."""
    trial, finding = report.failing, report.first_failed
    if trial is None or finding is None:
        return None
    trace = trial.strict.trace
    reference = references.find(report.task, book().student, trial.case.N)
    if not trace.messages() and reference is None:
        return None
    guilty = finding.sight.guilty if trial.outcome is trial.strict else None
    return beside(trace, reference, guilty, steps=True)
