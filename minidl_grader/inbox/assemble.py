"""What of a submission is graded? The answers and the name. Everything else is the master's.

    submission            master                assembled
      name      ------->    name                  learner = "Ada"
      setup                 setup     -------->   setup
      answer    ------->    answer                the learner's; the stub where there is none
      check                 check     -------->   check                an edited one is reported and ignored
      added                 hidden    -------->   hidden               in the judge's copy only

Cells are found by the task in their metadata; where an editor has dropped that, by their id, and then by the
functions that they define. Doubled, moved, deleted and added cells lead to a note, never to an error.
"""

import re
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from minidl_grader.course.cells import TRUSTED, answers, bound_names, role, task, tree_of
from minidl_grader.course.release import handed_out, id_of, metadata_of, stub_of
from minidl_grader.inbox.submission import name_in, read

LONGEST = 100_000  # characters of one answer
DIRECTIVES = re.compile(
    r"^(\s*#+\s*)(NBVAL_|PYTEST_VALIDATE_)", re.MULTILINE
)  # comments that steer nbval


@dataclass
class Assembled:
    """A submission put together with its master.

    judged   the notebook for the judge, with hidden checks
    shown    the notebook for the kernel, without them
    learner  the name in the submission, "" if there is none
    missing  tasks of which there is no cell
    refusal  why nothing of it counts; "" if something does
    """

    judged: Any = None
    shown: Any = None
    learner: str = ""
    missing: list = field(default_factory=list)
    refusal: str = ""
    notes: list = field(default_factory=list)


def assemble(data, master, name, course=None):
    """Put the answers in `data`, the bytes of a submission, into the exercise `name`. Raises Unreadable.

    course: {exercise: its master} of the other exercises, so that a notebook of one of them is recognised
    """
    parts = read(data)
    other = exercise_of(parts, {**(course or {}), name: master})
    if other and other != name:
        return Assembled(
            refusal=f"This is the notebook of exercise {other}, not of {name}. Hand in {name}.ipynb."
        )
    taken, notes = matched(parts, master)
    if not taken:
        return Assembled(refusal=f"None of the tasks of {name} is in this notebook.")
    learner, about_name = learner_in(parts)
    made = Assembled(
        learner=learner,
        missing=[one for one in answers(master) if one not in taken],
        notes=about_name + notes,
    )
    made.notes += [
        f"The cell of task {one} is missing: it counts as not done." for one in made.missing
    ]
    made.notes += differences(parts, master, taken)
    sources = {one: prepared(part, made.notes) for one, part in taken.items()}
    made.judged = put_in(master, name, learner, sources)
    made.shown = deepcopy(made.judged)
    made.shown.cells = [cell for cell in made.shown.cells if role(cell) != "hidden"]
    return made


def exercise_of(parts, course):
    """Which of these exercises a submission belongs to: the one with most of its tasks in it; "" if none."""
    marks = {part.task for part in parts} | {
        part.id.removesuffix("-answer") for part in parts if part.id.endswith("-answer")
    }
    names = {bound for part in parts if part.code for bound in bound_names(part.source)}
    found = {
        one: (len(marks & set(answers(master))), len(names & functions(master)))
        for one, master in course.items()
    }
    best = max(found, key=lambda one: found[one], default="")
    return best if best and max(found[best]) else ""


def functions(master):
    """The names of all functions that are asked for."""
    return {bound for cell in answers(master).values() for bound in bound_names(cell.source)}


# --- Finding the answers ---------------------------------------------------------------------------------------


def matched(parts, master):
    """({task: the part that answers it}, notes)."""
    taken, notes, used = {}, [], set()
    for one, cell in answers(master).items():
        wanted = set(bound_names(cell.source))
        found = [part for part in parts if part.role == "answer" and part.task == one]
        texts, found = (
            [part for part in found if not part.code],
            [part for part in found if part.code],
        )
        found = found or [
            part for part in parts if part.code and not part.task and part.id == f"{one}-answer"
        ]
        if not found:
            found = [
                part
                for part in parts
                if part.code
                and not part.role
                and part.number not in used
                and wanted & set(bound_names(part.source))
            ]
            notes += (
                [
                    f"The answer to {one} was recognised by what it defines, in cell {found[0].number}: its metadata were lost."
                ]
                if found
                else []
            )
        if not found:
            notes += [
                f"The answer to {one} stands in a text cell (cell {part.number}), which does not run."
                for part in texts[:1]
            ]
            continue
        whole = next((part for part in found if wanted <= set(bound_names(part.source))), found[0])
        if len(found) > 1:
            notes.append(f"Task {one} has {len(found)} answer cells: cell {whole.number} counts.")
        taken[one] = whole
        used.update(part.number for part in found)
    return taken, notes


