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

from minidl_grader.course.cells import write_aside
from minidl_grader.inbox.feedback import bar, page
from minidl_grader.inbox.score import earned

FAILS = {
    "values": "return wrong values",
    "messages": "send another number of messages",
    "bytes": "send another number of bytes",
    "peers": "send to somebody else than allowed",
    "steps": "take too many steps",
    "seconds": "take too long on the given network",
    "inputs": "change what they were given",
    "deadlock": "wait for ever, or work only because messages are buffered",
    "own work": "call what they should have written",
    "impostor": "send as much as an honest answer",
    "real": "fail on real processes",
    "link": "let a link carry too much",
}
BINS = 10


def sentence(demand):
    """What a failed demand says of an answer: "move whole tensors"."""
    if demand["demand"] == "bytes":
        wanted, counted, ranks = (
            number(demand.get(key, "")) for key in ("wanted", "counted", "where")
        )
        if wanted and counted and ranks and ranks > 2 and counted / wanted in (ranks, ranks / 2):
            return "move whole tensors"  # where a chunk, one part in N, would do
        if wanted is not None and counted is not None and counted != wanted:
            return (
                "send more bytes than needed"
                if counted > wanted
                else "send fewer bytes than needed"
            )
    return FAILS.get(demand["demand"], f"do not meet: {demand['says']}")


def number(text):
    """The first whole number in a text that begins with one, or with "rank 0: "; None if there is none."""
    found = re.match(r"(?:at most |rank \d+: )?([\d,]+)", str(text))
    return int(found[1].replace(",", "")) if found else None


def findings(results):
    """{task: (states, {demand in words: passed, failed}, {sentence: how many})} over all submissions."""
    found = {}
    for result in results:
        for task in result["tasks"]:
            states, by_demand, sentences = found.setdefault(
                task["task"], (Counter(), {}, Counter())
            )
            states[task["state"]] += 1
            for demand in task["demands"]:
                by_demand.setdefault(demand["says"], Counter())[bool(demand["passed"])] += 1
            sentences.update(
                {sentence(demand) for demand in task["demands"] if not demand["passed"]}
            )
    return found


def histogram(results):
    """[(range of points in words, how many)], ten of them; empty where nothing can be earned."""
    shares = [points / most for points, most in map(earned, results) if most]
    counts = Counter(min(int(share * BINS), BINS - 1) for share in shares)
    return (
        [(f"{100 * i // BINS} to {100 * (i + 1) // BINS} %", counts[i]) for i in range(BINS)]
        if shares
        else []
    )


def same_names(results):
    """{learner: keys} of names under which more than one submission to an exercise stands."""
    found = {}
    for result in results:
        if result["learner"]:
            found.setdefault((result["learner"].casefold(), result["exercise"]), []).append(result)
    return {
        f"{group[0]['learner']} ({exercise})": [one["key"] for one in group]
        for (_, exercise), group in found.items()
        if len(group) > 1
    }


def fastest(results):
    """{task: [(seconds, who), ...]} of open challenges, the fastest first."""
    found = {}
    for result in results:
        for task in result["tasks"]:
            if task["challenge"]:
                found.setdefault(task["task"], []).append(
                    (task["challenge"]["seconds"], result["learner"] or result["key"])
                )
    return {task: sorted(times)[:10] for task, times in found.items()}


def head(results):
    """The first lines: how many, how good, what to look at by hand."""
    points, most = (
        [earned(result)[0] for result in results],
        max((earned(result)[1] for result in results), default=0),
    )
    lines = (
        [
            f"{len(results)} submission{'s' * (len(results) != 1)}, median {statistics.median(points):g} of {most:g} points, "
            f"mean {statistics.mean(points):.1f}."
        ]
        if results
        else ["No submission was found."]
    )
    problems = [result for result in results if result["problem"]]
    lines += (
        [
            f"{len(problems)} could not be graded: {', '.join(result['key'] for result in problems[:10])}."
        ]
        if problems
        else []
    )
    unnamed = sum(not result["learner"] and not result["problem"] for result in results)
    lines += [f"{unnamed} without a name in the first cell."] if unnamed else []
    return lines + [
        f"The same name stands in {' and '.join(keys)}: {name}."
        for name, keys in same_names(results).items()
    ]


def text(results):
    """The summary as text."""
    lines, many = head(results), len(results)
    lines += (
        ["", "Points"]
        + [
            f"  {words:>11}  {'#' * round(40 * count / many)}{' ' * bool(count)}{count}"
            for words, count in histogram(results)
        ]
        if many
        else []
    )
    for task, (states, by_demand, sentences) in findings(results).items():
        lines += [
            "",
            f"{task}: " + ", ".join(f"{count} {state}" for state, count in states.most_common()),
        ]
        lines += [f"  {share(tally)}  {says}" for says, tally in by_demand.items()]
        lines += [
            f"  {count} of {sum(states.values())} {words}"
            for words, count in sentences.most_common()
        ]
    for task, times in fastest(results).items():
        lines += ["", f"{task}: the fastest"] + [
            f"  {seconds * 1e6:>12,.0f} us  {who}" for seconds, who in times
        ]
    return "\n".join(lines) + "\n"


def share(tally):
    """ "########........ 61 of 200" """
    total = tally[True] + tally[False]
    filled = round(16 * tally[True] / total)
    return f"{'#' * filled}{'.' * (16 - filled)} {tally[True]:>3} of {total:<3}"


def html(results):
    """The summary as a page."""
    many, lines = len(results), head(results)
    parts = [
        f"<h1>{escape(lines[0])}</h1>",
        "".join(f"<p>{escape(line)}</p>" for line in lines[1:]),
    ]
    rows = "".join(
        f"<tr><td>{words}</td><td>{bar(count, many, f'{count} submissions')}</td><td>{count}</td></tr>"
        for words, count in histogram(results)
    )
    parts.append(f"<table><caption>Points</caption>{rows}</table>")
    for task, (states, by_demand, sentences) in findings(results).items():
        total = sum(states.values())
        parts.append(
            f"<h2>{escape(task)}: {', '.join(f'{count} {escape(state)}' for state, count in states.most_common())}</h2>"
        )
        parts.append(
            "".join(
                f"<p><b>{count} of {total} {escape(words)}.</b></p>"
                for words, count in sentences.most_common()
            )
        )
        rows = "".join(
            f"<tr><td>{escape(says)}</td><td>{bar(tally[True], sum(tally.values()), f'{tally[True]} pass')}</td>"
            f"<td>{tally[True]} of {sum(tally.values())} pass</td></tr>"
            for says, tally in by_demand.items()
        )
        parts.append(f"<table>{rows}</table>" if rows else "")
    for task, times in fastest(results).items():
        rows = "".join(
            f"<tr><td>{seconds * 1e6:,.0f} us</td><td>{escape(who)}</td></tr>"
            for seconds, who in times
        )
        parts.append(f"<h2>{escape(task)}: the fastest</h2><table>{rows}</table>")
    return page("Class summary", *parts)


def write_all(results, out):
    """summary.txt and summary.html below `out`."""
    write_aside(out / "summary.txt", text(results))
    write_aside(out / "summary.html", html(results))
