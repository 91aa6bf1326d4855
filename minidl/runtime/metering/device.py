"""How long does a virtual rank compute, when nothing real is computed at its pace?

    Device(flops_per_second=300e12)      y = x @ w    2 * 512 * 4096 * 4096 FLOPs   ->   57 us of virtual time

Every operation is charged by its counted FLOPs (meter.py) as it is made; those that torch has no formula for, such as
adding, are free. On meta tensors nothing is computed at all, so a model far larger than this machine runs through.
Left out: that small operations reach only a part of the rate, and that memory has a rate of its own.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from torch.utils._python_dispatch import _disable_current_modes


@dataclass(frozen=True)
class Device:
    """What computes on each virtual rank. flops_per_second: what it really reaches, as 40 % of the 989e12 of an H100 in bfloat16."""

    flops_per_second: float

    def __post_init__(self):
        if not self.flops_per_second > 0:
            raise ValueError(f"{self}: flops_per_second is positive")


class Meters:
    """The meters of one run of a VirtualWorld, a rank's made when it is first used."""

    def __init__(self, device):
        self.device, self.meters, self.computing = device, {}, {}

    def reading(self, node):
        """A context manager: what the strand does inside is metered for its rank, and charged where there is a device."""
        from minidl.runtime.metering.meter import (
            Meter,
        )  # loads much of torch that a run without it does not need

        if node.rank not in self.meters:
            clock = lambda: node.strands.running.clock if node.strands.running is not None else 0.0
            self.meters[node.rank] = Meter(
                clock, partial(self.charge, node) if self.device else None
            )
        return self.meters[node.rank].reading()

    def land(self, move, tensor, send, recv):
        """move(tensor, recv): what arrives counts for the receiver, whoever of the two came second and moves it."""
        unseen(move, tensor, recv)
        if recv.posting.rank in self.meters:
            self.meters[recv.posting.rank].see(recv.payload)

    def over(self, rank):
        """This rank's function has come to its end."""
        if rank in self.meters:
            self.meters[rank].close()

    def read(self):
        """{rank: (flops, changes of what is held)}."""
        return {rank: meter.read() for rank, meter in self.meters.items()}

    def charge(self, node, flops):
        """Let the time pass that the device needs for these FLOPs."""
        strand = node.strand()
        begin = strand.clock
        node.advance(strand, flops / self.device.flops_per_second * node.damage.factor)
        self.computing.setdefault(node.rank, []).append((begin, strand.clock))


def unseen(fn, *args):
    """fn(*args), which no meter sees: the work of the runtime, not of the rank."""
    with _disable_current_modes():
        return fn(*args)


def metered(meters, node):
    """The reading of this rank, or nothing where nobody asked for it."""
    return nullcontext() if meters is None else meters.reading(node)


def about_meta(error):
    """The error, or one in words for what torch says where a value of a meta tensor is asked for."""
    says = str(
        error
    ).lower()  # of a value; of numpy(); of sizes that depend on values, as in x[x > 0]
    if (
        isinstance(error, (RuntimeError, TypeError))
        and any(words in says for words in ("meta tensor", "meta device type", "register_meta"))
        and not says.startswith("a meta tensor has")
    ):
        told = TypeError(
            "a meta tensor has a shape and no values, and this line asks for one: leave out what depends on data "
            f"(printing a loss, clipping by a norm), or run it with real tensors. torch says: {error}"
        )
        return told.with_traceback(error.__traceback__)
    return error
