"""`minidl ask 02`: one file for a teacher, with all that is needed to see what went wrong.

ask_02.md    code, seed, what was demanded and found, the error, and every event of the failing run
"""

from minidl.learner import mine
from minidl.learner.notes import noted

EVENTS = ("rank", "kind", "peer", "number", "shape", "dtype", "posted", "done", "line")


class NothingToAsk(Exception):
    """There is no failed check; the message says what to do."""


def ask(exercise):
    """Write work/mine/ask_NN.md from the last failed check of exercise "NN"; returns its path.

    Raises NothingToAsk if no check of it has failed since it last passed, or where nothing is kept.
    """
    place = mine.folder()
    if place is None:
        raise NothingToAsk(
            "Nothing is kept here: call it inside the folder work/ that start.py has made."
        )
    failure = noted()["last"].get(exercise)
    if failure is None:
        raise NothingToAsk(
            f"No failed check of exercise {exercise} is noted. Run the check in the notebook first."
        )
    path = place / f"ask_{exercise}.md"
    mine.write(path, text(failure))
    return path


def text(failure):
    """The question as Markdown."""
    table = ["| " + " | ".join(EVENTS) + " |", "|" + " --- |" * len(EVENTS)]
    table += ["| " + " | ".join(map(str, event)) + " |" for event in failure["events"]]
    return "\n".join(
        [
            f"# A question about {failure['task']}",
            "",
            f"Seed of the variant: {failure['seed']}",
            f"Smallest failing case: {failure['case']}",
            "",
            "## What the check found",
            "",
            "```",
            failure["report"],
            "```",
            "",
            "## Error",
            "",
            "```",
            failure["error"] or "none",
            "```",
            "",
            "## Code",
            "",
            "```python",
            failure["code"].rstrip(),
            "```",
            "",
            "## Events",
            "",
            *table,
            "",
        ]
    )
