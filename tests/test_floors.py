"""Imports point down only, and the two wings of floor 2 never import each other."""

import ast
from pathlib import Path

import minidl

PACKAGE = Path(minidl.__file__).parent
FLOORS = {
    "trace": 0,
    "errors": 0,
    "costs": 0,
    "comm": 1,
    "mailbox": 1,
    "plans": 1,
    "collectives": 2,
    "parallel": 2,
    "server": 2,
    "lean": 2,
    "resilience": 2,
    "frontier": 2,
    "planner": 2,
    "zoo": 2,
    "runtime": 2,
    "viz": 3,
    "grading": 3,
    "doctor": 4,
    "cli": 4,
    "__init__": 4,
}
CONCEPTS = {"collectives", "parallel", "server", "lean", "resilience", "frontier", "planner", "zoo"}


def room(module):
    """minidl.runtime.world -> "runtime"."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports():
    """(importing module, imported module) of the whole package, from the syntax trees."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(["minidl", *path.relative_to(PACKAGE).with_suffix("").parts])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: imports are absolute"
                yield module, node.module
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield module, alias.name


def test_every_room_has_a_floor():
    rooms = {
        path.stem if path.is_file() else path.name
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }
    assert rooms <= set(FLOORS), f"give these a floor: {rooms - set(FLOORS)}"


def test_imports_point_down():
    wrong = [
        (a, b)
        for a, b in imports()
        if b.split(".")[0] == "minidl" and FLOORS[room(b)] > FLOORS[room(a)]
    ]
    assert not wrong


def test_concepts_and_machinery_never_meet():
    for importer, imported in imports():
        if imported.split(".")[0] != "minidl":
            continue
        pair = {room(importer), room(imported)}
        assert not ("runtime" in pair and pair & CONCEPTS), f"{importer} imports {imported}"


def test_the_contract_knows_no_backend():
    for importer, imported in imports():
        if FLOORS[room(importer)] <= 1 or room(importer) in CONCEPTS:
            assert (
                not imported.startswith(
                    ("torch.distributed", "multiprocessing", "socket", "plotly")
                )
                or importer == "minidl.collectives.native"
            ), f"{importer} imports {imported}"


def test_the_checks_above_saw_the_package():
    seen = set(imports())
    assert ("minidl.comm", "torch") in seen and (
        "minidl.runtime.words.sources",
        "minidl.trace",
    ) in seen
