"""Small things that all of the machinery needs: whose line is this, and how is a function called?"""

import contextlib
import inspect
import os
import sys
import sysconfig

PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
GRADER = os.path.join(os.path.dirname(os.path.dirname(PACKAGE)), "minidl_grader") + os.sep
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


class Machinery(dict):
    """file -> does it belong to the runtime, not to a concept or to the learner?"""

    def __missing__(self, file):
        known = self[file] = file.startswith(MACHINERY)
        return known


is_machinery = Machinery()


def here():
    """(file, line) of the innermost frame of this thread that is not machinery."""
    frame = sys._getframe(1)
    while is_machinery[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def worth_telling(file):
    """Is this file the learner's own or a concept's: neither machinery nor an installed library?"""
    installed = file.startswith((*INSTALLED, "<frozen")) and not file.startswith(PACKAGE)
    return not (installed or file.startswith(MACHINERY))


def traceback_lines(traceback):
    """The lines of a traceback worth telling, as (file, line, function), outermost first."""
    lines = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if worth_telling(code.co_filename):
            lines.append((code.co_filename, traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    return lines


def stack_lines(frame):
    """The same of a thread's stack. The thread must not be running: see stacks.py."""
    lines = []
    while frame is not None:
        if worth_telling(frame.f_code.co_filename):
            lines.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return lines[::-1]


def call(fn, comm, args, kwargs):
    """Call `fn(*args, **kwargs)` and pass `comm` as its parameter of that name, if it has one."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature
        return fn(*args, **kwargs)
    positional = [
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if "comm" in positional and positional.index("comm") <= len(args):
        i = positional.index("comm")
        if not any(arg is comm for arg in args):
            args = (*args[:i], comm, *args[i:])
    elif any(p.name == "comm" for p in parameters):
        kwargs = {**kwargs, "comm": comm}
    return fn(*args, **kwargs)


def waiting_for(kind, comm, peer, number, place=None, leftover=False, size=""):
    """What a wait is for: "waits for rank 1 to receive message 0, (4,) float32"."""
    on = "" if comm == "world" else f" on {comm}"
    if kind in ("send", "recv"):
        verb = "receive" if kind == "send" else "send"
        return f"waits for rank {peer} to {verb} message {number}{on}, {size}"
    if kind == "background":
        return "waits for its background work"
    return f"waits in {kind} number {number}{on}" + (f" for rank {peer}" if peer >= 0 else "")
