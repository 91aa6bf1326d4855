"""The house keeps its order: imports point down and never in a circle, one name stands for one
thing.

Read from the syntax trees, so imports inside functions count, too.
"""

import ast
from collections import defaultdict
from pathlib import Path

import minidl
import minidl_grader

PACKAGES = [Path(package.__file__).parent for package in (minidl, minidl_grader)]

# Learners import both: minidl.parallel.data trains, minidl.zoo.data is what is trained on.
SHARED_FILES = {"data", "__init__", "__main__"}

# A room or a file of `minidl`, and the floor on which it lies. What stands on floor 4 may use
# everything.
FLOORS = {
    "trace": 0,
    "errors": 0,
    "costs": 0,
    "comm": 1,
    "plans": 1,
    "collectives": 2,
    "parallel": 2,
    "zoo": 2,
    "runtime": 2,
    "viz": 3,
    "check": 3,
    "learner": 3,
    "minidl": 4,
    "cli": 4,
    "__main__": 4,
}
CONCEPTS = {"collectives", "parallel", "zoo"}
GRADER = "minidl_grader"

# Rooms within a room, lowest first: each imports those before it only.
INSIDE = {
    "minidl.runtime": ["words", "metering", "gpu", "comms", "processes", "virtual"],
    "minidl.viz": ["drawing", "reading", "pictures"],
    "minidl_grader": ["course", "judge", "inbox"],
}

# The yardstick compares ours with the backend's own collectives; processes/ is where a backend is
# used.
TORCH_DISTRIBUTED = ("minidl.runtime.processes.", "minidl.collectives.native")
OUTSIDE = ("torch.distributed", "multiprocessing", "socket", "plotly")

# The same operation has the same name in every algorithm, and so has its textbook version and its
# cost. The same command has the same name in every program.
SHARED_NAMES = {
    "all_gather",
    "all_reduce",
    "all_to_all",
    "barrier",
    "broadcast",
    "gather",
    "reduce",
    "reduce_scatter",
    "scatter",
    "textbook_all_gather",
    "textbook_all_reduce",
    "textbook_reduce_scatter",
    "halving_doubling_all_reduce",
    "main",
    "add_commands",
}


def modules():
    """{dotted name: path} of every module of both packages."""
    found = {}
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            found[".".join(parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imports():
    """(importing module, imported module) pairs; `from package import module` names the module."""
    for importer, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{importer}: imports are absolute"
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield importer, whole if whole in MODULES else node.module
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield importer, alias.name


IMPORTS = sorted(set(imports()))
OURS = [(importer, imported) for importer, imported in IMPORTS if imported in MODULES]


def room(module):
    """minidl.runtime.world -> "runtime"; minidl_grader.judge.judge -> "minidl_grader"."""
    package, *parts = module.split(".")
    return parts[0] if package == "minidl" and parts else package


def floor(module):
    return 5 if room(module) == GRADER else FLOORS[room(module)]


def test_every_room_has_a_floor():
    rooms = {room(module) for module in MODULES}
    assert rooms == set(FLOORS) | {GRADER}


def test_imports_point_down():
    # minidl/__init__.py names what a learner imports, so importing the package itself is no way up.
    wrong = [(a, b) for a, b in OURS if b != "minidl" and floor(b) > floor(a)]
    assert not wrong


def test_rooms_within_a_room_import_downwards():
    for outer, order in INSIDE.items():
        prefix = f"{outer}."
        for importer, imported in OURS:
            if importer.startswith(prefix) and imported.startswith(prefix):
                one = importer.removeprefix(prefix).split(".")[0]
                other = imported.removeprefix(prefix).split(".")[0]
                if (
                    one in order
                ):  # else it is a door, such as runtime/world.py, and may use all rooms
                    assert other in order, f"{importer} imports the door {imported}"
                    assert order.index(other) <= order.index(one), f"{importer} imports {imported}"


def test_no_module_imports_itself_by_a_detour():
    arrows = defaultdict(set)
    for importer, imported in OURS:
        if imported != importer:
            arrows[importer].add(imported)
    for start in MODULES:
        seen = set()
        todo = list(arrows[start])
        while todo:
            module = todo.pop()
            if module not in seen:
                seen.add(module)
                todo += arrows[module]
        circle = [module for module in seen if start in arrows[module]]
        assert start not in seen, f"{start} is imported by {circle}, which it imports"


def test_concepts_and_machinery_never_meet():
    for importer, imported in OURS:
        pair = {room(importer), room(imported)}
        assert not ("runtime" in pair and pair & CONCEPTS), f"{importer} imports {imported}"


def test_the_contract_and_the_concepts_know_no_backend():
    for importer, imported in IMPORTS:
        low = room(importer) != GRADER and (floor(importer) <= 1 or room(importer) in CONCEPTS)
        if low and importer != "minidl.collectives.native":
            assert not imported.startswith(OUTSIDE), f"{importer} imports {imported}"


def test_one_room_knows_torch_distributed():
    for importer, imported in IMPORTS:
        if imported.startswith("torch.distributed"):
            assert importer.startswith(TORCH_DISTRIBUTED), f"{importer} imports {imported}"


def test_learners_need_nothing_of_the_grader():
    for importer, imported in IMPORTS:
        if imported.split(".")[0] == GRADER:
            assert importer.split(".")[0] == GRADER, f"{importer} imports {imported}"


def test_one_name_stands_for_one_thing():
    places = defaultdict(list)
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                places[node.name].append(module)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert not {
        name: where
        for name, where in twice.items()
        if name.removeprefix("textbook_") not in SHARED_NAMES
    }


def test_no_two_files_have_one_name():
    names = defaultdict(list)
    for module, path in MODULES.items():
        if path.stem not in SHARED_FILES:
            names[path.stem].append(module)
    assert not {name: where for name, where in names.items() if len(where) > 1}


def test_the_checks_above_saw_the_package():
    assert ("minidl.comm", "torch") in IMPORTS
    assert ("minidl.runtime.words.sources", "minidl.trace") in IMPORTS
    assert len(OURS) > 200
