"""How does the exercise come from the solution?

    solutions/02.ipynb                              exercises/02.ipynb
      def f(x, comm):                                 def f(x, comm):
          \"\"\"Every rank returns ...\"\"\"                    \"\"\"Every rank returns ...\"\"\"
          ### BEGIN SOLUTION                              raise NotImplementedError("not done yet")
          return comm.exchange(x, ...)
          ### END SOLUTION
      again("02-f", world_sizes=[5])                  (hidden: not there)

Lines of a region that begin with `#| ` are what stays in its place, where a task hands out something to mend or to
complete. The same solutions give the same bytes. What a learner could not work with is refused in words.
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
from minidl_grader.course.record import recorded_references

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
NOT_DONE = 'raise NotImplementedError("not done yet")'
MARK = re.compile(r"#+\s*(BEGIN|END)\s+SOLUTION|^\s*#\|", re.MULTILINE)
TELLING = 14  # a statement of a hidden cell that is shorter than this may stand elsewhere by chance


def release(master, name):
    """The exercise of a solutions notebook. Raises Unfit, naming the cell, where it would be of no use."""
    inspect(master)
    cells = []
    for number, cell in enumerate(master.cells):
        if role(cell) == "hidden":
            continue
        made = (
            v4.new_code_cell(handed_out(cell, number))
            if cell.cell_type == "code"
            else v4.new_markdown_cell(cell.source)
        )
        made.metadata, made.id = metadata_of(cell), id_of(cell, len(cells), name)
        cells.append(made)
    exercise = v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "minidl": {"exercise": name},
        },
    )
    exercise.nbformat, exercise.nbformat_minor = 4, 5
    keep_secret(master, exercise)
    nbformat.validate(exercise)
    return exercise


def handed_out(cell, number):
    """The source of a cell as the learner gets it."""
    if role(cell) == "answer":
        return stub_of(cell.source, where(cell, number))
    if role(cell) == "check":
        return without_hints(cell.source)[0]
    return re.sub(r"=.*", '= ""', cell.source, count=1) if role(cell) == "name" else cell.source


def where(cell, number):
    """How a message names a cell."""
    return f"cell {number}" + (
        f" ({role(cell)} of {task(cell)})"
        if task(cell)
        else f" ({role(cell)})"
        if role(cell)
        else ""
    )


def metadata_of(cell):
    """What stays of a cell's metadata. Cells that grading needs cannot be deleted by accident in JupyterLab."""
    kept = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
    if role(cell):
        kept["minidl"] = {"role": role(cell)} | ({"task": task(cell)} if task(cell) else {})
    return kept | (
        {"deletable": False} if role(cell) in ("name", "setup", "answer", "check") else {}
    )


def id_of(cell, position, name):
    """The same id in every release; it tells the task also where somebody's editor has dropped the metadata."""
    own = f"{task(cell)}-{role(cell)}" if task(cell) else f"{name.split('_')[0]}-at-{position:02d}"
    return re.sub(r"[^a-zA-Z0-9_-]", "-", own)[:64]


# --- Stubs -----------------------------------------------------------------------------------------------------


def stub_of(source, place="the cell"):
    """The source with its solution regions replaced. Raises Unfit if there is none, or if the stub is of no use."""
    lines, region, indent = [], None, ""
    for line in source.splitlines():
        text = line.strip()
        if text == BEGIN and region is None:
            region, indent = [], line[: len(line) - len(line.lstrip())]
        elif text == END and region is not None:
            lines += region or [indent + NOT_DONE]
            region = None
        elif text in (BEGIN, END):
            raise Unfit(f"{place}: {text} stands where it closes or opens nothing")
        elif region is None:
            lines.append(line)
        elif text.startswith("#|"):
            region.append(
                (line[: len(line) - len(line.lstrip())] + re.sub(r"^#\| ?", "", text)).rstrip()
            )
    if region is not None:
        raise Unfit(f"{place}: {BEGIN} without {END}")
    if BEGIN not in source:
        raise Unfit(f"{place}: it has no {BEGIN}, so the solution would be handed out")
    stub = "\n".join(lines)
    usable(source, stub, place)
    return stub


