"""A check is a sentence: what is demanded of a function, on which sizes, for how many points.

    check(reduce_scatter, "02-reduce-scatter").equals(shifted_sum).over(world_sizes=[1, 2, 3, 4, 7], lengths=[84]) \\
        .sends(messages="N - 1", nbytes="4 * n * (N - 1) // N").only_to_neighbours().never_deadlocks().worth(8)

`worth` ends the sentence: the function is run, every demand looks at the record, and a Report says what was wanted
and what was counted. The same sentence is spoken in the learner's notebook and by the judge.

Points: they are earned in proportion to the cases with right values, nothing while fewer than half of them are right.
Each other demand that fails halves what is left; `leaves` in demands.py names the few that cost less, or everything.
"""

import os

from minidl.check import arena as arenas
from minidl.check.book import book
from minidl.check.cases import Trial, cases_of, whole_numbers
from minidl.check.challenge import Track
from minidl.check.demands import (
    Counted,
    Inputs,
    LeavesUnequal,
    NeverDeadlocks,
    Peers,
    RealProcesses,
    Seconds,
    Steps,
    Values,
    Without,
)
from minidl.check.links import LinkBytes
from minidl.check.metered import Flops, Held, Metered, Overlap
from minidl.check.report import NOT_DONE, PARTLY, PASSED, WRONG, Finding, NotPassed, Report
from minidl.check.unbegun import is_stub


def check(fn, task):
    """Begin a sentence about `fn`, the answer to `task`."""
    return Check(fn, task)


