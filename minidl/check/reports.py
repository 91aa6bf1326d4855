"""What a check found, demand by demand.

    02-reduce-scatter: 5 of 8 points
      yes  every rank returns the right values
      no   each rank sends N - 1 messages: wanted 3, found 6 (4 ranks, 84 elements)

A Report is data: a terminal shows it as text, a notebook as show.py draws it, the judge as JSON.
"""

from dataclasses import dataclass, field

from minidl.check.cases import Case
from minidl.check.demands import Demand, Sight
from minidl.check.show import report_html

NOT_DONE = "not done"
PASSED = "passed"
PARTLY = "partly"
WRONG = "wrong"


@dataclass
class DemandResult:
    """One demand in all cases. case: the smallest that fails it, or the largest if none does."""

    demand: Demand
    case: Case | None
    sight: Sight | None

    @property
    def passed(self):
        """Does every case meet the demand?"""
        return self.sight is None or self.sight.passed

    def in_words(self):
        """What was wanted and found, and in which case; "" if the demand says it all."""
        sight = self.sight
        if sight is None:
            return ""
        if sight.wanted != sight.counted or not sight.passed:
            return f"wanted {sight.wanted}, found {sight.counted} ({self.case})"
        if sight.counted[:1].isdigit():
            return f"{sight.counted} ({self.case})"
        return ""


@dataclass
class Report:
    """What a check found.

    points   that the task is worth;  earned: how many of them
    state    NOT_DONE, PASSED, PARTLY or WRONG
    findings one for each demand, in the order of the sentence
    failing  the Trial of the smallest case that fails the first failed demand; None if none fails
    fn       the function that was checked
    round    of a notebook, to be read again;  hints: up to three
    race     how fast an open challenge was met, a challenge.Race; None if there is none
    """

    task: str
    points: float
    earned: float
    state: str
    findings: list = field(default_factory=list)
    failing: object = None
    fn: object = None
    round: str = ""
    hints: tuple = ()
    race: object = None

    @property
    def passed(self):
        """Is everything earned?"""
        return self.state == PASSED

    @property
    def not_done(self):
        """Is the answer still the stub that was handed out?"""
        return self.state == NOT_DONE

    @property
    def result(self):
        """What is earned, in words: "5 of 8 points"."""
        if self.not_done:
            return f"not done yet ({self.points:g} points)"
        if self.points:
            return f"{self.earned:g} of {self.points:g} points"
        return self.state

    @property
    def first_failed(self):
        """The first DemandResult that is not passed, or None."""
        return next((finding for finding in self.findings if not finding.passed), None)

    def lines(self):
        """(passed, the demand, what was wanted and found) of each demand, in words."""
        for finding in self.findings:
            yield finding.passed, finding.demand.says(), finding.in_words()

    def __repr__(self):
        lines = [f"{self.task}: {self.result}"]
        for passed, demand, counts in self.lines():
            answer = "yes" if passed else "no "
            colon = ": " if counts else ""
            lines.append(f"  {answer}  {demand}{colon}{counts}")
        if self.race:
            lines.append(f"  {self.race}")
        return "\n".join(lines)

    def _repr_html_(self):
        return report_html(self)


class NotPassed(Exception):
    """A check that did not pass under nbval: its cell fails and shows the report, not the stack."""

    def __init__(self, report):
        super().__init__(repr(report))
        self.report = report

    def _render_traceback_(self):
        return [str(self)]
