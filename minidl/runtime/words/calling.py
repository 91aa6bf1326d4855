"""What all of the machinery needs: whose line is this, and how is a function called?"""

import contextlib
import inspect
import os
import sys
import sysconfig
import traceback
from functools import cache

PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
GRADER = os.path.join(os.path.dirname(os.path.dirname(PACKAGE)), "minidl_grader") + os.sep
# Files that are neither the learner's nor a concept's.
MACHINERY = (
    os.path.join(PACKAGE, "runtime") + os.sep,
    os.path.join(PACKAGE, "check") + os.sep,
    os.path.join(PACKAGE, "learner") + os.sep,
    GRADER,
    os.path.join(PACKAGE, "comm.py"),
    contextlib.__file__,
)
INSTALLED = tuple(
    {sysconfig.get_path(path) + os.sep for path in ("stdlib", "platstdlib", "purelib", "platlib")}
)


@cache  # asked several times for each message
def is_machinery(file):
    """Does this file belong to the runtime or the grader, not to a concept or to the learner?"""
    return file.startswith(MACHINERY)


def calling_place():
    """(file, line) of the innermost frame of this thread that is not machinery."""
    frame = sys._getframe(1)
    while is_machinery(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def learners_calling_place():
    """(file, line) of the innermost frame of this thread that is the learner's own, or None."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if worth_telling(file) and not is_library(file):
            return file, frame.f_lineno
        frame = frame.f_back
    return None


def worth_telling(file):
    """Is this file the learner's own or a concept's: neither machinery nor an installed library?"""
    if is_machinery(file):
        return False
    return file.startswith(PACKAGE) or not file.startswith((*INSTALLED, "<frozen"))


def is_library(file):
    """Is this file part of minidl: a concept's, such as ring.py, or machinery?"""
    return file.startswith(PACKAGE)


def own_place(lines):
    """(file, line) of the learner's innermost line among (file, line, function)s, or None."""
    for file, line, _ in reversed(lines):
        if not is_library(file):
            return file, line
    return None


def traceback_lines(error_traceback):
    """The lines of a traceback worth telling, as (file, line, function), outermost first."""
    return _lines(traceback.walk_tb(error_traceback))


def stack_lines(frame):
    """The same of a thread's stack. The thread must not be running: see stacks.py."""
    return _lines(traceback.walk_stack(frame))[::-1]


def _lines(frames):
    lines = []
    for frame, line in frames:
        code = frame.f_code
        if worth_telling(code.co_filename):
            lines.append((code.co_filename, line, code.co_name))
    return lines


def call(fn, comm, args, kwargs):
    """Call `fn(*args, **kwargs)` and pass `comm` as its parameter of that name, if it has one."""
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return fn(*args, **kwargs)
    if "comm" in parameters:
        parameter = parameters["comm"]
        i = list(parameters).index("comm")
        by_position = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if not by_position or i > len(args):
            kwargs = {**kwargs, "comm": comm}
        elif not any(arg is comm for arg in args):
            # fn(x, comm, y) called with x and y: insert it between them.
            args = (*args[:i], comm, *args[i:])
    return fn(*args, **kwargs)
