"""What did a rank write before its process ended? Of much output, the lines that explain it.

    terminate called after throwing an instance of 'gloo::EnforceNotMet'
      what():  [enforce fail at .../pair.cc:456] 8 vs 4. Received data size ...    <- the library's
    Fatal Python error: Aborted                                                    <- Python's
    Thread 0x7f8c (most recent call first):
      File "answer.py", line 5 in unequal                                          <- the learner's

Left out: how they are shown (report.py).
"""

import re
from typing import NamedTuple

from minidl.runtime.words.stacks import parse

# C++ without a handler: libstdc++ and libc++ (macOS) each in its own words. The place of a failed
# check, in a file of the library, says nothing to the learner.
UNCAUGHT = re.compile(
    r"(?:  what\(\): |.*uncaught exception of type [^:]+(?:::\w+)*: )"
    r"\s*(?:\[enforce fail at [^\]]*\]\s*)?(.+)"
)
# Gloo got more bytes than it has room for. It writes both numbers before it ends the process.
UNEQUAL = re.compile(r"op\.preamble\.length <= op\.nbytes\. (\d+) vs (\d+)")


class LastWords(NamedTuple):
    """words: lines, as they were written. stack: (file, line, function)s, outermost first."""

    words: list
    stack: list

    def remedy(self):
        """What to do about it, in a list; empty if that is not known."""
        for line in self.words:
            sizes = UNEQUAL.search(line)
            if sizes:
                return [
                    f"{sizes[1]} bytes arrived where {sizes[2]} were expected: every rank must "
                    "call the same collective, with the same shape and dtype."
                ]
        return []


def last_words(lines):
    """The LastWords among the lines that a rank wrote.

    After a crash in C code, what C++ and Python wrote of it, and where the learner's Python was;
    else the last three lines.
    """
    uncaught = []
    for i, line in enumerate(lines):
        thrown = UNCAUGHT.match(line)
        if thrown:
            uncaught = [thrown[1]]
        elif line.startswith("Fatal Python error"):
            return LastWords([*uncaught, line], _stack_of(lines[i:]))
    return LastWords([*uncaught, *[line for line in lines if line][-3:]], [])


def _stack_of(dump):
    """The stack of the thread that failed; if it was not one of Python's, of the main thread."""
    for i, line in enumerate(dump):
        if line.startswith("Current thread"):
            return next(iter(parse(dump[i:]).values()), [])
    # The oldest thread, which is the main one, comes last.
    return next((stack for stack in reversed(parse(dump).values()) if stack), [])