def usable(source, stub, place):
    """Raise Unfit for a stub that does not parse, raises when its cell runs, or defines other names than the solution."""
    solved, left = parsed(source, f"{place}: the solution"), parsed(stub, f"{place}: the stub")
    if any(isinstance(node, ast.Raise) for node in left.body):
        raise Unfit(
            f"{place}: a region outside of a function needs lines that begin with `#| `, else its cell cannot run"
        )
    if bound_names(stub) != bound_names(source):
        raise Unfit(
            f"{place}: the solution defines {', '.join(bound_names(source))}, the stub {', '.join(bound_names(stub)) or 'nothing'}"
        )
    head = lambda tree: [
        ast.dump(node.args) + str(ast.get_docstring(node))
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    ]
    if head(left) != head(solved):
        raise Unfit(f"{place}: signature or docstring of the stub differs from the solution's")


def parsed(source, what):
    """The syntax tree; raises Unfit where there is none."""
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise Unfit(f"{what} does not parse: {error.msg}, line {error.lineno}") from None


# --- What is refused -------------------------------------------------------------------------------------------


def inspect(master):
    """Raise Unfit for unknown roles, tasks that occur twice or are checked nowhere, and name cells that are no literal."""
    seen = {}
    for number, cell in enumerate(master.cells):
        place = where(cell, number)
        if role(cell) and (role(cell) not in ROLES or cell.cell_type != "code"):
            raise Unfit(f"{place}: a {cell.cell_type} cell cannot have the role {role(cell)!r}")
        if role(cell) in TASKED and not task(cell):
            raise Unfit(f"{place}: it names no task")
        if (
            role(cell) in ("answer", "check")
            and seen.setdefault((role(cell), task(cell)), number) != number
        ):
            raise Unfit(
                f"{place}: the task id {task(cell)} occurs twice, here and in cell {seen[role(cell), task(cell)]}"
            )
        if role(cell) != "answer" and MARK.search(cell.source):
            raise Unfit(f"{place}: marks of a solution stand outside an answer cell")
    tasks = lambda which: {name for kind, name in seen if kind == which}
    if tasks("answer") != tasks("check"):
        raise Unfit(
            f"each task needs one answer and one check: see {', '.join(sorted(tasks('answer') ^ tasks('check')))}"
        )
    names = with_role(master, "name")
    if len(names) != 1 or not re.fullmatch(
        r"learner\s*=\s*(\"[^\"\n]*\"|'[^'\n]*')\s*(#.*)?", names[0].source
    ):
        raise Unfit(
            'there must be one cell with the role "name", and it must be learner = "..." alone'
        )


def keep_secret(master, exercise):
    """Raise Unfit if a statement of a hidden cell, or a mark of a solution, stands in the exercise."""
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
    """The source of every statement that holds no other one, imports left out."""
    for node in ast.walk(parsed(source, "a hidden cell")):
        simple = isinstance(node, ast.stmt) and not hasattr(node, "body")
        if simple and not isinstance(node, (ast.Import, ast.ImportFrom)):
            yield ast.get_source_segment(source, node)


def squeezed(source):
    """The source without white space: a formatter moves line breaks, and nothing else."""
    return "".join(source.split())


# --- Files -----------------------------------------------------------------------------------------------------


def released(path, with_references=True):
    """{path below exercises/: bytes} of what the solutions at `path` give."""
    master = read_master(path)
    try:
        files = {path.name: (nbformat.writes(release(master, path.stem)) + "\n").encode()}
    except Unfit as reason:
        raise Unfit(f"{path.name}: {reason}") from None
    if with_references:
        hints = {task(cell): without_hints(cell.source)[1] for cell in with_role(master, "check")}
        recorded = json.dumps(
            recorded_references(master) | {"hints": hints},
            indent=None,
            sort_keys=True,
            separators=(",", ":"),
        )
        files[f".references/{path.stem}.json"] = (recorded + "\n").encode()
    return files


def differing(files, exercises=EXERCISES):
    """Those of these files that exercises/ does not hold, or holds otherwise."""
    return {
        name: data
        for name, data in files.items()
        if not (exercises / name).exists() or (exercises / name).read_bytes() != data
    }


def release_all(numbers=(), solutions=SOLUTIONS, exercises=EXERCISES, check=False):
    """Write, or only compare, the exercises; prints a line for each and returns the exit code."""
    code = 0
    for path in masters(numbers, solutions):
        behind = differing(released(path), exercises)
        if check:
            print(
                f"{path.name}: {'differs from its solutions: ' + ', '.join(behind) if behind else 'up to date'}"
            )
            code |= bool(behind)
            continue
        for name, data in behind.items():
            write_aside(exercises / name, data)
        print(f"{path.name}: {'written' if behind else 'was up to date'}")
    return code
