"""Show what the ranks print and how far they are, while they run.

    2| text         a line of rank 2, as soon as it is printed

Under pytest and nbval all lines are shown at the end, sorted by rank.
"""

import os
import sys

from tqdm import tqdm

MOST_LINES = 2000  # shown per run; all others are in run.output


def someone_watches():
    """False under pytest and nbval, and if MINIDL_OUTPUT=sorted: output must not depend on time."""
    return "PYTEST_CURRENT_TEST" not in os.environ and os.environ.get("MINIDL_OUTPUT") != "sorted"


def sorted_lines(lines):
    """ "rank| text" for every line of {rank: lines}, sorted by rank."""
    return [f"{rank}| {line}" for rank in sorted(lines) for line in lines[rank]]


class Echo:
    """The output of one run."""

    def __init__(self, n_ranks):
        self.out = sys.stdout  # a VirtualWorld replaces it while it runs
        self.live = someone_watches()
        self.n_ranks = n_ranks
        self.shown = 0  # lines so far
        self.bar = None
        self.steps = {}  # rank -> steps done

    def lines(self, rank, lines):
        """Rank `rank` printed these lines."""
        if self.live:
            self._print(sorted_lines({rank: lines}))

    def progress(self, rank, i, n):
        """Rank `rank` has done i of n steps; the bar shows the slowest rank."""
        if not self.live or n <= 0:
            return
        self.steps[rank] = i
        if self.bar is None:
            self.bar = tqdm(
                desc="slowest rank", total=n, unit="step", ncols=80, leave=False, file=self.out
            )
        self.bar.total = n
        if len(self.steps) == self.n_ranks:
            slowest = min(self.steps.values())
            self.bar.update(max(0, slowest - self.bar.n))

    def finish(self, lines):
        """The run has ended: close the bar; show {rank: lines} unless they were shown before."""
        if self.bar is not None:
            self.bar.close()
        if not self.live:
            self._print(sorted_lines(lines))

    def _print(self, lines):
        room = MOST_LINES - self.shown
        self.shown += len(lines)
        write = print if self.bar is None else self.bar.write
        for line in lines[: max(0, room)]:
            write(line, file=self.out)
        if 0 <= room < len(lines):
            print(f"(more than {MOST_LINES} lines: the others are in run.output)", file=self.out)
