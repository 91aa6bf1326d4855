"""What does one rank of a thousand hold, send and wait for, if nobody computes the other 999?

    rank 0        forward ---- send ---- backward ----      real code on meta tensors, metered and timed
    1 .. N - 1    . . . . . .  . . . .   . . . . . . .      imagined: each does the same, at the same moment

A message of a meta tensor brings a shape and nothing else, so nothing is missing if its sender is imagined. What is
received arrives when this rank's own message of the same step is over. That holds for code in which all ranks are alike,
such as sharded data parallelism with a ring or by doubling; a test compares it with a run in which all ranks exist.
Left out: ranks that differ, late ranks, and everything that depends on values.
"""

import torch

from minidl.comm import Recv, Send, Work
from minidl.runtime.comms.base import WrappedComm


class Imagined(WrappedComm):
    """Rank 0 of `world_size` ranks; the others are imagined. inner: the Comm on which this rank's time passes.

    A message takes alpha + beta * nbytes seconds, one after the other. sent: [messages, bytes] so far.
    Raises ValueError for a message of real numbers.
    """

    def __init__(self, inner, world_size, alpha=0.0, beta=0.0, sent=None):
        super().__init__(inner)
        self.rank, self.world_size, self.members = 0, world_size, tuple(range(world_size))
        self.alpha, self.beta, self.sent = alpha, beta, [0, 0] if sent is None else sent

    def wrap(self, inner):
        return Imagined(inner, self.world_size, self.alpha, self.beta, self.sent)

    def group(self, ranks):
        return Imagined(self.inner, len(self.chosen(ranks)), self.alpha, self.beta, self.sent)

    def start(self, ops):
        for op in ops:
            self.peer(op)  # raises in words for a wrong op or rank
            tensor = op.tensor if isinstance(op, Send) else op.like
            if tensor.numel() and not tensor.is_meta:
                raise ValueError(
                    "what an imagined rank sends has a shape and no values: use tensors on the device meta"
                )
        return Imaginary(
            self,
            [op for op in ops if isinstance(op, Send)],
            [op for op in ops if isinstance(op, Recv)],
        )


class Imaginary(Work):
    """Messages under way to and from ranks that are not there."""

    def __init__(self, comm, sends, receives):
        self.comm, self.sends, self.receives = comm, sends, receives

    def wait(self):
        """Each message takes its time, one after the other; what comes has a shape."""
        for op in self.sends:
            self.comm.sent[0] += 1
            self.comm.sent[1] += op.tensor.nbytes
            self.comm.compute(self.comm.alpha + self.comm.beta * op.tensor.nbytes)
        self.sends = []
        return tuple(
            torch.empty_like(op.like) if op.into is None else op.into for op in self.receives
        )
