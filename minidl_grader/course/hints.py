"""Hints of a check: the exercise shows them folded under a failed check, not in its source.

solutions: check(...).read("round 3").hints("one", "two", "three").worth(4)
exercises: check(...).read("round 3").worth(4)          and the hints in exercises/.references/
"""

import ast


def without_hints(source):
    """(the source of a check cell without its calls of .hints(...), the hints of the last one)."""
    data = source.encode()  # ast counts columns in bytes
    line_starts = [0]
    for line in source.splitlines(keepends=True):
        line_starts.append(line_starts[-1] + len(line.encode()))

    def end_of(node):
        return line_starts[node.end_lineno - 1] + node.end_col_offset

    calls = []
    for node in ast.walk(ast.parse(source)):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr == "hints":
            calls.append(node)
    calls.sort(key=end_of, reverse=True)  # from the last to the first, so that places stay valid
    for call in calls:
        # f(x).hints("one")        cut from the end of f(x) to the end of the call
        data = data[: end_of(call.func.value)] + data[end_of(call) :]
    hints = [ast.literal_eval(argument) for argument in calls[0].args] if calls else []
    return data.decode(), hints
