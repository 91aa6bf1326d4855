"""What of a submission is graded? The answers and the name. Everything else is the master's.

    submission            master                assembled
      name      ------->    name                  learner = "Ada"
      setup                 setup     -------->   setup
      answer    ------->    answer                the learner's; the stub if there is none
      check                 check     -------->   check       edited ones are reported and ignored
      added                 hidden    -------->   hidden      in the judge's copy only

Cells are found by the task in their metadata; if an editor has dropped that, by their id, and then
by the functions that they define. Doubled, moved, deleted and added cells lead to a note, never to
an error.
"""

import re
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from minidl_grader.course.cells import TRUSTED, answers, bound_names, role, task, tree_of
from minidl_grader.course.release import as_notebook, handed_out, id_of, metadata_of, stub_of
from minidl_grader.inbox.submission import name_in, submitted_cells

LONGEST = 100_000  # characters of one answer
# Comments that steer nbval.
DIRECTIVES = re.compile(r"^(\s*#+\s*)(NBVAL_|PYTEST_VALIDATE_)", re.MULTILINE)
UNNAMED = "the variant of no name was graded."


@dataclass
class Assembled:
    """A submission put together with its master.

    judged   the notebook for the judge, with hidden checks
    shown    the notebook for the kernel, without them
    learner  the name in the submission, "" if there is none
    missing  tasks without a cell
    refusal  why nothing of it counts; "" if something does
    """

    judged: Any = None
    shown: Any = None
    learner: str = ""
    missing: list = field(default_factory=list)
    refusal: str = ""
    notes: list = field(default_factory=list)


def assemble(data, master, name, course=None):
    """Put the answers in `data`, the bytes of a submission, into the exercise `name`.

    course: {exercise: its master} of the other exercises, to recognise a notebook of one of them.
    Raises Unreadable.
    """
    parts = submitted_cells(data)
    other = exercise_of(parts, {**(course or {}), name: master})
    if other and other != name:
        return Assembled(
            refusal=f"This is the notebook of exercise {other}, not of {name}."
            f" Hand in {name}.ipynb."
        )
    taken, notes = matched(parts, master)
    if not taken:
        return Assembled(refusal=f"None of the tasks of {name} is in this notebook.")
    learner, name_notes = learner_in(parts)
    missing = [one for one in answers(master) if one not in taken]
    notes = name_notes + notes
    notes += [f"The cell of task {one} is missing: it counts as not done." for one in missing]
    notes += differences(parts, master, taken)
    sources = {one: prepared(part, notes) for one, part in taken.items()}
    judged = put_in(master, name, learner, sources)
    shown = deepcopy(judged)
    shown.cells = [cell for cell in shown.cells if role(cell) != "hidden"]
    return Assembled(judged, shown, learner, missing, notes=notes)


def exercise_of(parts, course):
    """The exercise of {exercise: master} that has most tasks in a submission; "" if none has any.

    Tasks in metadata and ids count first, then the names of functions.
    """
    tasks = set()
    names = set()
    for part in parts:
        tasks.add(part.task)
        if part.id.endswith("-answer"):
            tasks.add(part.id.removesuffix("-answer"))
        if part.code:
            names.update(bound_names(part.source))
    best = ""
    most = (0, 0)
    for exercise, master in course.items():
        asked = answers(master)
        functions = {name for cell in asked.values() for name in bound_names(cell.source)}
        score = (len(tasks & set(asked)), len(names & functions))
        if score > most:
            best = exercise
            most = score
    return best


# --- Finding the answers --------------------------------------------------------------------------


def matched(parts, master):
    """({task: the part that answers it}, notes)."""
    taken = {}
    notes = []
    used = set()  # numbers of the parts that answer a task
    code = [part for part in parts if part.code]
    for one, cell in answers(master).items():
        wanted = set(bound_names(cell.source))
        marked = [part for part in parts if part.role == "answer" and part.task == one]
        found = [part for part in marked if part.code]
        if not found:
            found = [part for part in code if not part.task and part.id == f"{one}-answer"]
        if not found:
            free = [part for part in code if not part.role and part.number not in used]
            found = [part for part in free if wanted & set(bound_names(part.source))]
            if found:
                notes.append(
                    f"The answer to {one} was recognised by what it defines,"
                    f" in cell {found[0].number}: its metadata were lost."
                )
        if not found:
            if marked:
                notes.append(
                    f"The answer to {one} stands in a text cell (cell {marked[0].number}),"
                    " which does not run."
                )
            continue
        whole = [part for part in found if wanted <= set(bound_names(part.source))]
        taken[one] = (whole or found)[0]
        if len(found) > 1:
            number = taken[one].number
            notes.append(f"Task {one} has {len(found)} answer cells: cell {number} counts.")
        used.update(part.number for part in found)
    return taken, notes


