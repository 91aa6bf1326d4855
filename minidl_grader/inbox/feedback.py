"""What does a student read about a submission?  One HTML file, which asks nothing of the network.

    02_collectives, Ada: 34 of 52 points
    reduce-scatter: 5 of 8 points
      yes  every rank returns the right values
      no   each rank sends 4 * n * (N - 1) // N bytes      wanted 168, counted 336 (2 ranks, 84 elements)
      [picture: the smallest failing run beside a right answer's]

Everything that comes from a submission is escaped. Pictures stand in <img>, where no script of theirs can run, and
the page forbids itself to load anything. Colours and background follow the reader's light or dark theme.
"""

import base64
from html import escape

from minidl.viz.drawing.palette import ALARM, CROWD, FAINT, INK, RANKS
from minidl_grader.course.cells import write_aside
from minidl_grader.inbox.score import earned

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = f"""
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; background: Canvas; color: CanvasText }}
h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1.15rem; margin: 2rem 0 .3rem; border-top: 1px solid {FAINT}; padding-top: 1rem }}
table {{ border-collapse: collapse; margin: .5rem 0; width: 100% }} caption {{ text-align: left }}
th, td {{ text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; overflow-wrap: anywhere }} th {{ font-weight: normal; color: {INK} }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid {FAINT}; padding-left: .8rem }}
img {{ max-width: 100% }} figure {{ margin: .5rem 0 }} figcaption, .aside {{ color: {INK} }}
.yes {{ color: {RANKS[2]}; font-weight: bold; white-space: nowrap }} .no {{ color: {ALARM}; font-weight: bold; white-space: nowrap }}
.bar {{ height: .8rem; border: 1px solid {FAINT}; border-radius: .2rem; min-width: 8rem }} .bar div {{ height: 100%; background: {CROWD} }}
"""


def page(title, *body):
    """A whole HTML page."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def bar(part, whole, words):
    """A bar filled in proportion; `words` says the same to those who do not see it."""
    share = 100 * part / whole if whole else 0
    return f'<div class="bar" role="img" aria-label="{escape(words)}"><div style="width:{share:.1f}%"></div></div>'


def feedback(result):
    """The page of one submission."""
    points, most = earned(result)
    who = result["learner"] or result["key"]
    title = f"{result['exercise'] or 'Submission'}, {who}: {points:g} of {most:g} points"
    return page(
        title,
        f"<h1>{escape(title)}</h1>",
        bar(points, most, f"{points:g} of {most:g} points"),
        f"<p><b class='no'>{escape(result['problem'])}</b></p>" if result["problem"] else "",
        remarks(result),
        *(task_part(task) for task in result["tasks"]),
        footer(result),
    )


def remarks(result):
    """What is said of the submission as a whole."""
    lines = ([result["notebook"]] if result["notebook"] else []) + result["notes"]
    return (
        "<ul>" + "".join(f"<li>{escape(str(line))}</li>" for line in lines) + "</ul>"
        if lines
        else ""
    )


def task_part(task):
    """One task: its points, what went wrong in words, its demands, its picture."""
    head = (
        f"{task['title']}: {task['earned']:g} of {task['points']:g} points"
        if task["points"]
        else f"{task['title']}: {task['state']}"
    )
    parts = [f"<section><h2>{escape(head)}</h2>"]
    if task["title"] != task["task"]:
        parts.append(f"<div class='aside'>{escape(task['task'])}</div>")
    if task["state"] == "not done":
        parts.append("<p>Not done yet.</p>")
    if task["message"]:
        parts.append(f"<pre>{escape(str(task['message']))}</pre>")
    parts += [demands(task["demands"])] if task["demands"] else []
    parts += [challenge(task["challenge"])] if task["challenge"] else []
    if task["picture"]:
        data = base64.b64encode(str(task["picture"]).encode("utf-8", "replace")).decode()
        parts.append(
            f'<figure><img src="data:image/svg+xml;base64,{data}" alt="The messages of the smallest case that fails">'
            "<figcaption>The smallest case that fails, message by message.</figcaption></figure>"
        )
    return "".join(parts) + "</section>"


def demands(found):
    """A row per demand."""
    rows = "".join(
        f"<tr><td class='{'yes' if one['passed'] else 'no'}'>{'&#10003; yes' if one['passed'] else '&#10007; no'}</td>"
        + "".join(
            f"<td>{escape(str(one.get(key, '')))}</td>"
            for key in ("says", "wanted", "counted", "where")
        )
        + "</tr>"
        for one in found
    )
    return f"<table><thead><tr><th></th><th>demanded</th><th>wanted</th><th>counted</th><th>where</th></tr></thead><tbody>{rows}</tbody></table>"


def challenge(found):
    """What an open challenge took."""
    words = ", ".join(
        f"{key.replace('_', ' ')} {value * 1e6:,.0f} us"
        if isinstance(value, float)
        else f"{key.replace('_', ' ')} {value}"
        for key, value in found.items()
    )
    return f"<p>Open challenge, on the virtual clock: {escape(words)}.</p>"


def footer(result):
    """How it was graded, and under which isolation."""
    isolation = (
        "; ".join(map(str, result["isolation"])) or "none was needed, for nothing was executed"
    )
    around = "; ".join(map(str, result.get("isolation_of_notebook", [])))
    seconds = ", ".join(f"{what} {value:.1f} s" for what, value in result["seconds"].items())
    return (
        f"<h2>How this was graded</h2><p class='aside'>Only your answer cells and your name were taken from your notebook. Points come from what the judge "
        f"counted on runs of its own. Seed of your variant: {int(result['seed'])}. Isolation in force: {escape(isolation)}."
        f"{' Around your notebook as a whole: ' + escape(around) + '.' if around else ''}"
        f"{' Time taken: ' + escape(seconds) + '.' if seconds else ''}</p>"
    )


def write_all(results, out):
    """A page for every submission below `out`/feedback."""
    for result in results:
        write_aside(out / "feedback" / f"{result['key']}.html", feedback(result))
