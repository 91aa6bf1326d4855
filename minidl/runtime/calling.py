"""Small things that all of the machinery needs: whose line is this, and how is a function called?"""

import contextlib
import inspect
import os
import sys
import sysconfig

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
MACHINERY = (os.path.join(PACKAGE, "runtime") + os.sep, os.path.join(PACKAGE, "comm.py"), contextlib.__file__)
INSTALLED = tuple({sysconfig.get_path(path) + os.sep for path in ("stdlib", "platstdlib", "purelib", "platlib")})
_is_machinery = {}


def is_machinery(code):
    """Does this code object belong to the runtime, not to a concept or to the learner?"""
    known = _is_machinery.get(code)
    if known is None:
        known = _is_machinery[code] = code.co_filename.startswith(MACHINERY)
    return known


def here():
    """(file, line) of the innermost frame of this thread that is not machinery."""
    frame = sys._getframe(1)
    while frame.f_back is not None and is_machinery(frame.f_code):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def own_lines(frames):
    """The frames worth telling, as (file, line, function): neither machinery nor libraries."""
    told = []
    for frame, line in frames:
        code, file = frame.f_code, frame.f_code.co_filename
        installed = file.startswith((*INSTALLED, "<frozen")) and not file.startswith(PACKAGE)
        if not (installed or is_machinery(code)):
            told.append((file, line, code.co_name))
    return told


def traceback_lines(traceback):
    """The learner's lines of a traceback, outermost first."""
    frames = []
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return own_lines(frames)


def stack_lines(frame):
    """The learner's lines of a running thread's stack, outermost first."""
    frames = []
    while frame is not None:
        frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    return own_lines(reversed(frames))


def call(fn, comm, args, kwargs):
    """Call `fn(*args, **kwargs)` and pass `comm` as its parameter of that name, if it has one."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):                    # a builtin without a signature
        return fn(*args, **kwargs)
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
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
