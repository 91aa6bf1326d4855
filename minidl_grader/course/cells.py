"""What is each cell of an exercise for, and where do exercises lie?

    solutions/02_collectives.ipynb
      name      learner = "Ada"              who hands in; only this literal is taken from a submission
      setup     imports, oracles             the master's, executed by everybody
      answer    02-reduce-scatter            the learner's: the one kind of cell that is taken from a submission
      check     02-reduce-scatter            what is demanded, seen by the learner
      hidden    02-reduce-scatter            what is demanded beyond that, seen by the judge alone
      look      pictures and sliders         never needed for a point

The role and the task stand in the metadata of a cell, so cells are found wherever they were moved to.
"""

import ast
import functools
import hashlib
import os
import warnings
from pathlib import Path

import nbformat

from minidl.learner.notes import EXERCISES

SOLUTIONS = EXERCISES.parent / "solutions"
ROLES = ("name", "setup", "answer", "check", "hidden", "look")
TRUSTED = ("setup", "check", "hidden")  # code of the master that the judge executes
TASKED = ("answer", "check", "hidden")  # cells that belong to a task


class Unfit(Exception):
    """A solutions notebook, or what was asked for, cannot be used; the message says why."""


def masters(numbers=(), folder=SOLUTIONS):
    """The paths of the solutions whose names begin with one of `numbers`; all without numbers."""
    found = sorted(
        path
        for path in Path(folder).glob("*.ipynb")
        if not numbers or path.name.startswith(tuple(numbers))
    )
    if not found:
        raise Unfit(
            f"no notebook in {Path(folder).name}/ begins with {' or '.join(numbers)}"
            if numbers
            else f"{folder} holds no notebook"
        )
    return found


def read_master(path):
    """A solutions notebook; raises Unfit if it cannot be read."""
    try:
        return nbformat.reads(Path(path).read_text(encoding="utf-8"), as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise Unfit(f"{Path(path).name} cannot be read as a notebook: {error}") from None


def role(cell):
    """The role of a master's cell; "" for text and free code."""
    return cell.metadata.get("minidl", {}).get("role", "")


def task(cell):
    """The task of a master's cell; "" where it belongs to none."""
    return cell.metadata.get("minidl", {}).get("task", "")


def with_role(notebook, *roles):
    """The cells that have one of these roles, in order."""
    return [cell for cell in notebook.cells if role(cell) in roles]


def answers(notebook):
    """{task: its answer cell} of a master."""
    return {task(cell): cell for cell in with_role(notebook, "answer")}


def tree_of(source):
    """The syntax tree of somebody's source; None where it is not Python. Python's warnings about it are not ours to show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


@functools.lru_cache(maxsize=1024)
def bound_names(source):
    """The names that the top level of this source defines, in order; none where it is not Python."""
    tree, found = tree_of(source), []
    for node in tree.body if tree is not None else ():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            found += [
                name.id
                for target in node.targets
                for name in ast.walk(target)
                if isinstance(name, ast.Name)
            ]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(node.target.id)
    return tuple(dict.fromkeys(found))


def digest(*parts):
    """A fingerprint of texts and bytes."""
    whole = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "replace")
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()


def write_aside(path, data):
    """Write a file under another name and rename it, so that nobody ever sees half of it. Returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "replace"))
    os.replace(aside, path)
    return path
