"""What is each cell of an exercise for, and where are the notebooks?

    solutions/02_collectives.ipynb
      name      learner = "Ada"        whose work it is; a submission gives only this literal
      setup     imports, oracles       the instructor's; every copy of the notebook runs it
      answer    02-reduce-scatter      the learner's; the only kind of cell taken from a submission
      check     02-reduce-scatter      what is demanded, visible to the learner
      hidden    02-reduce-scatter      what is demanded beyond that, visible to the judge only
      look      pictures, sliders      never needed for a point

Role and task are stored in the metadata of a cell, so a cell is found wherever it has been moved.
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
    """A solutions notebook, or a request, cannot be used; the message says why."""


def masters(numbers=(), folder=SOLUTIONS):
    """The paths of the solutions whose names begin with one of `numbers`; of all, without numbers.

    Raises Unfit if there is none.
    """
    paths = sorted(Path(folder).glob("*.ipynb"))
    found = [p for p in paths if not numbers or p.name.startswith(tuple(numbers))]
    if not found and numbers:
        wanted = " or ".join(numbers)
        raise Unfit(f"no notebook in {Path(folder).name}/ begins with {wanted}")
    if not found:
        raise Unfit(f"{folder} holds no notebook")
    return found


def read_master(path):
    """A solutions notebook; raises Unfit if it cannot be read."""
    try:
        return nbformat.reads(Path(path).read_text(encoding="utf-8"), as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise Unfit(f"{Path(path).name} cannot be read as a notebook: {error}") from None


def role(cell):
    """The role of a master's cell; "" for text and other code."""
    return cell.metadata.get("minidl", {}).get("role", "")


def task(cell):
    """The task of a master's cell; "" if it belongs to none."""
    return cell.metadata.get("minidl", {}).get("task", "")


def with_role(notebook, *roles):
    """The cells that have one of these roles, in order."""
    return [cell for cell in notebook.cells if role(cell) in roles]


def answers(notebook):
    """{task: its answer cell} of a master."""
    return {task(cell): cell for cell in with_role(notebook, "answer")}


def tree_of(source):
    """The syntax tree of a source, without Python's warnings; None if it is not Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


@functools.lru_cache(maxsize=1024)
def bound_names(source):
    """The names that the top level of this source defines, in order; none if it is not Python."""
    tree = tree_of(source)
    names = []
    for node in tree.body if tree is not None else ():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                names += [part.id for part in ast.walk(target) if isinstance(part, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return tuple(dict.fromkeys(names))


def digest(*parts):
    """A fingerprint of strings and bytes, which depends on where each of them ends."""
    whole = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "replace")
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()


def write_aside(path, data):
    """Write to another name and rename, so that no half-written file is seen. Returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "replace"))
    os.replace(aside, path)
    return path
