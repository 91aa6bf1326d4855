"""A test that waits gives a slow machine time: no deadline of the suite is a short number."""

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parent
WAITING = ("wait", "join")  # their first argument is a deadline
MEANT_TO_EXPIRE = 2  # seconds; a longer time-out is a deadline


def deadlines(call):
    """The arguments of a call that say how long it may wait."""
    found = [word.value for word in call.keywords if word.arg == "timeout"]
    if isinstance(call.func, ast.Attribute) and call.func.attr in WAITING:
        found += call.args[:1]
    return found


def nodes(kind):
    """(place, node) of all nodes of this kind in the tests."""
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                yield f"{path.relative_to(TESTS)}:{node.lineno}", node


def test_every_deadline_is_generous():
    short = []
    for place, node in nodes(ast.Call):
        for value in deadlines(node):
            number = isinstance(value, ast.Constant) and isinstance(value.value, (int, float))
            if number and value.value > MEANT_TO_EXPIRE:
                short.append(f"{place}: {value.value}")
    assert not short, "wait for generous(seconds), of tests/deadlines.py:\n" + "\n".join(short)


def test_no_test_claims_that_something_takes_less_than_a_deadline():
    """A tenfold limit proves nothing: compare with the time-out that must not be waited for."""
    found = [
        place
        for place, node in nodes(ast.Compare)
        for part in (node.left, *node.comparators)
        if isinstance(part, ast.Call) and getattr(part.func, "id", "") == "generous"
    ]
    assert not found
