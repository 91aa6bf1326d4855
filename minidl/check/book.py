"""What has been checked, by whom, and with which numbers?

    me = student("Ada")                     the seed of all that is drawn for her: inputs, root, offset, topology
    offset = me.choose("offset", [1, 2, 3])
    check(...)....worth(6)                  writes a Report into the book, under its task

A name gives the same draws on every machine, because they come from SHA-256 and from nothing else.
"""

import contextlib
import hashlib
import random


class Student:
    """Somebody's own variant of the tasks. name: any text; seed: a number that follows from it."""

    def __init__(self, name):
        self.name = " ".join(str(name).split())
        self.seed = number(self.name)

    def choose(self, what, options):
        """One of `options`, the same whenever this student asks for `what`."""
        options = list(options)
        return options[number(f"{self.name}|{what}") % len(options)]

    def __repr__(self):
        return (
            f"Student({self.name!r})"
            if self.name
            else "Student(no name yet: write it into the first cell)"
        )


def number(text):
    """A number below 2 ** 48 that follows from the text, on every machine the same."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


class Book:
    """The checks of one exercise of one student.

    student  whose exercise it is, and their seed
    checks   task -> its check, for again()
    reports  task -> its reports, in the order of the checks
    """

    def __init__(self):
        self.student, self.checks, self.reports = Student(""), {}, {}

    @property
    def seed(self):
        """The seed of all inputs."""
        return self.student.seed

    def draws(self, *words):
        """A generator of random numbers for what these words name, the same for a student each time."""
        return random.Random(number("|".join(map(str, (self.seed, *words)))))

    def write(self, task, checked, report):
        """Note that a task has been checked."""
        self.checks[task] = checked
        self.reports.setdefault(task, []).append(report)


_current = [Book()]


def book():
    """The book into which checks write now."""
    return _current[-1]


@contextlib.contextmanager
def opened(new):
    """Let checks write into the book `new`."""
    _current.append(new)
    try:
        yield new
    finally:
        _current.pop()


def student(name):
    """The student of this exercise; from here on all that is drawn is drawn for them."""
    book().student = Student(name)
    return book().student


def again(task, **sizes):
    """Repeat a task's check over other sizes: again("02-bruck", world_sizes=[5, 8], lengths=[24]). Returns the Report.

    Raises ValueError for a task that has not been checked.
    """
    if task not in book().checks:
        raise ValueError(f"again({task!r}): no check of this task stands before it")
    return book().checks[task].repeated(**sizes)