def learner_in(parts):
    """(the name of the learner, notes)."""
    cells = [
        part
        for part in parts
        if part.code
        and (part.role == "name" or (not part.role and name_in(part.source) is not None))
    ]
    if not cells:
        return "", ["The cell with your name is missing: the variant of no name was graded."]
    name = next(
        (name for name in map(name_in, [part.source for part in cells]) if name is not None), None
    )
    if name is None:
        return "", [
            'The name cell is not learner = "your name" any more: the variant of no name was graded.'
        ]
    notes = (
        []
        if name
        else ["No name was written into the first cell: the variant of no name was graded."]
    )
    return name, notes + (
        [f"There are {len(cells)} name cells: the first counts."] if len(cells) > 1 else []
    )


def differences(parts, master, taken):
    """Notes on what does not count: edited and deleted checks, added cells, tags."""
    notes, ours = (
        [],
        {cell.source.strip() for cell in master.cells}
        | {given.strip() for given in handed_out_checks(master).values()},
    )
    used = {part.number for part in taken.values()}
    edited = [
        part.number for part in parts if part.role in TRUSTED and part.source.strip() not in ours
    ]
    if edited:
        notes.append(
            "Edited checks were ignored: " + spelled(edited) + ". The original ones were used."
        )
    there = {(part.role, part.task) for part in parts}
    gone = [
        one
        for one, given in handed_out_checks(master).items()
        if ("check", one) not in there
        and not any(part.source.strip() == given.strip() for part in parts)
    ]
    if gone:
        notes.append(f"Checks that were not in the notebook were put back: {', '.join(gone)}.")
    added = [
        part.number
        for part in parts
        if part.code
        and not part.role
        and part.number not in used
        and part.source.strip()
        and part.source.strip() not in ours
        and name_in(part.source) is None
    ]
    if added:
        notes.append(f"Cells that you added do not count: {spelled(added)}.")
    tagged = [part.number for part in parts if part.tagged and part.number in used]
    if tagged:
        notes.append(f"Tags on answer cells were dropped: {spelled(tagged)}.")
    return notes


def handed_out_checks(master):
    """{task: the check as its exercise shows it}."""
    return {
        task(cell): handed_out(cell, number)
        for number, cell in enumerate(master.cells)
        if role(cell) == "check"
    }


def spelled(numbers):
    """ "cell 3" or "cells 3, 5, 8 and 4 more" """
    shown = ", ".join(map(str, numbers[:8])) + (
        f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    )
    return f"cell{'s' * (len(numbers) > 1)} {shown}"


# --- Putting them in -------------------------------------------------------------------------------------------


def prepared(part, notes):
    """The source of an answer as it is executed: without lines that are IPython's, and without orders to nbval."""
    source = part.source
    if len(source) > LONGEST:
        notes.append(
            f"Cell {part.number} has {len(source)} characters, more than {LONGEST}: it was left out."
        )
        return None
    if tree_of(source) is None:
        plain = re.sub(r"^(\s*)([%!].*)$", r"\1# \2", source, flags=re.MULTILINE)
        if plain != source and tree_of(plain) is not None:
            notes.append(f"Lines that begin with % or ! were left out of cell {part.number}.")
            source = plain
    return DIRECTIVES.sub(r"\1(\2)", source)


def put_in(master, name, learner, sources):
    """The master with this name and these answers; an answer cell says which names the solution defines."""
    whole = deepcopy(master)
    for number, cell in enumerate(whole.cells):
        cell.metadata, cell.id = metadata_of(cell), id_of(cell, number, name)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if role(cell) == "name":
            cell.source = f"learner = {learner!r}"
        elif role(cell) == "answer":
            cell.metadata["minidl"]["defines"] = list(bound_names(cell.source))
            given = sources.get(task(cell))
            cell.source = stub_of(cell.source) if given is None else given
    whole.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "minidl": {"exercise": name},
    }
    whole.nbformat, whole.nbformat_minor = 4, 5
    unique_ids(whole)
    return whole


def unique_ids(notebook):
    """Several hidden cells of a task have one id each."""
    seen = {}
    for cell in notebook.cells:
        seen[cell.id] = seen.get(cell.id, 0) + 1
        if seen[cell.id] > 1:
            cell.id = f"{cell.id[:60]}-{seen[cell.id]}"
