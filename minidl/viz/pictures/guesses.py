"""What did you expect, and what happened?

    guess = Guesses()
    guess["messages"] = 6                  # before the run; `...` means: not guessed
    guess.beside({"messages": 12})         # after it: one row a question, guess beside truth

A guess stays in this notebook's kernel: it is sent nowhere, stored nowhere and marked by nobody.
"""

from html import escape
from numbers import Real

from minidl.viz.drawing.picture import Table
from minidl.viz.drawing.units import plain


class Guesses(dict):
    """The reader's guesses: question -> answer, or `...` where there is none yet."""

    def __repr__(self):
        made = sum(answer is not ... for answer in self.values())
        return f"Guesses({made} of {len(self)} made)"

    def beside(self, truth):
        """The table of guess beside truth, in the order of `truth`, a dict question -> what happened.

        Raises ValueError for a guess that `truth` does not answer.
        """
        unknown = [
            question
            for question, answer in self.items()
            if question not in truth and answer is not ...
        ]
        if unknown:
            raise ValueError(
                f"nothing to compare your guess {unknown[0]!r} with; the questions are: {', '.join(truth)}"
            )
        return Beside(
            [(question, self.get(question, ...), happened) for question, happened in truth.items()]
        )


class Beside(Table):
    """Guess beside truth. Shows itself as aligned text, or as a table in a notebook."""

    def __init__(self, rows):
        super().__init__(
            ("question", "your guess", "what happened", ""),
            [
                (
                    question,
                    "not guessed" if guess is ... else told(guess),
                    told(happened),
                    verdict(guess, happened),
                )
                for question, guess, happened in rows
            ],
        )

    def _repr_html_(self):
        head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row)
            + "</tr>"
            for row in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def told(value):
    """A number with three digits that mean something; anything else as it prints."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else plain(float(value))


def verdict(guess, happened):
    """How far off a guess is: "right", "2 times too high", or nothing where none was made."""
    if guess is ...:
        return ""
    if guess == happened or str(guess).strip().lower() == str(happened).strip().lower():
        return "right"
    if any(isinstance(v, bool) or not isinstance(v, Real) for v in (guess, happened)):
        return "not this time"
    if guess <= 0 or happened <= 0:
        return "too high" if guess > happened else "too low"
    ratio = max(guess / happened, happened / guess)
    if ratio < 1.1 and not (isinstance(guess, int) and isinstance(happened, int)):
        return "close"
    return f"{plain(ratio)} times too {'high' if guess > happened else 'low'}"
