"""How is work looked at that must not be fooled, hung or harmed?

    contract.py   check(f).equals(total).sends(messages="N - 1").worth(6)     a sentence: what is demanded
    demands.py    each demand: wanted, counted, and the message that is to blame
    arena.py      where the function runs: on virtual and real ranks here, or in a cage when it is graded
    book.py       what has been checked: tasks, points, and the seed that follows from a learner's name

Learners meet `check`; instructors meet `minidl release` and `minidl grade`. This package knows concepts only
through the functions that it is given.
"""

from minidl.check.book import again, student
from minidl.check.contract import check

__all__ = ["again", "check", "student"]
