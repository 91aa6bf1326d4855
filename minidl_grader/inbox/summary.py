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
from html import escape
from typing import NamedTuple

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


class Section(NamedTuple):
    """A part of the summary: a task and what its answers lack, or a challenge."""

    title: str
    lines: list
    bars: list  # (a demand in words, answers that meet it, answers)


def sections(results):
    """The Sections of all tasks and of all open challenges."""
    made = []
    for task, found in tasks_of(results).items():
        states = Counter(one["state"] for one in found)
        mistakes = Counter()
        passed = Counter()  # demand in words -> how many answers meet it
        total = Counter()  # and how many were asked
        for one in found:
            failed = [demand for demand in one["demands"] if not demand["passed"]]
            mistakes.update(set(map(mistake, failed)))
            for demand in one["demands"]:
                says = demand["says"]
                total[says] += 1
                passed[says] += bool(demand["passed"])
        title = ", ".join(f"{count} {state}" for state, count in states.most_common())
        lines = [f"{count} of {len(found)} {words}." for words, count in mistakes.most_common()]
        bars = [(says, count, total[says]) for says, count in passed.items()]
        made.append(Section(f"{task}: {title}", lines, bars))
    for task, times in fastest(results).items():
        lines = [f"{seconds * 1e6:>12,.0f} us  {who}" for seconds, who in times]
        made.append(Section(f"{task}: the fastest", lines, []))
    return made


def tasks_of(results):
    """{task: what every result says of it}."""
    found = {}
    for result in results:
        for task in result["tasks"]:
            found.setdefault(task["task"], []).append(task)
    return found


def mistake(demand):
    """What a failed demand says of an answer: "move whole tensors"."""
    if demand["demand"] == "bytes":
        wanted = first_number(demand.get("wanted", ""))
        counted = first_number(demand.get("counted", ""))
        ranks = first_number(demand.get("where", ""))
        # A chunk, one part in N, would be enough. A ring all-reduce moves two of them a step.
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
    for section in sections(results):
        lines += ["", section.title]
        for says, count, total in section.bars:
            bar = ("#" * round(16 * count / total)).ljust(16, ".")
            lines.append(f"  {bar} {count:>3} of {total:<3}  {says}")
        lines += [f"  {line}" for line in section.lines]
    return "\n".join(lines) + "\n"


def summary_page(results):
    """The summary as a page."""
    title, *lines = head(results)
    bars = [(words, count, len(results)) for words, count in histogram(results)]
    parts = [f"<h1>{escape(title)}</h1>", _list(lines), "<h2>Points</h2>", _table(bars)]
    for section in sections(results):
        parts += [
            f"<h2>{escape(section.title)}</h2>",
            _list(section.lines),
            _table(section.bars, " pass"),
        ]
    return html_page("Class summary", *parts)


def _list(lines):
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return items and f"<ul>{items}</ul>"


def _table(bars, verb=""):
    rows = []
    for words, count, total in bars:
        verdict = f"{count} of {total}{verb}"
        bar = html_bar(count, total, verdict)
        rows.append(f"<tr><td>{escape(words)}</td><td>{bar}</td><td>{verdict}</td></tr>")
    return rows and f"<table>{''.join(rows)}</table>"


def write_summary(results, out):
    """summary.txt and summary.html below `out`."""
    write_aside(out / "summary.txt", summary_text(results))
    write_aside(out / "summary.html", summary_page(results))
