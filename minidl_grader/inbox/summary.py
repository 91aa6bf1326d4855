"""How did the class do, and what did it not understand?

    200 submissions, median 34 of 52 points
    02-reduce-scatter   ########........   121 of 200 pass
        61 of 200 move whole tensors
        12 of 200 return wrong values

A demand that many fail says what to teach again. The same is written as text and as a page.
"""

import re
import statistics
from collections import Counter
from dataclasses import dataclass, field
from html import escape

from minidl_grader.course.cells import write_aside
from minidl_grader.inbox.feedback import html_bar, html_page
from minidl_grader.inbox.score import earned

# How many answers ... : a failed demand in words.
FAILS = {
    "values": "return wrong values",
    "messages": "send another number of messages",
    "bytes": "send another number of bytes",
    "peers": "send to other ranks than allowed",
    "steps": "take too many steps",
    "seconds": "take too long on the given network",
    "inputs": "change what they were given",
    "deadlock": "deadlock, or work only because messages are buffered",
    "own work": "call what they should have written",
    "impostor": "send as much as an honest answer",
    "real": "fail on real processes",
    "link": "let a link carry too much",
}
BINS = 10


@dataclass
class Finding:
    """How all submissions did on one task."""

    states: Counter = field(default_factory=Counter)  # state -> submissions
    demands: dict = field(default_factory=dict)  # demand in words -> Counter of passed: True, False
    mistakes: Counter = field(default_factory=Counter)  # failed demand in words -> submissions

    def in_words(self):
        """ "6 passed, 3 partly" """
        return ", ".join(f"{count} {state}" for state, count in self.states.most_common())


def findings(results):
    """{task: its Finding} over all submissions."""
    found = {}
    for result in results:
        for task in result["tasks"]:
            finding = found.setdefault(task["task"], Finding())
            finding.states[task["state"]] += 1
            mistakes = set()
            for demand in task["demands"]:
                tally = finding.demands.setdefault(demand["says"], Counter())
                tally[bool(demand["passed"])] += 1
                if not demand["passed"]:
                    mistakes.add(mistake(demand))
            finding.mistakes.update(mistakes)
    return found


def mistake(demand):
    """What a failed demand says of an answer: "move whole tensors"."""
    if demand["demand"] == "bytes":
        wanted = first_number(demand.get("wanted", ""))
        counted = first_number(demand.get("counted", ""))
        ranks = first_number(demand.get("where", ""))
        # A chunk, one part in N, would be enough; a ring that moves whole tensors sends N / 2 as
        # much.
        if wanted and counted and ranks and ranks > 2 and counted / wanted in (ranks, ranks / 2):
            return "move whole tensors"
        if wanted is not None and counted is not None and counted != wanted:
            more = "more" if counted > wanted else "fewer"
            return f"send {more} bytes than needed"
    return FAILS.get(demand["demand"], f"do not meet: {demand['says']}")


def first_number(text):
    """The whole number that a text begins with, after "at most" or "rank 0:"; None if none."""
    found = re.match(r"(?:at most |rank \d+: )?([\d,]+)", str(text))
    return int(found[1].replace(",", "")) if found else None


def histogram(results):
    """[(range of points in words, submissions)], ten of them; empty if no task has points."""
    shares = [points / most for points, most in map(earned, results) if most]
    if not shares:
        return []
    counts = Counter(min(int(share * BINS), BINS - 1) for share in shares)
    step = 100 // BINS
    return [(f"{step * i} to {step * (i + 1)} %", counts[i]) for i in range(BINS)]


def same_names(results):
    """Sentences about names that more than one submission to an exercise has."""
    groups = {}
    for result in results:
        if result["learner"]:
            key = (result["learner"].casefold(), result["exercise"])
            groups.setdefault(key, []).append(result)
    lines = []
    for (_, exercise), group in groups.items():
        if len(group) > 1:
            keys = " and ".join(one["key"] for one in group)
            lines.append(f"The same name stands in {keys}: {group[0]['learner']} ({exercise}).")
    return lines


