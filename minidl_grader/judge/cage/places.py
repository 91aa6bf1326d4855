"""Errors of a relay name the learner's line: its calls go through a frame that bears the place in the caged rank.

    the judge's stack      relay.py -> "answer cell 3", line 4 -> VirtualComm.start

The machinery finds places by walking the stack, so a frame with the right name is all it needs. Places come from a rank
and are not believed: only cells and this package may be named, for the line's text is shown to the learner.
"""

import os
import types

from minidl.runtime.words.calling import MACHINERY, PACKAGE

ELSEWHERE = ("elsewhere", 1)
LAST_LINE, MOST_KEPT = 100_000, 20_000
_pass_on = (lambda function: function()).__code__
_kept = {}


def place_of(given, cells):
    """(file, line) from what a rank says: a cell, or a file of this package; ELSEWHERE for all others."""
    if not isinstance(given, (list, tuple)) or len(given) < 2:
        return ELSEWHERE
    file, line = given[:2]
    if not (isinstance(file, str) and type(line) is int and 1 <= line <= LAST_LINE):
        return ELSEWHERE
    package = (
        file.startswith(PACKAGE)
        and os.path.normpath(file) == file
        and file.endswith(".py")
        and not file.startswith(MACHINERY)
    )
    return (file, line) if file in cells or package else ELSEWHERE


def lines_of(given, cells):
    """[(file, line, function)] of a stack or traceback that a rank tells; what is nowhere is left out."""
    lines = []
    for entry in given if isinstance(given, (list, tuple)) else ():
        place = place_of(entry, cells)
        if place != ELSEWHERE:
            name = entry[2] if len(entry) > 2 and isinstance(entry[2], str) else ""
            lines.append(
                (*place, name[:80] if name[:80].replace("_", "a").isalnum() else "<module>")
            )
    return lines


def at(place, function, name="<module>"):
    """Call `function()` from a frame that bears this place."""
    key = (*place, name)
    pretending = _kept.get(key)
    if pretending is None:
        if len(_kept) > MOST_KEPT:
            _kept.clear()
        code = _pass_on.replace(co_filename=place[0], co_firstlineno=place[1], co_name=name)
        pretending = _kept[key] = types.FunctionType(code, {}, name)
    return pretending(function)


def raise_at(lines, error):
    """Raise `error` from frames that bear these lines, outermost first."""

    def throw():
        raise error

    for file, line, name in reversed(lines):
        throw = (lambda inner, place, name: lambda: at(place, inner, name))(
            throw, (file, line), name
        )
    throw()
