"""What can be demanded of what a rank computes and holds, beyond what it sends?

    memory    parameters |=====|  gradients |==|  optimizer state |=|  activations |====|     the most at one moment
    flops     counted by torch's formulas, operation by operation
    overlap   messages under way  ---- ------ ----
              the rank computes   ##### ####   ###       the share of the upper line above the lower one

A reading says how it was made, not who made it: on caged ranks an answer shares its process with the meter. So a reading below
what is known from outside, from the messages and what was given and returned, is refused.

All come from a run on a meter (runtime/meter.py), for memory and FLOPs the one that counts messages, for overlap one on a network and a Device.
Left out: what torch's kernels take for themselves, and arithmetic that torch has no formula for, such as adding.
"""

import torch

from minidl.check.arena import tensors_in
from minidl.check.demands import Demand, Sight, per_rank
from minidl.check.formula import Formula


class Metered(Demand):
    """A demand whose numbers come from the metered run. `counts(trace)` -> a number for each rank."""

    unit = ""

    def __init__(self, formula, at_most=True):
        self.formula, self.at_most = Formula(formula), at_most

    def counts(self, trace):
        """What each rank has."""
        raise NotImplementedError

    def incredible(self, trial, wanted):
        """Why the reading cannot be, in words; "" if it can."""
        raise NotImplementedError

    def look(self, trial):
        case, outcome = trial.case, trial.metered
        wanted = [self.formula(N=case.N, n=case.n, rank=rank) for rank in range(case.N)]
        words = f"{'at most ' * self.at_most}{per_rank(wanted)} {self.unit}"
        trouble = (
            str(outcome.error).split("\n")[0]
            if outcome.error is not None
            else self.incredible(trial, wanted)
        )
        if trouble:
            return Sight(False, words, trouble)
        counted = self.counts(outcome.trace)
        well = all(c <= w and (self.at_most or c == w) for c, w in zip(counted, wanted))
        return Sight(well, words, f"{per_rank(counted)} {self.unit}")


class Held(Metered):
    """A rank holds at most so many bytes at once: of one kind of memory, or of all together."""

    key, unit = "memory", "bytes"

    def __init__(self, formula, of=None):
        super().__init__(formula)
        self.of = of

    def says(self):
        return f"each rank holds at most {self.formula} bytes" + (
            f" of {self.of}" if self.of else ""
        )

    def counts(self, trace):
        return [most(trace, rank, self.of) for rank in range(trace.world_size)]

    def incredible(self, trial, wanted):
        outcome = trial.metered
        longest = received(outcome.trace)
        for rank, given in enumerate(trial.case.inputs):
            counted, least = (
                most(outcome.trace, rank),
                least_held(given, outcome.results[rank], longest[rank]),
            )
            if counted < least:
                return f"rank {rank}: {counted:,} bytes in all, though what it was given, received and returned takes {least:,}"
        return ""


def most(trace, rank, of=None):
    """The most bytes that a rank held at once, of this kind or of all."""
    if rank not in trace.held:
        return 0
    kinds = trace.memory_over_time(rank)[1]
    return max(kinds[of] if of else map(sum, zip(*kinds.values())), default=0)


def least_held(given, result, message):
    """Bytes that a rank has held at one moment, whatever its meter says.

    given    all of it is there when the function begins
    result   all different numbers of one dtype in it stand somewhere: views and expanded tensors may share their places
    message  bytes of the longest one that it received
    """
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for tensor in tensors_in(given)
    }
    by_dtype = {}
    for tensor in tensors_in(result):
        by_dtype.setdefault(tensor.dtype, []).append(tensor.detach().reshape(-1))
    numbers = [
        len(torch.cat(tensors).nan_to_num().unique()) * dtype.itemsize
        for dtype, tensors in by_dtype.items()
        if not dtype.is_complex
    ]
    return max(sum(storages.values()), message, *numbers, 0)


def received(trace):
    """Bytes of the longest message that each rank received."""
    longest = [0] * trace.world_size
    for rank, kind, nbytes in zip(*(trace.columns[name] for name in ("rank", "kind", "nbytes"))):
        if kind == "recv" and nbytes > longest[rank]:
            longest[rank] = nbytes
    return longest


class Flops(Metered):
    """A rank computes so many FLOPs, or at most so many."""

    key, unit = "flops", "FLOPs"

    def says(self):
        return f"each rank computes {'at most ' * self.at_most}{self.formula} FLOPs"

    def counts(self, trace):
        return trace.flops or [0] * trace.world_size

    def incredible(self, trial, wanted):
        """Nobody has computed anything, where somebody must: then it was computed where no meter sees it."""
        return (
            "0 FLOPs on all ranks: what was computed was not counted"
            if any(wanted) and not any(self.counts(trial.metered.trace))
            else ""
        )


class Overlap(Demand):
    """While messages are under way, a rank computes: in at least this share of the virtual seconds; the worst rank counts."""

    key = "overlap"

    def __init__(self, share, network, device):
        self.share, self.network, self.device = share, network, device

    def says(self):
        return f"each rank computes in at least {self.share:.0%} of the time in which it has messages under way"

    def look(self, trial):
        outcome = trial.computing_on(self.network, self.device)
        wanted = f"at least {self.share:.0%}"
        if outcome.error is not None:
            return Sight(False, wanted, str(outcome.error).split("\n")[0])
        shares = overlaps(outcome.trace)
        if not shares:
            return Sight(True, wanted, "no messages")
        rank = min(shares, key=shares.get)
        return Sight(shares[rank] >= self.share, wanted, f"rank {rank}: {shares[rank]:.0%}")


def overlaps(trace):
    """{rank: the share of the seconds with a message under way in which it computes}, for ranks that have messages.

    A message is under way from the moment when both sides have posted it.
    """
    under_way, computing = (
        {},
        {rank: list(stretches) for rank, stretches in trace.computing.items()},
    )
    for send, recv in trace.messages():
        if recv is not None and recv.done is not None:
            for rank in (send.rank, recv.rank):
                under_way.setdefault(rank, []).append((max(send.posted, recv.posted), recv.done))
    for event in trace:
        if event.kind == "compute" and event.done is not None:
            computing.setdefault(event.rank, []).append((event.posted, event.done))
    lengths = {
        rank: (length(joined(stretches)), joined(stretches))
        for rank, stretches in under_way.items()
    }
    return {
        rank: common(stretches, joined(computing.get(rank, []))) / seconds
        for rank, (seconds, stretches) in lengths.items()
        if seconds
    }


def joined(stretches):
    """The same seconds as stretches that do not overlap, in order."""
    out = []
    for start, end in sorted(stretches):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def length(stretches):
    """The seconds of stretches that do not overlap."""
    return sum(end - start for start, end in stretches)


def common(some, others):
    """The seconds that are in both; each is joined."""
    return max(0.0, length(some) + length(others) - length(joined([*some, *others])))
