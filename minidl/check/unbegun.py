"""Has anybody begun? A stub raises NotImplementedError or leaves `...` where something is to be written."""

import ast


def is_stub(source, name):
    """Is the function `name` in this source still as it was handed out? False where the source cannot be read."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return False
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return bool(found) and any(map(_is_blank, ast.walk(found[-1])))


def _is_blank(node):
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.Return)) and isinstance(
        node.value, ast.Constant
    ):
        return node.value.value is ...
    raised = node.exc if isinstance(node, ast.Raise) else None
    called = raised.func if isinstance(raised, ast.Call) else raised
    return isinstance(called, ast.Name) and called.id == "NotImplementedError"
