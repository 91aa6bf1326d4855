"""What a check found, demand by demand.

    02-reduce-scatter: 5 of 8 points
      yes  every rank returns the right values
      no   each rank sends N - 1 messages         wanted 3, counted 6 (4 ranks, 84 elements)

A Report is data: show.py draws it, judge.py writes it down, score.py adds it up.
"""

from dataclasses import dataclass, field

from minidl.check.cases import Case
from minidl.check.demands import Demand, Sight

NOT_DONE, PASSED, PARTLY, WRONG = "not done", "passed", "partly", "wrong"


@dataclass
class Finding:
    """One demand over all cases. case: the smallest that fails it, or the largest if none does."""

    demand: Demand
    case: Case | None
    sight: Sight | None

    @property
    def passed(self):
        """Does every case fulfil it?"""
        return self.sight is None or self.sight.passed


@dataclass
class Report:
    """What a check found.

    points   to be had;  earned: how many of them
    failing  the Trial of the smallest case that fails the first failed demand; None if none fails
    error    what went wrong before anything could be looked at, in words
    race     how fast an open challenge was met, a race.Race; None where there is none
    """

    task: str
    points: float
    earned: float
    state: str
    findings: list = field(default_factory=list)
    failing: object = None
    error: str = ""
    fn: object = None
    round: str = ""
    hints: tuple = ()
    race: object = None

    @property
    def passed(self):
        """Is everything earned?"""
        return self.state == PASSED

    @property
    def first_failed(self):
        """The first Finding that is not passed, or None."""
        return next((finding for finding in self.findings if not finding.passed), None)

    def lines(self):
        """(passed, what was demanded, wanted and counted) of each demand."""
        for finding in self.findings:
            sight, words = finding.sight, ""
            if sight is not None and (sight.wanted != sight.counted or not sight.passed):
                words = f"wanted {sight.wanted}, found {sight.counted} ({finding.case})"
            elif sight is not None and sight.counted[:1].isdigit():
                words = f"{sight.counted} ({finding.case})"
            yield finding.passed, finding.demand.says(), words

    def __repr__(self):
        if self.state == NOT_DONE:
            return f"{self.task}: not done yet ({self.points:g} points)"
        rows = [
            self.task
            + (f": {self.earned:g} of {self.points:g} points" if self.points else f": {self.state}")
        ] + ([f"  {self.error}"] if self.error else [])
        rows += [
            f"  {'yes' if passed else 'no '}  {says}{': ' * bool(words)}{words}"
            for passed, says, words in self.lines()
        ]
        return "\n".join(rows + ([f"  {self.race}"] if self.race else []))

    def _repr_html_(self):
        from minidl.check.show import html

        return html(self)


class NotPassed(Exception):
    """A check did not pass, and nobody watches: nbval counts the cell as failed. Shows the report and no frames."""

    def __init__(self, report):
        super().__init__(repr(report))
        self.report = report

    def _render_traceback_(self):
        return [str(self)]
