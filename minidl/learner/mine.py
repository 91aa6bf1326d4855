"""Your framework: how does a passed answer become part of the learner's own package?

    answer cell  --passed-->  work/mine/all_reduce.py  --take("all_reduce", else_=ring.all_reduce)-->  a later notebook

A kept module is complete: what the answer takes from other cells is written out above it, imports as imports and
plain values as values. Outside a folder that start.py has made nothing is kept.
"""

import ast
import builtins
import importlib.util
import os
import types
from pathlib import Path

WORK = "MINIDL_WORK"  # an environment variable that names the learner's folder, for unusual set-ups
MARK = ".minidl.json"  # start.py's note in it
PLAIN = (int, float, str, bool, bytes, type(None))


def home(start=None):
    """The learner's folder, `work/`: the nearest one above that start.py has made. None where there is none."""
    if os.environ.get(WORK):
        return Path(os.environ[WORK])
    start = Path.cwd() if start is None else Path(start)
    return next((folder for folder in (start, *start.parents) if (folder / MARK).exists()), None)


def folder():
    """work/mine, made if need be; None where nothing is kept."""
    work = home()
    if work is None:
        return None
    (work / "mine").mkdir(parents=True, exist_ok=True)
    return work / "mine"


def keep(task, fn, source):
    """Save a passed answer as work/mine/<name of the function>.py; returns the path, or None if it could not be kept."""
    place, name = folder(), getattr(fn, "__name__", "")
    if place is None or not name.isidentifier() or not source:
        return None
    try:
        text = module_text(task, source, fn.__globals__)
    except ValueError:
        return None
    path = place / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write(path, text)
    return path


def take(name, else_):
    """The learner's own `name` if it has passed its check, else `else_`. Prints which one it is."""
    place = folder()
    path = place / f"{name}.py" if place is not None else None
    if path is None or not path.exists():
        print(f"{name}: minidl's (your own joins here when its exercise is passed)")
        return else_
    spec = importlib.util.spec_from_file_location(f"mine_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print(f"{name}: your own, from mine/{name}.py")
    return getattr(module, name)


def module_text(task, source, names):
    """The text of a module that defines what the cell defines. Raises ValueError for what it cannot write out."""
    tree = ast.parse(source)
    bound = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    }
    bound |= {
        node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    bound |= {
        arg.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.arguments)
        for arg in (*node.args, *node.kwonlyargs, *node.posonlyargs)
    }
    bound |= {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    used = (
        {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        - bound
        - set(dir(builtins))
    )
    above = sorted(
        line for name in sorted(used) if name in names for line in [written(name, names[name])]
    )
    head = f'"""Your answer to {task}, kept because it passed its check."""\n\n'
    return head + "\n".join([*above, "", ""] if above else []) + source.rstrip() + "\n"


def written(name, value):
    """A line that gives `name` this value in another module."""
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__} as {name}" if value.__name__ != name else f"import {name}"
    module = getattr(value, "__module__", None)
    if (
        module
        and module != "__main__"
        and getattr(value, "__qualname__", "") == getattr(value, "__name__", None)
    ):
        return f"from {module} import {value.__name__}" + (
            f" as {name}" if value.__name__ != name else ""
        )
    if is_plain(value):
        return f"{name} = {value!r}"
    raise ValueError(f"{name}, a {type(value).__name__}, is made in another cell")


def is_plain(value):
    """A number, a text, None, or lists, tuples, sets and dicts of them."""
    if isinstance(value, dict):
        return all(is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(is_plain, value))
    return isinstance(value, PLAIN)


def write(path, text):
    """Write aside and rename, so that no half-written file is left."""
    aside = path.with_name(path.name + ".part")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