def fastest(results):
    """{task: [(seconds, who), ...]} of open challenges, the fastest first."""
    found = {}
    for result in results:
        for task in result["tasks"]:
            if task["challenge"]:
                entry = (task["challenge"]["seconds"], result["learner"] or result["key"])
                found.setdefault(task["task"], []).append(entry)
    return {task: sorted(times)[:10] for task, times in found.items()}


def head(results):
    """The first lines: how many, how good, what to look at by hand."""
    if not results:
        return ["No submission was found."]
    points = [earned(result)[0] for result in results]
    most = max(earned(result)[1] for result in results)
    plural = "s" if len(results) > 1 else ""
    lines = [
        f"{len(results)} submission{plural}, median {statistics.median(points):g} of {most:g}"
        f" points, mean {statistics.mean(points):.1f}."
    ]
    problems = [result["key"] for result in results if result["problem"]]
    if problems:
        lines.append(f"{len(problems)} could not be graded: {', '.join(problems[:10])}.")
    unnamed = [one for one in results if not one["learner"] and not one["problem"]]
    if unnamed:
        lines.append(f"{len(unnamed)} without a name in the first cell.")
    return lines + same_names(results)


def summary_text(results):
    """The summary as text."""
    lines = head(results)
    if results:
        lines += ["", "Points"]
    for words, count in histogram(results):
        bar = "#" * round(40 * count / len(results))
        lines.append(f"  {words:>11}  {bar}{' ' if count else ''}{count}")
    for task, finding in findings(results).items():
        lines += ["", f"{task}: {finding.in_words()}"]
        for says, tally in finding.demands.items():
            total = tally.total()
            filled = round(16 * tally[True] / total)
            bar = "#" * filled + "." * (16 - filled)
            lines.append(f"  {bar} {tally[True]:>3} of {total:<3}  {says}")
        for words, count in finding.mistakes.most_common():
            lines.append(f"  {count} of {finding.states.total()} {words}")
    for task, times in fastest(results).items():
        lines += ["", f"{task}: the fastest"]
        lines += [f"  {seconds * 1e6:>12,.0f} us  {who}" for seconds, who in times]
    return "\n".join(lines) + "\n"


def summary_page(results):
    """The summary as a page."""
    title, *lines = head(results)
    parts = [f"<h1>{escape(title)}</h1>"]
    parts += [f"<p>{escape(line)}</p>" for line in lines]
    rows = []
    for words, count in histogram(results):
        bar = html_bar(count, len(results), f"{count} submissions")
        rows.append([words, bar, str(count)])
    parts.append(_table(rows, "<caption>Points</caption>"))
    for task, finding in findings(results).items():
        parts.append(f"<h2>{escape(task)}: {escape(finding.in_words())}</h2>")
        total = finding.states.total()
        for words, count in finding.mistakes.most_common():
            parts.append(f"<p><b>{count} of {total} {escape(words)}.</b></p>")
        rows = []
        for says, tally in finding.demands.items():
            bar = html_bar(tally[True], tally.total(), f"{tally[True]} pass")
            rows.append([escape(says), bar, f"{tally[True]} of {tally.total()} pass"])
        if rows:
            parts.append(_table(rows))
    for task, times in fastest(results).items():
        rows = [[f"{seconds * 1e6:,.0f} us", escape(who)] for seconds, who in times]
        parts.append(f"<h2>{escape(task)}: the fastest</h2>{_table(rows)}")
    return html_page("Class summary", *parts)


def _table(rows, caption=""):
    """A table of cells that are HTML already."""
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{caption}{''.join(lines)}</table>"


def write_summary(results, out):
    """summary.txt and summary.html below `out`."""
    write_aside(out / "summary.txt", summary_text(results))
    write_aside(out / "summary.html", summary_page(results))
