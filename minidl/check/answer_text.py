"""What does the source of an answer say: is it still the stub, and which modules does it use?"""

import ast


def is_stub(source, name):
    """Is the function `name` in this source still a stub? False if the source cannot be parsed.

    A stub raises NotImplementedError, or has `...` where something is to be written.
    """
    for node in reversed(_statements(source)):  # the last definition is what the name stands for
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return any(map(_is_blank, ast.walk(node)))
    return False


def _statements(source):
    """The statements of the top level; none if the source is not Python."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        return []


def _is_blank(node):
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.Return)):
        return isinstance(node.value, ast.Constant) and node.value.value is ...
    if isinstance(node, ast.Raise):
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
    return False


def used_modules(source):
    """Every dotted name that the source imports or reaches, with its beginnings.

    "import torch.distributed as d; d.all_reduce(x)"
    ->  {"torch", "torch.distributed", "torch.distributed.all_reduce"}
    """
    # What each name stands for: {"d": "torch.distributed"}. Setup cells import torch and minidl.
    aliases = {"torch": "torch", "minidl": "minidl"}
    names = set()
    nodes = [node for statement in _statements(source) for node in ast.walk(statement)]
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names.add(alias.name)
                first = alias.name.split(".")[0]
                aliases[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names.add(whole)
                aliases[alias.asname or alias.name] = whole
    for node in nodes:
        if isinstance(node, ast.Attribute):
            names.add(_dotted_name(node, aliases))
    # "torch.distributed.all_reduce" uses "torch.distributed" and "torch", too.
    for name in list(names):
        parts = name.split(".")
        names |= {".".join(parts[:length]) for length in range(1, len(parts))}
    return names


def _dotted_name(node, aliases):
    """ "torch.distributed.all_reduce" of an attribute; "" if it does not begin with a module."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in aliases:
        return ""
    return ".".join([aliases[node.id], *parts])
