"""Hints stand folded under a failed check, not in its source, where an eye falls on all of them at once.

solutions: check(...).read("round 3").hints("one", "two", "three").worth(4)
exercises: check(...).read("round 3").worth(4)          and the hints in exercises/.references/
"""

import ast


def without_hints(source):
    """(the source of a check cell without its calls of .hints(...), the hints of the last one)."""
    tree, clues = ast.parse(source), []
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data = source.encode()  # ast counts columns in bytes
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "hints"
    ]
    for node in sorted(
        calls, key=lambda node: -(starts[node.end_lineno - 1] + node.end_col_offset)
    ):
        clues = clues or [ast.literal_eval(argument) for argument in node.args]
        before, after = node.func.value, node
        start = starts[before.end_lineno - 1] + before.end_col_offset
        data = data[:start] + data[starts[after.end_lineno - 1] + after.end_col_offset :]
    return data.decode(), clues
