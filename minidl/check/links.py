"""How much may a link carry?

    island 0 1 2 =====one cable===== 3 4 5 island       link(1, 4, N) -> "cable", link(1, 2, N) -> None: not looked at

Counting per rank does not see this: a ring all-reduce sends few bytes from each rank, and still almost twice as
many over the cable as two islands need to. See demands.py for the other demands.
"""

from collections import defaultdict

from minidl.check.demands import Demand, Sight
from minidl.check.formula import Formula


class LinkBytes(Demand):
    """No link carries more than so many bytes. link(source, to, N): the name of the link that a message takes, or None."""

    key = "link"

    def __init__(self, formula, link, words):
        self.formula, self.link, self.words = Formula(formula), link, words

    def says(self):
        return f"{self.words} carries at most {self.formula} bytes"

    def look(self, trial):
        case = trial.case
        wanted, carried, guilty = self.formula(N=case.N, n=case.n), defaultdict(int), None
        for event in sorted(trial.outcome.trace.where(kind="send"), key=lambda event: event.posted):
            name = self.link(event.rank, event.peer, case.N)
            if name is not None:
                carried[name] += event.nbytes
                guilty = event if guilty is None and carried[name] > wanted else guilty
        return Sight(
            guilty is None, f"at most {wanted:,}", f"{max(carried.values(), default=0):,}", guilty
        )
