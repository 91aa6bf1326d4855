"""What both worlds give back, and what both accept: a Run, and the options of world.run().

run = world.run(fn, timeout=30, faults=[Slow(2, 3)])
run.results, run.output, run.trace
"""

from minidl.runtime.comms.faults import check_faults
from minidl.runtime.processes.on_death import ON_DEATH
from minidl.runtime.words.echo import sorted_lines


class Run:
    """What one run returned, printed and did.

    results  what the function returned, by rank; None for a rank that did not return
    output   what the ranks printed, "rank| line", sorted by rank
    trace    every event (see trace.Trace)
    """

    def __init__(self, ranks, results, lines, trace):
        self.ranks = tuple(ranks)
        self.results = results
        self.trace = trace
        self.output = "\n".join(sorted_lines(lines))

    def __repr__(self):
        ranks = count_of(len(self.ranks), "rank")
        total = sum(self.trace.sent())
        messages = count_of(total, "message", ",")
        nbytes = self.trace.sent("nbytes")
        sent = sorted(nbytes[rank] for rank in self.ranks)
        span = f"{sent[-1]:,}"
        if sent[0] < sent[-1]:
            span = f"{sent[0]:,} to {span}"
        return f"Run({ranks}, {messages}, {span} B sent per rank)"


def count_of(n, noun, style=""):
    """ "1 rank", "4 ranks"; with the style ",": "4,096 messages"."""
    return f"1 {noun}" if n == 1 else f"{n:{style}} {noun}s"


def check_size(kind, world_size, most):
    """Raise ValueError if a world of this kind cannot have that many ranks."""
    whole = isinstance(world_size, int) and world_size is not True
    in_range = whole and 1 <= world_size <= most
    if not in_range:
        raise ValueError(f"a {kind} has 1 to {most} ranks, not {world_size!r}")


def check_options(world_size, timeout, faults, on_death, virtual=False):
    """Raise ValueError or TypeError, in words, for an option of run() that makes no sense."""
    if on_death not in ON_DEATH:
        choices = " or ".join(f'"{name}"' for name in ON_DEATH)
        raise ValueError(f"on_death must be {choices}, not {on_death!r}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is a positive number of seconds or None, not {timeout!r}")
    check_faults(faults, world_size, virtual)
