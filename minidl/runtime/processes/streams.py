"""What a rank prints goes over its pipe, line by line; what C code writes, at the end.

Jupyter captures the descriptors 1 and 2 in some settings and not in others, so a rank never writes
to them: they lead to a file.
"""

import faulthandler
import io
import os
import sys
from functools import partial

MOST_BYTES = 100_000  # of what was written to the descriptors, shown per run


class LineStream(io.TextIOBase):
    """A text stream that hands complete lines to `emit`."""

    def __init__(self, emit):
        self.emit = emit
        self.rest = ""

    def writable(self):
        """It can be written to."""
        return True

    def write(self, text):
        """Hand over the lines that this text completes; returns the text's length."""
        head, newline, self.rest = (self.rest + str(text)).rpartition("\n")
        if newline:
            self.emit(head)
        return len(text)

    def flush(self):
        """Lines are handed over when they end; the beginning of a line waits for its end."""

    def end(self):
        """Hand over a last line that has no newline."""
        rest = self.rest
        self.rest = ""
        if rest:
            self.emit(rest)


class RankStreams:
    """sys.stdout, sys.stderr and the file behind descriptors 1 and 2 of one rank."""

    def __init__(self, path, tell):
        self.emit = partial(tell, "output")
        self.out = sys.stdout = LineStream(self.emit)
        self.err = sys.stderr = LineStream(self.emit)
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self.seen = 0  # bytes of the file that were handed over
        for descriptor in (1, 2):
            os.dup2(self.file, descriptor)
        faulthandler.enable(self.file)  # a crash in C code leaves its Python lines there

    def finish(self):
        """Hand over everything that was written so far."""
        self.out.end()
        self.err.end()
        size = os.fstat(self.file).st_size
        if size > self.seen:
            written = os.pread(self.file, min(size - self.seen, MOST_BYTES), self.seen)
            self.seen = size
            self.emit(written.decode(errors="replace").rstrip("\n"))

    def release(self):
        """In a child that the rank forked, as a DataLoader worker: print to the file alone."""
        sys.stdout = sys.stderr = open(self.file, "w", buffering=1, closefd=False)
