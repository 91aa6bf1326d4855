"""What a rank prints goes over its pipe, line by line; what other code writes to fd 1 and 2, at the end.

Jupyter captures file descriptors in some settings and not in others, so a rank never writes to them.
"""

import faulthandler
import io
import os
import sys

_streams = None


class LineStream(io.TextIOBase):
    """A text stream that hands complete lines to `emit`."""

    def __init__(self, emit):
        self.emit, self.rest = emit, ""

    def writable(self):
        return True

    def write(self, text):
        head, newline, tail = (self.rest + str(text)).rpartition("\n")
        self.rest = tail
        if newline:
            self.emit(head)
        return len(text)

    def flush(self):
        """Lines go out as they end; the beginning of a line waits for its end."""

    def end(self):
        """Hand over a last line that has no newline."""
        rest, self.rest = self.rest, ""
        if rest:
            self.emit(rest)


class RankStreams:
    """sys.stdout, sys.stderr and the file behind descriptors 1 and 2 of one rank."""

    def __init__(self, path, tell):
        emit = lambda lines: tell("output", lines)
        self.out, self.err = LineStream(emit), LineStream(emit)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        self.path, self.file, self.seen, self.tell = path, file, 0, tell
        sys.stdout, sys.stderr = self.out, self.err
        faulthandler.enable(file)  # a crash in C code leaves its Python lines there

    def finish(self):
        """Hand over everything that was written so far."""
        self.out.end()
        self.err.end()
        size = os.fstat(self.file).st_size
        if size > self.seen:
            text = os.pread(self.file, min(size - self.seen, 100_000), self.seen).decode(
                errors="replace"
            )
            self.seen = size
            self.tell("output", text.rstrip("\n"))


def capture(rank, folder, tell):
    """Redirect this process's output; returns its RankStreams."""
    global _streams
    _streams = RankStreams(os.path.join(folder, f"rank{rank}.out"), tell)
    return _streams


def released():
    """In a child that a rank forked, such as a DataLoader worker: print to the file, not to the pipe."""
    if _streams is not None:
        sys.stdout = sys.stderr = open(_streams.file, "w", buffering=1, closefd=False)
