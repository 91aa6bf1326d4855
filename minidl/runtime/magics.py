"""%%ranks: a cell that runs on every rank, or on some.

    %%ranks            all ranks           %%ranks 0,2        ranks 0 and 2
    %%ranks 1-3        ranks 1, 2 and 3    %%ranks 0 --timeout 60

Names persist between such cells. `comm`, `rank` and `world_size` are defined; the last expression
is shown per rank. world.push(x=...) sends values there, world.pull("x") fetches them.
"""

import ast
import traceback

from minidl.errors import MinidlError
from minidl.runtime.words.sources import running_shell


def parse_line(line, world_size):
    """(ranks or None, timeout) of the magic's line; raises ValueError for any other line."""
    words = line.split()
    timeout = 30.0
    if "--timeout" in words:
        i = words.index("--timeout")
        try:
            timeout = float(words[i + 1])
        except (IndexError, ValueError):
            raise ValueError("--timeout needs a number of seconds: %%ranks --timeout 60") from None
        del words[i : i + 2]
    if not words:
        return None, timeout
    chosen = []
    for part in "".join(words).split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"%%ranks takes ranks such as 0,2 or 1-3, not {' '.join(words)!r}")
        chosen += range(int(first), int(last or first) + 1)
    for rank in chosen:
        if rank >= world_size:
            raise ValueError(
                f"rank {rank} does not exist: this world has ranks 0 to {world_size - 1}"
            )
    return chosen or None, timeout


def as_python(cell, shell):
    """The cell with its lines of % and ! as Python, which a rank refuses in words when it is there.

    A cell that is Python already stays as it is, and so does one with another mistake.
    """
    try:
        ast.parse(cell)
        return cell
    except SyntaxError:
        pass
    first = len(cell) - len(cell.lstrip("\n"))  # empty lines, which IPython would leave out
    transformed = "\n" * first + shell.transform_cell(cell)
    try:
        ast.parse(transformed)
        return transformed
    except SyntaxError:
        return cell


def ranks(line, cell):
    """The magic itself."""
    from minidl.runtime.world import World

    shell = running_shell()
    world = World.current
    if world is None:
        raise MinidlError("%%ranks needs a world: run `world = World(4)` first")
    chosen, timeout = parse_line(line, world.world_size)
    file = f"In [{shell.execution_count}]"
    source = "\n" + as_python(cell, shell)  # the magic's own line is line 1
    try:
        ast.parse(source, file)
    except SyntaxError as error:
        lines = traceback.format_exception_only(error)
        error._render_traceback_ = lambda: lines  # IPython shows this, not our frames
        raise
    world.cell(source, chosen, timeout, file)


def register():
    """Make %%ranks known, if this process runs cells."""
    shell = running_shell()
    if shell is not None:
        shell.register_magic_function(ranks, "cell", "ranks")
