"""What caged ranks compute and hold: counted where they are, told to the judge, looked at before it is believed.

    rank   Meter: operations, storages  --[flops 4096]--> judge: so much virtual time, as on a Device
                                        --[done ..., (flops, changes)]--> judge: the record
    judge  a message has met its other side --with the next answer--> rank: this tensor came, that one is let go

Messages, bytes and the clock are the judge's. FLOPs and memory are counted in the process that runs the answer, by its
runner, so an answer that sets out to can forge them; docs/grading.md says what of that is noticed.
"""

from contextlib import nullcontext

import torch

from minidl.runtime.metering.device import Meters
from minidl.trace import MEMORY

MOST_FLOPS, MOST_CHANGES = 1 << 60, 1 << 20
KINDS = range(len(MEMORY))


class ToldMeters(Meters):
    """The judge's side: its own work counts for nobody. Ranks say what they compute and, at the end, what they held."""

    def __init__(self, device=None):
        super().__init__(device)
        self.met, self.charged, self.told = {}, {}, {}

    def reading(self, node):
        return nullcontext()

    def land(self, move, tensor, send, recv):
        move(tensor, recv)
        self.met.setdefault(recv.posting.rank, []).append((recv, recv.payload))
        self.met.setdefault(send.posting.rank, []).append((send, None))

    def news(self, rank):
        """[(ticket, the tensor that came, or None for a send)] of messages of this rank that have met since it was told last."""
        return self.met.pop(rank, [])

    def compute(self, node, flops):
        """A rank says that it has computed so much: on a Device that takes time."""
        self.charged[node.rank] = self.charged.get(node.rank, 0) + flops
        self.charge(node, flops)

    def read(self):
        return self.told


def written(flops, changes):
    """A reading as it travels: FLOPs, and a row for every change of what is held."""
    return [flops, torch.tensor(changes, dtype=torch.float64).reshape(-1, 4)]


def believed(reading, charged):
    """(flops, changes) of what a rank sent as its reading; charged: FLOPs that it has told one by one, or None. Raises ValueError in words."""
    match reading:
        case [int(flops), torch.Tensor() as rows] if (
            type(flops) is int
            and rows.dtype == torch.float64
            and rows.dim() == 2
            and rows.shape[1] == 4
        ):
            pass
        case _:
            raise ValueError("a reading of no known form")
    if not 0 <= flops < MOST_FLOPS or len(rows) > MOST_CHANGES or not bool(rows.isfinite().all()):
        raise ValueError("a reading of numbers that are none")
    if charged is not None and flops != charged:
        raise ValueError(f"a reading of {flops:,} FLOPs, {charged:,} while it ran")
    changes, held = [], [0 for _ in KINDS]
    for operation, seconds, kind, nbytes in rows.tolist():
        if (
            kind not in KINDS
            or not nbytes.is_integer()
            or not operation.is_integer()
            or seconds < 0
        ):
            raise ValueError("a reading of memory that there is not")
        held[int(kind)] += int(nbytes)
        if held[int(kind)] < 0 or abs(nbytes) > 1 << 50:
            raise ValueError("a reading of less than no memory")
        changes.append((int(operation), seconds, int(kind), int(nbytes)))
    return flops, changes
