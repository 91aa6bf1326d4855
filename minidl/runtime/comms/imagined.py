"""What does one rank of a thousand hold, send and wait for, if nobody computes the other 999?

    rank 0        forward ---- send ---- backward ----   real code on meta tensors, metered, timed
    1 .. N - 1    . . . . . .  . . . .   . . . . . . .   imagined: the same, at the same moment

A message of a meta tensor has a shape and no values, so nothing is missing if its sender is
imagined. It arrives when this rank's own message of the same step has. That holds for code in which
all ranks act alike, such as sharded data parallelism with a ring or by doubling; a test compares it
with a run in which all ranks exist. Left out: ranks that differ or are late, and everything that
depends on values.
"""

import torch

from minidl.comm import Comm, Work
from minidl.runtime.words.calling import call


class Imagined(Comm):
    """Rank 0 of `world_size` ranks; the others are imagined.

    inner  the Comm on which this rank's time passes
    sent   [messages, bytes] so far

    A message takes alpha + beta * nbytes seconds, one after the other. Raises ValueError for a
    message of real numbers.
    """

    def __init__(self, inner, world_size, alpha=0.0, beta=0.0, sent=None):
        self.inner = inner
        self.rank = 0
        self.world_size = world_size
        self.device = inner.device
        self.alpha = alpha
        self.beta = beta
        self.sent = [0, 0] if sent is None else sent

    def start(self, ops):
        ops = list(ops)
        for op in ops:
            if op.tensor.numel() and not op.tensor.is_meta:
                raise ValueError(
                    "what an imagined rank sends has a shape and no values: use tensors on the "
                    "device meta"
                )
        return Imaginary(self, ops)

    def group(self, ranks):
        return self._like(self.inner, len(list(ranks)))

    def background(self, fn, *args):
        def function(comm):
            twin = self._like(comm, self.world_size)
            return call(fn, twin, tuple(twin if arg is self else arg for arg in args), {})

        return self.inner.background(function)

    def compute(self, seconds):
        self.inner.compute(seconds)

    def progress(self, i, n):
        self.inner.progress(i, n)

    def span(self, name):
        return self.inner.span(name)

    def now(self):
        return self.inner.now()

    def _like(self, inner, world_size):
        return Imagined(inner, world_size, self.alpha, self.beta, self.sent)


class Imaginary(Work):
    """Messages under way to and from ranks that do not exist."""

    def __init__(self, comm, ops):
        self.comm = comm
        self.ops = ops
        self.received = None

    def wait(self):
        """Each message takes its time, one after the other; what is received has a shape."""
        if self.received is None:
            comm = self.comm
            for op in self.ops:
                if op.sends:
                    comm.sent[0] += 1
                    comm.sent[1] += op.tensor.nbytes
                    comm.compute(comm.alpha + comm.beta * op.tensor.nbytes)
            self.received = tuple(
                torch.empty_like(op.like) if op.into is None else op.into
                for op in self.ops
                if not op.sends
            )
        return self.received
