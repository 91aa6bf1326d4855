"""What can be demanded of what a rank computes and holds, beyond what it sends?

    memory    parameters |=====|  gradients |==|  optimizer state |=|     the most at one moment
    flops     counted by torch's formulas, operation by operation
    overlap   messages under way  ---- ------ ----
              the rank computes   ##### ####   ###     the share of the upper line above the lower

The numbers come from a run on a meter, see runtime/metering. In the judge's cage an answer shares
its process with the meter and could tamper with it. So a reading is refused if it is below what is
known from outside the process. Left out: what torch's kernels take for themselves, and arithmetic
that torch has no formula for, such as adding.
"""

from collections import defaultdict
from dataclasses import dataclass
from operator import le

import torch

from minidl.check.arena import tensors_in
from minidl.check.demands import Demand, Sight, per_rank, word
from minidl.check.formula import Formula
from minidl.viz.reading.intervals import total, union, without


@dataclass(eq=False)
class Metered(Demand):
    """A demand whose numbers come from the metered run. most: "at most ", or "" for exactly."""

    formula: Formula
    most: str = "at most "
    unit = ""

    def counts(self, trace):
        """What was counted: a list, one number for each rank."""
        raise NotImplementedError

    def incredible(self, trial, wanted):
        """Why the reading cannot be true, in words; "" if it can."""
        raise NotImplementedError

    def look(self, trial):
        outcome = trial.metered
        wanted = self.formula.for_each_rank(trial.case)
        words = f"{self.most}{per_rank(wanted)} {self.unit}"
        refusal = outcome.first_line or self.incredible(trial, wanted)
        if refusal:
            return Sight(False, words, refusal)
        counted = self.counts(outcome.trace)
        passed = counted == wanted
        if self.most:
            passed = all(map(le, counted, wanted))
        return Sight(passed, words, f"{per_rank(counted)} {self.unit}")


@dataclass(eq=False)
class MemoryHeld(Metered):
    """A rank holds at most this many bytes at once: of one kind of memory, or of all together."""

    of: str | None = None
    key = "memory"
    text = "each rank holds at most {formula} bytes"
    unit = "bytes"

    @word
    def holds_at_most(sentence, nbytes, of=None):
        """No rank holds more bytes at once, of one kind of trace.MEMORY or of all."""
        return sentence.demand(MemoryHeld(Formula(nbytes), of=of))

    def says(self):
        words = super().says()
        return f"{words} of {self.of}" if self.of else words

    def counts(self, trace):
        return [most_held(trace, rank, self.of) for rank in range(trace.world_size)]

    def incredible(self, trial, wanted):
        """Why the reading cannot be right, in words; "" if it can be."""
        outcome = trial.metered
        for rank, given in enumerate(trial.case.inputs):
            counted = most_held(outcome.trace, rank)
            received = outcome.trace.where(rank=rank, kind="recv")
            longest = max(received.columns["nbytes"], default=0)
            least = least_held(given, outcome.results[rank], longest)
            if counted < least:
                return (
                    f"rank {rank}: {counted:,} bytes in all, "
                    f"though what it was given, received and returned takes {least:,}"
                )
        return ""


def most_held(trace, rank, of=None):
    """The most bytes that a rank held at once, of this kind or of all."""
    if rank not in trace.held:
        return 0
    _, kinds = trace.memory_over_time(rank)
    totals = kinds[of] if of else map(sum, zip(*kinds.values()))
    return max(totals, default=0)


def least_held(given, result, message):
    """Bytes that a rank must have held at one moment, whatever its meter says.

    given    its arguments: all of them are there when the function begins
    result   each different number of one dtype takes memory; equal ones may be views of one
    message  bytes of the longest message that it received
    """
    storages = {}  # address -> bytes: tensors that share a storage count once
    for tensor in tensors_in(given):
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage.nbytes()
    by_dtype = defaultdict(list)
    for tensor in tensors_in(result):
        by_dtype[tensor.dtype].append(tensor.detach().reshape(-1))
    least = max(sum(storages.values()), message)
    for dtype, tensors in by_dtype.items():
        if not dtype.is_complex:  # torch cannot sort complex numbers
            different = torch.cat(tensors).nan_to_num().unique()
            least = max(least, len(different) * dtype.itemsize)
    return least


class Flops(Metered):
    """A rank computes this many FLOPs, or at most this many."""

    key = "flops"
    text = "each rank computes {most}{formula} FLOPs"
    unit = "FLOPs"

    @word
    def computes(sentence, flops):
        """Each rank computes exactly this many FLOPs. A formula over N, n and rank."""
        return sentence.demand(Flops(Formula(flops), most=""))

    @word
    def computes_at_most(sentence, flops):
        """Each rank computes no more FLOPs than this."""
        return sentence.demand(Flops(Formula(flops)))

    def counts(self, trace):
        return trace.flops or [0] * trace.world_size

    def incredible(self, trial, wanted):
        # No FLOPs at all where some are needed: they were computed where no meter sees them.
        if any(wanted) and not any(self.counts(trial.metered.trace)):
            return "0 FLOPs on all ranks: what was computed was not counted"
        return ""


@dataclass(eq=False)
class Overlap(Demand):
    """The worst rank computes during this share of the time that its messages take."""

    share: float
    network: object
    device: object
    key = "overlap"
    text = (
        "each rank computes during at least {share:.0%} "
        "of the time in which it has messages under way"
    )

    @word
    def overlaps(sentence, share, on=None, device=None):
        """Every rank computes during this share of the time that its messages take on `on`."""
        return sentence.demand(Overlap(share, on, device))

    def look(self, trial):
        outcome = trial.on(self.network, self.device, meter=True)
        wanted = f"at least {self.share:.0%}"
        if outcome.error:
            return Sight(False, wanted, outcome.first_line)
        shares = overlap_shares(outcome.trace)
        # Without messages there is nothing to hide behind computing, as on one rank.
        if not shares:
            return Sight(True, wanted, "no messages")
        rank = min(shares, key=shares.get)
        return Sight(shares[rank] >= self.share, wanted, f"rank {rank}: {shares[rank]:.0%}")


def overlap_shares(trace):
    """{rank: the share of the time of its messages in which it computes}, if it has any."""
    under_way = defaultdict(list)
    for send, recv in trace.messages():
        if recv is not None and recv.done is not None:
            begin = max(send.posted, recv.posted)  # a message moves once both sides have posted it
            for rank in (send.rank, recv.rank):
                under_way[rank].append((begin, recv.done))
    computing = defaultdict(list, {rank: list(own) for rank, own in trace.computing.items()})
    # comm.compute(seconds) stands for work that is not done.
    for event in trace.where(kind="compute"):
        if event.done is not None:
            computing[event.rank].append((event.posted, event.done))
    shares = {}
    for rank, stretches in under_way.items():
        messages = union(stretches)
        if messages:
            # What is left of the messages' time when the time of computing is taken away.
            idle = without(messages, union(computing[rank]))
            shares[rank] = 1 - total(idle) / total(messages)
    return shares
