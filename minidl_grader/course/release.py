"""How does the exercise come from the solution?

    solutions/02.ipynb                              exercises/02.ipynb
      def f(x, comm):                                 def f(x, comm):
          \"\"\"Every rank returns ...\"\"\"                    \"\"\"Every rank returns ...\"\"\"
          ### BEGIN SOLUTION                              raise NotImplementedError("not done yet")
          return comm.exchange(x, ...)
          ### END SOLUTION
      again("02-f", world_sizes=[5])                  (hidden: not there)

Lines of a region that begin with `#| ` replace it, where a task hands out something to repair or to
complete. The same solutions give the same bytes. What a learner could not work with raises Unfit.
"""

import ast
import json
import re

import nbformat
from nbformat import v4

from minidl_grader.course.cells import (
    EXERCISES,
    ROLES,
    SOLUTIONS,
    TASKED,
    Unfit,
    bound_names,
    masters,
    read_master,
    role,
    task,
    with_role,
    write_aside,
)
from minidl_grader.course.hints import without_hints
from minidl_grader.course.right_answers import recorded_references

BEGIN = "### BEGIN SOLUTION"
END = "### END SOLUTION"
NOT_DONE = 'raise NotImplementedError("not done yet")'
MARK = re.compile(r"#+\s*(BEGIN|END)\s+SOLUTION|^\s*#\|", re.MULTILINE)
NAME_CELL = re.compile(r"learner\s*=\s*(\"[^\"\n]*\"|'[^'\n]*')\s*(#.*)?")
TELLING = 14  # a statement of a hidden cell that is shorter may stand elsewhere by chance


def release(master, name):
    """The exercise of a solutions notebook. Raises Unfit, naming the cell, if it would not work."""
    inspect(master)
    cells = []
    for number, cell in enumerate(master.cells):
        if role(cell) == "hidden":
            continue
        if cell.cell_type == "code":
            made = v4.new_code_cell(handed_out(cell, number))
        else:
            made = v4.new_markdown_cell(cell.source)
        made.metadata = metadata_of(cell)
        made.id = id_of(cell, len(cells), name)
        cells.append(made)
    exercise = as_notebook(cells, name)
    keep_secret(master, exercise)
    nbformat.validate(exercise)
    return exercise


def as_notebook(cells, name):
    """A notebook of the exercise `name` with these cells."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {
        "kernelspec": kernel,
        "language_info": {"name": "python"},
        "minidl": {"exercise": name},
    }
    return nbformat.from_dict(
        {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    )


def handed_out(cell, number):
    """The source of a cell as the learner gets it."""
    if role(cell) == "answer":
        return stub_of(cell.source, cell_in_words(cell, number))
    if role(cell) == "check":
        return without_hints(cell.source)[0]
    if role(cell) == "name":
        return re.sub(r"=.*", '= ""', cell.source, count=1)
    return cell.source


def cell_in_words(cell, number):
    """How a message names a cell: "cell 4 (answer of 02-shift)"."""
    if task(cell):
        return f"cell {number} ({role(cell)} of {task(cell)})"
    return f"cell {number} ({role(cell)})" if role(cell) else f"cell {number}"


def metadata_of(cell):
    """The metadata that a cell keeps.

    JupyterLab does not let a learner delete the cells that grading needs.
    """
    kept = {}
    if cell.metadata.get("tags"):
        kept["tags"] = cell.metadata["tags"]
    if role(cell):
        kept["minidl"] = {"role": role(cell)}
        if task(cell):
            kept["minidl"]["task"] = task(cell)
    if role(cell) in ("name", "setup", "answer", "check"):
        kept["deletable"] = False
    return kept


def id_of(cell, position, name):
    """The same id in every release. It names the task, for editors that drop the metadata."""
    if task(cell):
        own = f"{task(cell)}-{role(cell)}"
    else:
        own = f"{name.split('_')[0]}-at-{position:02d}"
    return re.sub(r"[^a-zA-Z0-9_-]", "-", own)[:64]


# --- Stubs ----------------------------------------------------------------------------------------


def stub_of(source, place="the cell"):
    """The source with its solution regions replaced.

    Raises Unfit if it has none, or if the stub would not work.
    """
    lines = []
    region = None  # the lines that replace the open region
    for line in source.splitlines():
        text = line.strip()
        indent = line[: len(line) - len(line.lstrip())]
        if text == BEGIN and region is None:
            region = []
            begin_indent = indent
        elif text == END and region is not None:
            lines += region or [begin_indent + NOT_DONE]
            region = None
        elif text in (BEGIN, END):
            raise Unfit(f"{place}: {text} stands where it closes or opens nothing")
        elif region is None:
            lines.append(line)
        elif text.startswith("#|"):
            replacement = indent + re.sub(r"^#\| ?", "", text)
            region.append(replacement.rstrip())
    if region is not None:
        raise Unfit(f"{place}: {BEGIN} without {END}")
    if BEGIN not in source:
        raise Unfit(f"{place}: it has no {BEGIN}, so the solution would be handed out")
    stub = "\n".join(lines)
    check_stub(source, stub, place)
    return stub


def check_stub(source, stub, place):
    """Raise Unfit for a stub that does not parse or run, or that defines other names."""
    solved = parsed(source, f"{place}: the solution")
    left = parsed(stub, f"{place}: the stub")
    if any(isinstance(node, ast.Raise) for node in left.body):
        raise Unfit(
            f"{place}: a region outside of a function needs lines that begin with `#| `,"
            " else its cell cannot run"
        )
    wanted = ", ".join(bound_names(source))
    given = ", ".join(bound_names(stub))
    if given != wanted:
        raise Unfit(f"{place}: the solution defines {wanted}, the stub {given or 'nothing'}")
    if heads(left) != heads(solved):
        raise Unfit(f"{place}: signature or docstring of the stub differs from the solution's")


def heads(tree):
    """Signature and docstring of each function."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [(ast.dump(node.args), ast.get_docstring(node)) for node in functions]