class Check:
    """A sentence in the making. Every method but `worth` returns the Check itself."""

    def __init__(self, fn, task):
        self.fn, self.task, self.demands = fn, task, []
        self.world_sizes, self.lengths, self.give = (1, 2, 3, 4), (12,), whole_numbers
        self.arguments, self.timeout = {}, 20
        self.round, self.clues, self.points, self.track = "", (), 0, None

    # --- On what -------------------------------------------------------------------------------------------------

    def over(self, world_sizes, lengths=(12,)):
        """Every world size with every length: elements a rank is given; a length may be a function of N."""
        self.world_sizes, self.lengths = tuple(world_sizes), tuple(lengths)
        return self

    def given(self, give):
        """What a rank is given: give(rank, N, n, draws) -> a tuple of arguments; draws is a random.Random of its own."""
        self.give = give
        return self

    def called_with(self, **arguments):
        """Keyword arguments that every rank gets."""
        self.arguments = arguments
        return self

    # --- What is demanded ----------------------------------------------------------------------------------------

    def equals(self, oracle, within=0.0):
        """Every rank returns oracle(inputs, rank, N): inputs is the list of all ranks' arguments."""
        return self._and(Values(oracle, within))

    def sends(self, messages=None, nbytes=None):
        """Each rank sends exactly so much. Formulas over N, n and rank, as texts or functions."""
        return self._counted(messages, nbytes, at_most=False)

    def sends_at_most(self, messages=None, nbytes=None):
        """Each rank sends no more than this."""
        return self._counted(messages, nbytes, at_most=True)

    def only_to_neighbours(self):
        """Messages go to the left or the right neighbour of the ring only."""
        return self.only_to(
            lambda rank, N: {(rank - 1) % N, (rank + 1) % N}, "the neighbours on the ring"
        )

    def only_to(self, allowed, words):
        """Messages go only to allowed(rank, N), a set of ranks, called `words`."""
        return self._and(Peers(allowed, words))

    def carries_at_most(self, nbytes, link, words):
        """No link carries more, all ranks together: link(source, to, N) names the one a message takes, or is None."""
        return self._and(LinkBytes(nbytes, link, words))

    def takes(self, steps=None, seconds=None, on=None, device=None):
        """Over after at most so many steps; or at most so many virtual seconds `on` a network, where a Device computes at its pace."""
        if steps is not None:
            self._and(Steps(steps))
        return self if seconds is None else self._and(Seconds(seconds, on, device))

    def holds_at_most(self, nbytes, of=None):
        """No rank holds more bytes at once, of one kind of trace.MEMORY or of all together. A formula over N, n and rank."""
        return self._and(Held(nbytes, of))

    def computes(self, flops):
        """Each rank computes exactly so many FLOPs. A formula over N, n and rank."""
        return self._and(Flops(flops, at_most=False))

    def computes_at_most(self, flops):
        """Each rank computes no more FLOPs than this."""
        return self._and(Flops(flops))

    def overlaps(self, share, on=None, device=None):
        """On this network and device, every rank computes in such a share of the time in which it has messages under way."""
        return self._and(Overlap(share, on, device))

    def leaves_inputs_alone(self):
        """No rank changes what it was given."""
        return self._and(Inputs())

    def never_deadlocks(self):
        """It ends also where sends wait until they are received."""
        return self._and(NeverDeadlocks())

    def without(self, *modules):
        """The answer uses none of these modules."""
        return self._and(Without(modules))

    def on_real_processes(self):
        """The values are right on real processes, too, for as many ranks as the notebook's World has."""
        return self._and(RealProcesses(next(d for d in self.demands if isinstance(d, Values))))

    def differs_from_honest(self, nbytes):
        """For a wrong answer that is wanted: with three ranks or more, the bytes are not those of an honest one."""
        return self._and(LeavesUnequal(nbytes))

    def races(self, on, ranks, length, bound, rival, device=None):
        """An open challenge: once all demands are met, how fast is it on this network? See race.Track."""
        self.track = Track(on, ranks, length, bound, rival, self.give, self.task, device)
        return self

    # --- What helps ----------------------------------------------------------------------------------------------

    def read(self, round):
        """Which round of which notebook to read again."""
        self.round = round
        return self

    def hints(self, *clues):
        """Up to three hints, each saying more than the one before."""
        self.clues = clues
        return self

    # --- The end of the sentence ---------------------------------------------------------------------------------

    def worth(self, points):
        """Run everything and return the Report. Under nbval a Report that lacks points is raised as NotPassed."""
        self.points = points
        report = self._told(self._examine())
        book().write(self.task, self, report)
        return self._end(report)

    def repeated(self, world_sizes=None, lengths=None):
        """The same sentence over other sizes."""
        self.world_sizes = tuple(self.world_sizes if world_sizes is None else world_sizes)
        self.lengths = tuple(self.lengths if lengths is None else lengths)
        return self.worth(self.points)

    def _and(self, demand):
        self.demands.append(demand)
        return self

    def _counted(self, messages, nbytes, at_most):
        for what, formula in (("messages", messages), ("nbytes", nbytes)):
            if formula is not None:
                self._and(Counted(what, formula, at_most))
        return self

    def _examine(self):
        arena = arenas.current()
        if self.fn is None or is_stub(arena.source(self.fn), getattr(self.fn, "__name__", "")):
            return Report(self.task, self.points, 0, NOT_DONE)
        draws = lambda *words: book().draws(self.task, *words)
        sizes = self.world_sizes
        if any(isinstance(demand, RealProcesses) for demand in self.demands):
            sizes = sorted({*sizes, arena.real_ranks()})
        on_meter = any(isinstance(demand, Metered) for demand in self.demands)
        trials = [
            Trial(arena, self.fn, case, self.arguments, self.timeout, on_meter)
            for case in cases_of(sizes, self.lengths, self.give, draws)
        ]
        seen = {demand: [] for demand in self.demands}
        for trial in trials:
            trial.real_here = trial.case.N == arena.real_ranks() and trial.case.n == max(
                t.case.n for t in trials if t.case.N == trial.case.N
            )
            if trial.outcome.not_done:
                return Report(self.task, self.points, 0, NOT_DONE)
            for demand in self.demands:
                sight = demand.look(trial)
                if sight is not None:
                    seen[demand].append((trial, sight))
        return self._added_up(seen)

    def _added_up(self, seen):
        right = [
            sight.passed
            for demand, sights in seen.items()
            if isinstance(demand, Values)
            for trial, sight in sights
            if trial.case.N > 1 or self.world_sizes == (1,)
        ]
        fraction = sum(right) / len(right) if right else 1.0
        findings, failing, left = [], None, fraction if fraction >= 0.5 else 0.0
        for demand, sights in seen.items():
            trial, sight = next(
                ((t, s) for t, s in sights if not s.passed), sights[-1] if sights else (None, None)
            )
            passed = all(s.passed for _, s in sights)
            left *= 1.0 if passed or isinstance(demand, Values) else demand.leaves
            findings.append(Finding(demand, trial and trial.case, sight))
            failing = trial if failing is None and not passed else failing
        earned = round(self.points * left, 2)
        state = PASSED if all(f.passed for f in findings) else PARTLY if left else WRONG
        return Report(self.task, self.points, earned, state, findings, failing)

    def _told(self, report):
        report.fn, report.round, report.hints = self.fn, self.round, self.clues
        if self.track is not None and report.passed:
            report.race = self.track.run(arenas.current(), self.fn, self.arguments)
        return report

    def _end(self, report):
        arenas.current().told(report)
        if os.environ.get("PYTEST_CURRENT_TEST") and arenas.current().watched and not report.passed:
            raise NotPassed(report)
        return report