def learner_in(parts):
    """(the name of the learner, notes)."""
    cells = []
    for part in parts:
        is_name = part.role == "name" or (not part.role and name_in(part.source) is not None)
        if part.code and is_name:
            cells.append(part)
    if not cells:
        return "", [f"The cell with your name is missing: {UNNAMED}"]
    names = [name_in(part.source) for part in cells]
    names = [name for name in names if name is not None]
    if not names:
        return "", [f'The name cell is not learner = "your name" any more: {UNNAMED}']
    notes = []
    if not names[0]:
        notes.append(f"No name was written into the first cell: {UNNAMED}")
    if len(cells) > 1:
        notes.append(f"There are {len(cells)} name cells: the first counts.")
    return names[0], notes


def differences(parts, master, taken):
    """Notes on what does not count: edited and deleted checks, added cells, tags."""
    checks = {
        task(cell): handed_out(cell, number).strip()
        for number, cell in enumerate(master.cells)
        if role(cell) == "check"
    }
    ours = {cell.source.strip() for cell in master.cells} | set(checks.values())
    theirs = {part.source.strip() for part in parts}
    used = {part.number for part in taken.values()}
    checked = {part.task for part in parts if part.role == "check"}
    edited = []
    added = []
    for part in parts:
        text = part.source.strip()
        if text in ours:
            continue
        if part.role in TRUSTED:
            edited.append(part.number)
        is_free = part.code and not part.role and part.number not in used
        if is_free and text and name_in(part.source) is None:
            added.append(part.number)
    deleted = [one for one, text in checks.items() if one not in checked and text not in theirs]
    tagged = [part.number for part in parts if part.tagged and part.number in used]
    notes = []
    if edited:
        cells = cells_in_words(edited)
        notes.append(f"Edited checks were ignored: {cells}. The original ones were used.")
    if deleted:
        notes.append(f"Checks that were not in the notebook were put back: {', '.join(deleted)}.")
    if added:
        notes.append(f"Cells that you added do not count: {cells_in_words(added)}.")
    if tagged:
        notes.append(f"Tags on answer cells were dropped: {cells_in_words(tagged)}.")
    return notes


def cells_in_words(numbers):
    """ "cell 3" or "cells 3, 5, 8 and 4 more" """
    words = "cells " if len(numbers) > 1 else "cell "
    words += ", ".join(map(str, numbers[:8]))
    if len(numbers) > 8:
        words += f" and {len(numbers) - 8} more"
    return words


# --- Putting them in ------------------------------------------------------------------------------


def prepared(part, notes):
    """The source of an answer as it is executed: without IPython's lines and orders to nbval.

    None if it is too long. Says in `notes` what was left out.
    """
    source = part.source
    if len(source) > LONGEST:
        notes.append(
            f"Cell {part.number} has {len(source)} characters, more than {LONGEST}:"
            " it was left out."
        )
        return None
    if tree_of(source) is None:
        plain = re.sub(r"^(\s*)([%!].*)$", r"\1# \2", source, flags=re.MULTILINE)
        if plain != source and tree_of(plain) is not None:
            notes.append(f"Lines that begin with % or ! were left out of cell {part.number}.")
            source = plain
    return DIRECTIVES.sub(r"\1(\2)", source)


def put_in(master, name, learner, sources):
    """The master with this name and these answers, {task: source}.

    The metadata of an answer cell say which names the solution defines.
    """
    cells = deepcopy(master.cells)
    seen = {}  # id -> how many cells had it so far
    for number, cell in enumerate(cells):
        cell.metadata = metadata_of(cell)
        cell.id = id_of(cell, number, name)
        # Several hidden cells of a task get an id each.
        seen[cell.id] = seen.get(cell.id, 0) + 1
        if seen[cell.id] > 1:
            cell.id = f"{cell.id[:60]}-{seen[cell.id]}"
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
        if role(cell) == "name":
            cell.source = f"learner = {learner!r}"
        elif role(cell) == "answer":
            cell.metadata["minidl"]["defines"] = list(bound_names(cell.source))
            given = sources.get(task(cell))
            cell.source = stub_of(cell.source) if given is None else given
    return as_notebook(cells, name)
