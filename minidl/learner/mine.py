"""How does a passed answer become part of the learner's own package?

    answer cell  --passed-->  work/mine/all_reduce.py  --take("all_reduce", else_=...)-->  notebook

A kept module is complete: what the answer uses of other cells is written out above it, imports as
imports and plain values as values. Outside a folder that start.py has made, nothing is kept.
"""

import builtins
import importlib.util
import os
import symtable
import types
from contextlib import suppress
from pathlib import Path

WORK = "MINIDL_WORK"  # an environment variable that names the learner's folder, for unusual set-ups
MARK = ".minidl.json"  # start.py writes this file into the learner's folder
PLAIN = (int, float, str, bool, bytes, type(None))


def home(start=None):
    """The learner's folder, `work/`: the nearest above `start` that start.py has made, or None."""
    if os.environ.get(WORK):
        return Path(os.environ[WORK])
    start = Path(start or Path.cwd())
    for folder in (start, *start.parents):
        if (folder / MARK).exists():
            return folder
    return None


def kept_folder():
    """work/mine, created if need be; None outside a learner's folder."""
    work = home()
    if work is None:
        return None
    (work / "mine").mkdir(parents=True, exist_ok=True)
    return work / "mine"


def keep_answer(task, fn, source):
    """Save a passed answer as work/mine/<name of the function>.py.

    Keeps nothing outside a learner's folder, and no answer that cannot stand alone in a file.
    """
    folder = kept_folder()
    name = getattr(fn, "__name__", "")
    if folder is not None and name.isidentifier() and source:
        # An answer that needs a tensor of another cell cannot stand alone.
        with suppress(ValueError):
            text = _module_text(task, source, fn.__globals__)
            write_whole(folder / f"{name}.py", text)


def take(name, else_):
    """The learner's own `name` if it has passed its check, else `else_`. Prints which one it is."""
    folder = kept_folder()
    if folder is None or not (folder / f"{name}.py").exists():
        print(f"{name}: minidl's (your own joins here when its exercise is passed)")
        return else_
    # Under a name of its own: learners' files are on no import path.
    path = folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"mine_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print(f"{name}: your own, from mine/{name}.py")
    return getattr(module, name)


def _module_text(task, source, names):
    """The text of a module that defines what the cell defines.

    names: the globals of the cell. Raises ValueError for a value that cannot be written as source.
    """
    used = _names_from_outside(source) & names.keys() - vars(builtins).keys()
    above = sorted(_definition(name, names[name]) for name in used)
    text = f'"""Your answer to {task}, kept because it passed its check."""\n\n'
    for line in above:
        text += f"{line}\n"
    if above:
        text += "\n"
    return text + source.rstrip() + "\n"


def _names_from_outside(source):
    """The global names that a source uses and does not define."""
    used = set()
    defined = set()
    top = symtable.symtable(source, "<answer>", "exec")
    # Functions within functions have symbol tables of their own.
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        # At the top, names that are assigned or imported; below, names that no function binds.
        for symbol in table.get_symbols():
            if table is top and (symbol.is_assigned() or symbol.is_imported()):
                defined.add(symbol.get_name())
            elif table is top or symbol.is_global():
                used.add(symbol.get_name())
    return used - defined


def _definition(name, value):
    """A line of source that gives `name` this value in another module."""
    if isinstance(value, types.ModuleType):
        return _import_line(f"import {value.__name__}", value.__name__, name)
    # A function made inside another one has no address to import it from.
    module = getattr(value, "__module__", None)
    own_name = getattr(value, "__name__", None)
    nested = getattr(value, "__qualname__", "") != own_name
    # A function or class of a module is imported from where it was defined.
    if module and module != "__main__" and not nested:
        return _import_line(f"from {module} import {own_name}", own_name, name)
    if _is_plain(value):
        return f"{name} = {value!r}"
    raise ValueError(f"{name}, a {type(value).__name__}, is made in another cell")


def _import_line(statement, own_name, name):
    return statement if name == own_name else f"{statement} as {name}"


def _is_plain(value):
    """A number, a string, None, or lists, tuples, sets and dicts of them."""
    if isinstance(value, dict):
        return _is_plain([*value.keys(), *value.values()])
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN)


def write_whole(path, text):
    """Write to another name and rename, so that no half-written file is left."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
