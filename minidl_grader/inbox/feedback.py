"""What does a student read about a submission? One HTML file, which loads nothing from the network.

    02_collectives, Ada: 34 of 52 points
    reduce-scatter: 5 of 8 points
      yes  every rank returns the right values
      no   each rank sends 4 * n * (N - 1) // N bytes      wanted 168, counted 336
                                                           (2 ranks, 84 elements)
      [picture: the smallest failing run beside a right answer's]

Everything that comes from a submission is escaped. Pictures stand in <img>, where no script in them
can run, and the page forbids itself to load anything. Colours follow the reader's light or dark
theme.
"""

import base64
from html import escape

from minidl.viz.drawing.palette import ALARM, CROWD, FAINT, INK, RANKS
from minidl_grader.course.cells import write_aside
from minidl_grader.inbox.score import earned

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = f"""
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; background: Canvas; color: CanvasText }}
h1 {{ font-size: 1.5rem }}
h2 {{ font-size: 1.15rem; margin: 2rem 0 .3rem; border-top: 1px solid {FAINT}; padding-top: 1rem }}
table {{ border-collapse: collapse; margin: .5rem 0; width: 100% }}
caption {{ text-align: left }}
th, td {{ text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0;
  overflow-wrap: anywhere }}
th {{ font-weight: normal; color: {INK} }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid {FAINT};
  padding-left: .8rem }}
img {{ max-width: 100% }}
figure {{ margin: .5rem 0 }}
figcaption, .aside {{ color: {INK} }}
.yes {{ color: {RANKS[2]}; font-weight: bold; white-space: nowrap }}
.no {{ color: {ALARM}; font-weight: bold; white-space: nowrap }}
.bar {{ height: .8rem; border: 1px solid {FAINT}; border-radius: .2rem; min-width: 8rem }}
.bar div {{ height: 100%; background: {CROWD} }}
"""


def html_page(title, *body):
    """A whole HTML page."""
    content = "\n".join(filter(None, body))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
{content}
</body>
</html>
"""


def html_bar(part, whole, words):
    """A bar filled in proportion; `words` says the same to a screen reader."""
    share = 100 * part / whole if whole else 0
    filled = f'<div style="width:{share:.1f}%"></div>'
    return f'<div class="bar" role="img" aria-label="{escape(words)}">{filled}</div>'


def feedback_page(result):
    """The page of one submission."""
    points, most = earned(result)
    score = f"{points:g} of {most:g} points"
    title = f"{result['exercise'] or 'Submission'}, {result['learner'] or result['key']}: {score}"
    parts = [f"<h1>{escape(title)}</h1>", html_bar(points, most, score)]
    if result["problem"]:
        parts.append(f"<p><b class='no'>{escape(result['problem'])}</b></p>")
    remarks = [line for line in (result["notebook"], *result["notes"]) if line]
    if remarks:
        items = "".join(f"<li>{escape(str(line))}</li>" for line in remarks)
        parts.append(f"<ul>{items}</ul>")
    parts += [_task_section(task) for task in result["tasks"]]
    return html_page(title, *parts, _footer(result))


def _task_section(task):
    """One task: its points, what went wrong in words, its demands, its picture."""
    score = task["state"]
    if task["points"]:
        score = f"{task['earned']:g} of {task['points']:g} points"
    head = f"{task['title']}: {score}"
    parts = [f"<h2>{escape(head)}</h2>"]
    if task["title"] != task["task"]:
        parts.append(f"<div class='aside'>{escape(task['task'])}</div>")
    if task["state"] == "not done":
        parts.append("<p>Not done yet.</p>")
    if task["message"]:
        parts.append(f"<pre>{escape(str(task['message']))}</pre>")
    if task["demands"]:
        parts.append(_demand_table(task["demands"]))
    if task["challenge"]:
        parts.append(_challenge(task["challenge"]))
    if task["picture"]:
        data = base64.b64encode(str(task["picture"]).encode("utf-8", "replace")).decode()
        parts.append(
            f'<figure><img src="data:image/svg+xml;base64,{data}"'
            ' alt="The messages of the smallest case that fails">'
            "<figcaption>The smallest case that fails, message by message.</figcaption></figure>"
        )
    return f"<section>{''.join(parts)}</section>"


def _demand_table(demands):
    rows = []
    for demand in demands:
        if demand["passed"]:
            cells = ["<td class='yes'>&#10003; yes</td>"]
        else:
            cells = ["<td class='no'>&#10007; no</td>"]
        for key in ("says", "wanted", "counted", "where"):
            cells.append(f"<td>{escape(str(demand.get(key, '')))}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = "<th></th><th>demanded</th><th>wanted</th><th>counted</th><th>where</th>"
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _challenge(found):
    """What an open challenge took."""
    words = []
    for key, value in found.items():
        if isinstance(value, float):
            value = f"{value * 1e6:,.0f} us"
        words.append(f"{key.replace('_', ' ')} {value}")
    return f"<p>Open challenge, on the virtual clock: {escape(', '.join(words))}.</p>"


def _footer(result):
    """How it was graded, and under which isolation."""
    isolation = "; ".join(map(str, result["isolation"]))
    notebook_isolation = "; ".join(map(str, result.get("isolation_of_notebook", [])))
    seconds = ", ".join(f"{what} {value:.1f} s" for what, value in result["seconds"].items())
    sentences = [
        "Only your answer cells and your name were taken from your notebook.",
        "Points come from what the judge counted on runs of its own.",
        f"Seed of your variant: {int(result['seed'])}.",
        f"Isolation in force: {isolation or 'none was needed, for nothing was executed'}.",
    ]
    if notebook_isolation:
        sentences.append(f"Around your notebook as a whole: {notebook_isolation}.")
    if seconds:
        sentences.append(f"Time taken: {seconds}.")
    text = escape(" ".join(sentences))
    return f"<h2>How this was graded</h2><p class='aside'>{text}</p>"


def write_feedback(results, out):
    """A page for every submission below `out`/feedback."""
    for result in results:
        write_aside(out / "feedback" / f"{result['key']}.html", feedback_page(result))
