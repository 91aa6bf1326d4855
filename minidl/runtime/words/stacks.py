"""Where is every thread of this process? One thread asks about others that may be running.

Walking the frame objects of a running thread crashes Python 3.11 now and then, because the frames
change meanwhile. faulthandler reads all stacks in one go, without objects, while no thread runs.
"""

import faulthandler
import re
import tempfile

from minidl.runtime.words.calling import worth_telling

THREAD = re.compile(r"^(?:Current thread|Thread) 0x([0-9a-f]+)")
FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$')
ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})")


def all_stacks():
    """{thread: [(file, line, function)]}, outermost first, of all threads that run Python code.

    100 threads at most. Only lines worth telling: the learner's own and those of concepts.
    """
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return parse(file.read().decode("ascii", errors="replace").splitlines())


def parse(dump):
    """{thread: [(file, line, function)]} of a faulthandler dump, given as lines."""
    stacks = {}
    for line in dump:
        thread = THREAD.match(line)
        frame = FRAME.match(line)
        if thread:
            ident = int(thread[1], 16)
        elif frame:
            stack = stacks.setdefault(ident, [])
            file = ESCAPED.sub(lambda code: chr(int(code[1] or code[2], 16)), frame[1])
            if worth_telling(file):
                stack.insert(0, (file, int(frame[2]), frame[3]))  # the innermost frame comes first
    return stacks
