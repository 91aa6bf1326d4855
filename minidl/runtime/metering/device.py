"""How long does a virtual rank compute, when nothing real is computed at its pace?

    Device(flops_per_second=300e12)   y = x @ w   2 * 512 * 4096 * 4096 FLOPs -> 57 us, virtual

Every operation is charged by its counted FLOPs (meter.py) as it is made; those for which torch has
no formula, such as adding, are free. On meta tensors nothing is computed at all, so a model far
larger than this machine runs through. Left out: that small operations reach only a part of the
rate, and that memory has a rate of its own.
"""

from dataclasses import dataclass
from functools import partial

from torch.utils._mode_utils import no_dispatch

# What torch says where a value of a meta tensor is asked for: by item(), by numpy(), by sizes that
# depend on values, as in x[x > 0].
META_ERRORS = ("meta tensor", "meta device type", "register_meta")


@dataclass(frozen=True)
class Device:
    """What computes on each virtual rank.

    flops_per_second: what it really reaches, as 40 % of the 989e12 of an H100 in bfloat16.
    """

    flops_per_second: float

    def __post_init__(self):
        if not self.flops_per_second > 0:
            raise ValueError(f"{self}: flops_per_second is positive")


class Meters:
    """The meters of one run of a VirtualWorld, a rank's made when it is first used."""

    def __init__(self, device):
        self.device = device
        self.meters = {}  # rank -> Meter
        self.computing = {}  # rank -> [(begin, end)] in virtual seconds

    def reading(self, node):
        """A context manager: the strand's work inside is metered for its rank, and charged."""
        from minidl.runtime.metering.meter import Meter  # loads much of torch

        def clock():
            running = node.strands.running
            return 0.0 if running is None else running.clock

        if node.rank not in self.meters:
            charge = partial(self.charge, node) if self.device else None
            self.meters[node.rank] = Meter(clock, charge)
        return self.meters[node.rank].reading()

    def land(self, move, tensor, send, recv):
        """move(tensor, recv): a message counts for its receiver, whichever rank moves the bytes."""
        unseen(move, tensor, recv)
        if recv.posting.rank in self.meters:
            self.meters[recv.posting.rank].see(recv.payload)

    def over(self, rank):
        """This rank's function has returned."""
        if rank in self.meters:
            self.meters[rank].close()

    def read(self):
        """{rank: (flops, changes of what is held)}."""
        return {rank: meter.read() for rank, meter in self.meters.items()}

    def charge(self, node, flops):
        """Let the time pass that the device needs for these FLOPs."""
        strand = node.strand()
        begin = strand.clock
        node.advance(strand, flops / self.device.flops_per_second * node.faults.factor)
        self.computing.setdefault(node.rank, []).append((begin, strand.clock))


def unseen(fn, *args):
    """fn(*args), which no meter sees: the work of the runtime, not of the rank."""
    with no_dispatch():
        return fn(*args)


def about_meta(error):
    """The error; or, if torch was asked for a value of a meta tensor, one that says what to do."""
    text = str(error).lower()
    if not isinstance(error, (RuntimeError, TypeError)) or text.startswith("a meta tensor has"):
        return error  # the last is the error below, which has been here before
    if not any(words in text for words in META_ERRORS):
        return error
    plain = TypeError(
        "a meta tensor has a shape and no values, and this line asks for one: leave out what"
        " depends on data (printing a loss, clipping by a norm), or run it with real tensors."
        f" torch says: {error}"
    )
    return plain.with_traceback(error.__traceback__)
