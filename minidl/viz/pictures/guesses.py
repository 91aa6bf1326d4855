"""What did you expect, and what happened?

    guess = Guesses()
    guess["messages"] = 6                  # before the run; `...` means: not guessed
    guess.beside({"messages": 12})         # after it: one row a question, guess beside truth

A guess stays in this notebook's kernel: it is not sent, stored or marked.
"""

from minidl.viz.drawing.picture import Table
from minidl.viz.drawing.units import is_number, number_text, value_text


class Guesses(dict):
    """The reader's guesses: question -> answer, or `...` if there is none yet."""

    def __repr__(self):
        made = sum(answer is not ... for answer in self.values())
        return f"Guesses({made} of {len(self)} made)"

    def beside(self, truth):
        """The table of guess beside truth, in the order of `truth`: {question: what happened}.

        Raises ValueError for a guess that `truth` does not answer.
        """
        for question, answer in self.items():
            if question not in truth and answer is not ...:
                raise ValueError(
                    f"nothing to compare your guess {question!r} with; "
                    f"the questions are: {', '.join(truth)}"
                )
        rows = []
        for question, happened in truth.items():
            guess = "not guessed"
            verdict = ""
            if self.get(question, ...) is not ...:
                guess = value_text(self[question])
                verdict = _verdict(self[question], happened)
            rows.append((question, guess, value_text(happened), verdict))
        return GuessTable(("question", "your guess", "what happened", ""), rows)


class GuessTable(Table):
    """Guess beside truth, aligned to the left."""

    cell_style = " style='text-align:left'"


def _verdict(guess, happened):
    """How far off a guess is: "right", "close" or "2 times too high"."""
    typed, wanted = [str(value).strip().lower() for value in (guess, happened)]
    if guess == happened or typed == wanted:
        return "right"
    # Only numbers can be close; words are right or wrong.
    if not (is_number(guess) and is_number(happened)):
        return "not this time"
    direction = "too high" if guess > happened else "too low"
    if guess <= 0 or happened <= 0:
        return direction
    ratio = max(guess / happened, happened / guess)
    # A count is exact: 11 messages in place of 12 are not close.
    both_whole = isinstance(guess, int) and isinstance(happened, int)
    if ratio < 1.1 and not both_whole:
        return "close"
    return f"{number_text(ratio)} times {direction}"
