"""`minidl ask 02`: one file for a teacher, with all that is needed to see what went wrong.

ask_02.md    code, seed, what was demanded and found, the error, the events of the failing run
"""

from minidl.learner import mine
from minidl.learner.notes import EVENT_FIELDS, noted

QUESTION = """\
# A question about {task}

Seed of the variant: {seed}
Smallest failing case: {case}

## What the check found

```
{report}
```

## Error

```
{error}
```

## Code

```python
{code}
```

## Events

{table}"""


class NothingToAsk(Exception):
    """There is no failed check; the message says what to do."""


def ask(exercise):
    """Write work/mine/ask_NN.md from the last failed check of exercise "NN"; returns its path.

    Raises NothingToAsk if none has failed since it last passed, or outside a learner's folder.
    """
    folder = mine.kept_folder()
    if folder is None:
        raise NothingToAsk("Run this inside the folder work/ that start.py has made.")
    failure = noted()["last"].get(exercise)
    if failure is None:
        raise NothingToAsk(
            f"No failed check of exercise {exercise} is noted. Run the check in the notebook first."
        )
    path = folder / f"ask_{exercise}.md"
    mine.write_whole(path, _question(failure))
    return path


def _question(failure):
    """The question as Markdown."""
    # a table of Markdown: the names, a rule, and a row an event
    rule = ["---"] * len(EVENT_FIELDS)
    table = ""
    for row in (EVENT_FIELDS, rule, *failure["events"]):
        table += f"| {' | '.join(map(str, row))} |\n"
    return QUESTION.format(table=table, **failure)