def parsed(source, what):
    """The syntax tree; raises Unfit if there is none."""
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise Unfit(f"{what} does not parse: {error.msg}, line {error.lineno}") from None


# --- What is refused ------------------------------------------------------------------------------


def inspect(master):
    """Raise Unfit for a solutions notebook that would not make an exercise.

    That is one with unknown roles, with tasks that occur twice or lack an answer or a check, with
    marks of solutions in other cells, or without one name cell that is a literal.
    """
    seen = {}  # (role, task) -> number of its cell
    for number, cell in enumerate(master.cells):
        place = cell_in_words(cell, number)
        kind = role(cell)
        if kind and (kind not in ROLES or cell.cell_type != "code"):
            raise Unfit(f"{place}: a {cell.cell_type} cell cannot have the role {kind!r}")
        if kind in TASKED and not task(cell):
            raise Unfit(f"{place}: it names no task")
        if kind in ("answer", "check"):
            first = seen.setdefault((kind, task(cell)), number)
            if first != number:
                raise Unfit(
                    f"{place}: the task id {task(cell)} occurs twice, here and in cell {first}"
                )
        if kind != "answer" and MARK.search(cell.source):
            raise Unfit(f"{place}: marks of a solution stand outside an answer cell")
    answered = {name for kind, name in seen if kind == "answer"}
    checked = {name for kind, name in seen if kind == "check"}
    if answered != checked:
        names = ", ".join(sorted(answered ^ checked))
        raise Unfit(f"each task needs one answer and one check: see {names}")
    names = with_role(master, "name")
    if len(names) != 1 or not NAME_CELL.fullmatch(names[0].source):
        raise Unfit(
            'there must be one cell with the role "name", and it must be learner = "..." alone'
        )


def keep_secret(master, exercise):
    """Raise Unfit if the exercise has a statement of a hidden cell, or a mark of a solution."""
    shown = squeezed("".join(cell.source for cell in exercise.cells))
    for cell in with_role(master, "hidden"):
        for statement in simple_statements(cell.source):
            if len(statement) >= TELLING and squeezed(statement) in shown:
                line = statement.splitlines()[0]
                raise Unfit(
                    f"a line of the hidden cell of {task(cell)} stands in the exercise, too: {line}"
                )
    for number, cell in enumerate(exercise.cells):
        if MARK.search(cell.source) or role(cell) == "hidden":
            raise Unfit(f"cell {number} of the exercise still shows marks of a solution")


def simple_statements(source):
    """The source of every statement that contains no other one, imports left out."""
    for node in ast.walk(parsed(source, "a hidden cell")):
        simple = isinstance(node, ast.stmt) and not hasattr(node, "body")
        if simple and not isinstance(node, (ast.Import, ast.ImportFrom)):
            yield ast.get_source_segment(source, node)


def squeezed(source):
    """The source without white space: a formatter moves line breaks, and nothing else."""
    return "".join(source.split())


# --- Files ----------------------------------------------------------------------------------------


def release_files(path):
    """{path below exercises/: bytes} of what the solutions at `path` give."""
    master = read_master(path)
    try:
        exercise = release(master, path.stem)
    except Unfit as reason:
        raise Unfit(f"{path.name}: {reason}") from None
    hints = {task(cell): without_hints(cell.source)[1] for cell in with_role(master, "check")}
    recorded = recorded_references(master) | {"hints": hints}
    recorded_text = json.dumps(recorded, sort_keys=True, separators=(",", ":"))
    return {
        path.name: (nbformat.writes(exercise) + "\n").encode(),
        f".references/{path.stem}.json": (recorded_text + "\n").encode(),
    }


def differing(files, exercises=EXERCISES):
    """Those of these files that exercises/ lacks, or has with other bytes."""
    behind = {}
    for name, data in files.items():
        path = exercises / name
        if not path.exists() or path.read_bytes() != data:
            behind[name] = data
    return behind


def release_all(numbers=(), solutions=SOLUTIONS, exercises=EXERCISES, check=False):
    """Write, or only compare, the exercises; prints a line for each and returns the exit code."""
    code = 0
    for path in masters(numbers, solutions):
        behind = differing(release_files(path), exercises)
        if not behind:
            print(f"{path.name}: up to date")
        elif check:
            print(f"{path.name}: differs from its solutions: {', '.join(behind)}")
            code = 1
        else:
            for name, data in behind.items():
                write_aside(exercises / name, data)
            print(f"{path.name}: written")
    return code
