"""Where is every thread of this process? Asked by one thread about others that may be running.

Walking frame objects of a running thread crashes Python 3.11 now and then, because the frames change
underneath. faulthandler reads all stacks in one go, without objects and without letting anybody run.
"""

import faulthandler
import re
import tempfile

from minidl.runtime.words.calling import worth_telling

THREAD = re.compile(r"^(?:Current thread|Thread) 0x([0-9a-f]+)")
FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$')


def all_stacks():
    """{thread: [(file, line, function)]}, outermost first, of all threads that run Python code (100 at most).

    Only lines worth telling: the learner's own and those of concepts.
    """
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return parse(file.read().decode("ascii", errors="replace").splitlines())


def parse(dump):
    """{thread: [(file, line, function)]} of a faulthandler dump, given as lines."""
    stacks, own = {}, None
    for line in dump:
        thread, frame = THREAD.match(line), FRAME.match(line)
        if thread:
            ident, own = int(thread[1], 16), None
        elif frame:
            if own is None:
                own = stacks[ident] = []
            name = re.sub(
                r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})", lambda m: chr(int(m[1] or m[2], 16)), frame[1]
            )
            if worth_telling(name):
                own.insert(0, (name, int(frame[2]), frame[3]))
    return stacks
