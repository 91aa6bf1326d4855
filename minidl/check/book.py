"""What has been checked, for which student, and with which random numbers?

    me = student("Ada")                       seeds all that is drawn for her: inputs, root, offset
    offset = me.choose("offset", [1, 2, 3])
    check(...)....worth(6)                    writes a Report into the book, under its task

A name gives the same draws on every machine, because they depend on its SHA-256 digest only.
"""

import contextlib
import hashlib
import random


class Student:
    """A learner with a variant of the tasks. name: any text; seed: a number computed from it."""

    def __init__(self, name):
        self.name = " ".join(str(name).split())
        self.seed = number_from(self.name)

    def choose(self, what, options):
        """One of `options`, the same whenever this student asks for `what`."""
        # hash() differs from one Python process to the next, so it cannot be used here.
        options = list(options)
        return options[number_from(f"{self.name}|{what}") % len(options)]

    def __repr__(self):
        if not self.name:
            return "Student(no name yet: write it into the first cell)"
        return f"Student({self.name!r})"


def number_from(text):
    """A number below 2 ** 48 computed from the text, the same on every machine."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:6], "big")


class Book:
    """The checks of one exercise of one student.

    student      whose exercise it is
    checks       task -> its check, for again()
    reports      task -> its reports, in the order of the checks
    new_student  makes the Student from a name; a subclass of Student may draw in another way
    """

    def __init__(self, new_student=Student):
        self.new_student = new_student
        self.student = Student("")
        self.checks = {}
        self.reports = {}

    @property
    def seed(self):
        """The seed of all inputs."""
        return self.student.seed

    def draws(self, *words):
        """A random.Random for what these words name, the same each time for one student."""
        named = "|".join(map(str, (self.seed, *words)))
        return random.Random(number_from(named))

    def write(self, task, check, report):
        """Note that a task has been checked."""
        self.checks[task] = check
        self.reports.setdefault(task, []).append(report)


# A stack, so that a judge or a test can check in a book of its own.
_books = [Book()]  # the last one is open


def current_book():
    """The book into which checks write now."""
    return _books[-1]


@contextlib.contextmanager
def open_book(book):
    """Let checks write into `book` inside this context."""
    _books.append(book)
    try:
        yield book
    finally:
        _books.pop()


def student(name):
    """The Student of this exercise. From here on, everything is drawn for this name."""
    book = current_book()
    book.student = book.new_student(name)
    return book.student


def again(task, **sizes):
    """Repeat a task's check on other sizes: again("02-bruck", world_sizes=[5, 8], lengths=[24]).

    Returns the Report. Raises ValueError if the task has not been checked yet.
    """
    checks = current_book().checks
    if task not in checks:
        raise ValueError(f"again({task!r}): run the check of this task first")
    return checks[task].repeated(**sizes)
