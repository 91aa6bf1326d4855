"""What caged ranks compute and hold: counted on the rank, reported to the judge, checked there.

    rank   Meter: operations, storages  --[flops 4096]--> judge: virtual time, as on a Device
                                        --[done ..., (flops, changes)]--> judge: the record
    judge  a message has met its other side --with the next answer--> rank: received, or sent

Messages, bytes and the clock are the judge's. FLOPs and memory are counted in the process that runs
the answer, by its runner, so an answer that patches the runner can forge them; docs/grading.md says
which forgeries are noticed.
"""

from contextlib import nullcontext

import torch

from minidl.runtime.metering.device import Meters
from minidl.trace import MEMORY

MOST_FLOPS = 1 << 60
MOST_CHANGES = 1 << 20


class ToldMeters(Meters):
    """The judge's side. It meters nothing: ranks report what they compute and, at last, held.

    met      {rank: [(ticket, tensor)]} of messages that have met, which the rank does not know yet
    charged  {rank: FLOPs that it has reported one by one};  told: {rank: its reading}
    """

    def __init__(self, device=None):
        super().__init__(device)
        self.met = {}
        self.charged = {}
        self.told = {}

    def reading(self, node):
        return nullcontext()

    def land(self, move, tensor, send, recv):
        move(tensor, recv)
        self.met.setdefault(recv.posting.rank, []).append((recv, recv.payload))
        self.met.setdefault(send.posting.rank, []).append((send, None))

    def news(self, rank):
        """[(ticket, the tensor received, or None for a send)] of this rank since the last call."""
        return self.met.pop(rank, [])

    def compute(self, node, flops):
        """A rank says that it has computed: on a Device that takes time."""
        self.charged[node.rank] = self.charged.get(node.rank, 0) + flops
        self.charge(node, flops)

    def read(self):
        return self.told


def written(flops, changes):
    """A reading as it travels: FLOPs, and a row for every change of what is held."""
    return [flops, torch.tensor(changes, dtype=torch.float64).reshape(-1, 4)]


def believed(reading, charged):
    """(flops, changes) of what a rank sent as its reading. Raises ValueError in words.

    charged  FLOPs that it has reported one by one, or None where it need not
    """
    match reading:
        case [int(flops), torch.Tensor() as rows] if type(flops) is int:
            if rows.dtype != torch.float64 or rows.dim() != 2 or rows.shape[1] != 4:
                raise ValueError("a reading of no known form")
        case _:
            raise ValueError("a reading of no known form")
    if not 0 <= flops < MOST_FLOPS or len(rows) > MOST_CHANGES or not bool(rows.isfinite().all()):
        raise ValueError("a reading with NaN or infinity, or out of range")
    if charged is not None and flops != charged:
        raise ValueError(f"a reading of {flops:,} FLOPs, {charged:,} while it ran")
    changes = []
    held = [0] * len(MEMORY)  # bytes of each kind
    for operation, seconds, kind, nbytes in rows.tolist():
        whole = operation.is_integer() and nbytes.is_integer()
        if not whole or kind not in range(len(MEMORY)) or seconds < 0:
            raise ValueError("a reading of memory that does not exist")
        kind, nbytes = int(kind), int(nbytes)
        held[kind] += nbytes
        if held[kind] < 0 or abs(nbytes) > 1 << 50:
            raise ValueError("a reading of less than no memory")
        changes.append((int(operation), seconds, kind, nbytes))
    return flops, changes
