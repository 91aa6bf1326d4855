"""A course of one exercise with two tasks, small enough to be graded in a second.

solutions/90_sample.ipynb --release--> exercise --the tests do to it what students do--> submissions
"""

import json

from nbformat import v4

from minidl_grader.course.release import release

SETUP = """import torch
from minidl.check import again, check, student

me = student(learner)
offset = me.choose("90 offset", [1, 2])"""

SHIFT = '''def shift(x, comm):
    """Rank r returns the x of rank r - offset.   x: (n,) -> (n,)"""
    ### BEGIN SOLUTION
    return comm.exchange(
        x,
        to=(comm.rank + offset) % comm.world_size,
        source=(comm.rank - offset) % comm.world_size,
    )
    ### END SOLUTION'''

TWICE = '''def twice(x, comm):
    """Every rank returns 2 * x and sends nothing.   x: (n,) -> (n,)"""
    ### BEGIN SOLUTION
    #| return x
    return 2 * x
    ### END SOLUTION'''

CHECK_SHIFT = """(check(shift, "90-shift")
 .equals(lambda inputs, rank, N: inputs[(rank - offset) % N])
 .over(world_sizes=[2, 3], lengths=[4])
 .sends_at_most(messages="1").worth(6))"""
CHECK_TWICE = """(check(twice, "90-twice")
 .equals(lambda inputs, rank, N: 2 * inputs[rank])
 .over(world_sizes=[2], lengths=[3])
 .sends(messages="0").worth(4))"""
HIDDEN = """again("90-shift", world_sizes=[5], lengths=[7])"""
RIGHT = {
    "90-shift": "return comm.exchange(x, to=(comm.rank + offset) % comm.world_size, "
    "source=(comm.rank - offset) % comm.world_size)",
    "90-twice": "return 2 * x",
}
WHOLE = """    parts = [x if r == comm.rank else None for r in range(comm.world_size)]
    for step in range(1, comm.world_size):
        source = (comm.rank - step) % comm.world_size
        parts[source] = comm.exchange(x, to=(comm.rank + step) % comm.world_size, source=source)
    return parts[(comm.rank - offset) % comm.world_size]"""


def cell(source, role="", task=""):
    """A code cell of the master."""
    given = {key: value for key, value in (("role", role), ("task", task)) if value}
    return v4.new_code_cell(source, metadata={"minidl": given} if given else {})


def solutions():
    """The master of the sample exercise."""
    return v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Exercise 90: a sample"),
            cell('learner = "Ada"', "name"),
            cell(SETUP, "setup"),
            v4.new_markdown_cell("## Task 1: shift"),
            cell(SHIFT, "answer", "90-shift"),
            cell(CHECK_SHIFT, "check", "90-shift"),
            cell(HIDDEN, "hidden", "90-shift"),
            v4.new_markdown_cell("## Task 2: twice"),
            cell(TWICE, "answer", "90-twice"),
            cell(CHECK_TWICE, "check", "90-twice"),
            cell("print(6 * 7)", "look"),
        ]
    )


def exercise():
    """What a student of the sample course opens."""
    return release(solutions(), "90_sample")


def find(notebook, role, task=""):
    """The first cell with this role, of this task."""
    return next(
        cell
        for cell in notebook.cells
        if cell.metadata.get("minidl", {}).get("role") == role
        and cell.metadata["minidl"].get("task", "") == task
    )


def write_answer(notebook, task, body):
    """Replace the body of an answer: its last line, which is the stub's."""
    answer = find(notebook, "answer", task)
    lines = answer.source.splitlines()
    answer.source = "\n".join(lines[:2] + [body if body.startswith(" ") else "    " + body])


def submission(learner="Ada", **bodies):
    """A filled-in exercise: submission("Ada", shift="return x"); other answers stay stubs."""
    notebook = exercise()
    find(notebook, "name").source = f"learner = {learner!r}"
    for name, body in bodies.items():
        write_answer(notebook, f"90-{name}", RIGHT[f"90-{name}"] if body is True else body)
    return notebook


def data(notebook):
    """The bytes of a notebook, as an editor writes them."""
    return json.dumps(notebook, indent=1).encode()


def course(folder):
    """Write the sample course below `folder`; returns (solutions, exercises)."""
    for name, notebook in (("solutions", solutions()), ("exercises", exercise())):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "90_sample.ipynb").write_bytes(data(notebook))
    return folder / "solutions", folder / "exercises"
