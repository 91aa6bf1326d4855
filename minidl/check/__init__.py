"""How is an answer checked so that values alone do not pass?

    check(f, "02-ring").equals(total).sends(messages="N - 1").worth(6)     a sentence of demands

The files, lowest first: each imports only files above it in this list. Below all of them stand
minidl/learner/mine.py and notes.py, which keep a passed answer and the progress.

    values.py           does a result differ from the wanted one, and where?
    formula.py          a count as a formula over N, n and rank
    answer_text.py      what the source of an answer says: is it a stub, which modules does it use?
    book.py             what has been checked, for which student, with which random numbers
    references.py       what a right answer sends, as recorded when the exercise was released
    arena.py            where the function runs: on virtual or real ranks, or in a cage when graded
    cases.py            the sizes and inputs on which it runs, and the runs that a case needs
    demands.py          each demand is one class: its word, what it looks at, what it finds
    demands_metered.py  the demands about memory, FLOPs and overlap
    challenge.py        an open challenge: how fast is the answer, and how fast can it be?
    show.py             a report as a notebook shows it, with the picture of the failing run
    reports.py          what the check found, demand by demand
    contract.py         the sentence as a whole, and the points
"""

from minidl.check.book import again, student
from minidl.check.contract import check

__all__ = ["again", "check", "student"]
