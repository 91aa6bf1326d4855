"""A check is a sentence: what is demanded of a function, on which sizes, for how many points.

    (check(reduce_scatter, "02-reduce-scatter")
     .equals(shifted_sum).over(world_sizes=[1, 2, 3, 4, 7], lengths=[84])
     .sends(messages="N - 1", nbytes="4 * n * (N - 1) // N").only_to_neighbours().worth(8))

`worth` ends the sentence: the function runs, every demand looks at the record, and a Report says
what was wanted and what was counted. A learner's notebook and the judge execute the same sentence.

Points are earned in proportion to the cases with right values, none if fewer than half are right.
Each other demand that fails halves what is left, unless its class in demands.py says otherwise.
"""

import os

import minidl.check.arena as arenas
from minidl.check.answer_text import is_stub
from minidl.check.book import current_book
from minidl.check.cases import Trial, cases_of, whole_numbers
from minidl.check.challenge import Track
from minidl.check.demands import Sentence
from minidl.check.demands_metered import Metered
from minidl.check.reports import NOT_DONE, PARTLY, PASSED, WRONG, DemandResult, NotPassed, Report
from minidl.runtime.virtual.virtual_run import one_torch_thread


def check(fn, task):
    """Begin a sentence about `fn`, the answer to `task`."""
    return Check(fn, task)


class Check(Sentence):
    """A sentence in the making. Every method but `worth` and `repeated` returns the Check itself.

    The words that demand something, such as equals() and sends(), are defined in demands.py.
    """

    def __init__(self, fn, task):
        super().__init__()
        self.fn = fn
        self.task = task
        self.world_sizes = (1, 2, 3, 4)
        self.lengths = (12,)
        self.give = whole_numbers
        self.timeout = 20
        self.round = ""
        self.clues = ()
        self.points = 0
        self.track = None

    # --- On what -----------------------------------------------------------------------------

    def over(self, world_sizes, lengths=(12,)):
        """Every world size with every length: elements per rank, a number or a function of N."""
        self.world_sizes = tuple(world_sizes)
        self.lengths = tuple(lengths)
        return self

    def given(self, give):
        """What a rank gets: give(rank, N, n, draws) -> its arguments. draws: a random.Random."""
        self.give = give
        return self

    def races(self, on, ranks, length, bound, rival, device=None):
        """An open challenge: once all demands are met, how fast is it? See challenge.Track."""
        self.track = Track(on, ranks, length, bound, rival, self.give, self.task, device)
        return self

    # --- What helps --------------------------------------------------------------------------

    def read(self, round):
        """Which round of which notebook to read again."""
        self.round = round
        return self

    def hints(self, *clues):
        """Up to three hints, each saying more than the one before."""
        self.clues = clues
        return self

    # --- The end of the sentence -------------------------------------------------------------

    def worth(self, points):
        """Run everything; returns the Report. Under nbval, raises NotPassed if points are lost."""
        self.points = points
        arena = arenas.current()
        with one_torch_thread():  # on small tensors two take three times as long as one
            report = self._examine(arena)
        report.fn = self.fn
        report.round = self.round
        report.hints = self.clues
        # A fast wrong answer wins nothing.
        if self.track is not None and report.passed:
            report.race = self.track.run(arena, self.fn)
        current_book().write(self.task, self, report)
        arena.after_check(report)
        if arena.watched and not report.passed and os.environ.get("PYTEST_CURRENT_TEST"):
            raise NotPassed(report)
        return report

    def repeated(self, world_sizes=None, lengths=None):
        """The same sentence on other sizes."""
        self.over(world_sizes or self.world_sizes, lengths or self.lengths)
        return self.worth(self.points)

    def cases(self, world_sizes, lengths):
        """The cases of these sizes, with inputs drawn for this task and student."""
        book = current_book()
        return cases_of(
            world_sizes, lengths, self.give, lambda *words: book.draws(self.task, *words)
        )

    def _examine(self, arena):
        """Run every case and let every demand look at it; returns the Report."""
        not_done = Report(self.task, self.points, 0, NOT_DONE)
        if self.fn is None or is_stub(arena.source(self.fn), getattr(self.fn, "__name__", "")):
            return not_done
        # A demand finds nothing in some cases, so the lists differ in length.
        sights = {demand: [] for demand in self.demands}  # demand -> [(trial, sight), ...]
        for trial in self._trials(arena):
            if trial.outcome.not_done:
                return not_done
            for demand in self.demands:
                sight = demand.look(trial)
                if sight is not None:
                    sights[demand].append((trial, sight))
        return self._report(sights)

    def _trials(self, arena):
        """A Trial of each case, small ones first."""
        sizes = set(self.world_sizes)
        real_ranks = None
        if any(demand.needs_real for demand in self.demands):
            real_ranks = arena.real_ranks()
            sizes.add(real_ranks)
        # With a metered demand, one run counts both messages and memory.
        on_meter = any(isinstance(demand, Metered) for demand in self.demands)
        cases = self.cases(sizes, self.lengths)
        # Processes are slow to start, so only the longest case runs on them.
        longest = max((case.n for case in cases if case.N == real_ranks), default=0)
        for case in cases:
            on_real = (case.N, case.n) == (real_ranks, longest)
            yield Trial(arena, self.fn, case, self.timeout, on_meter, on_real)

    def _report(self, sights):
        """The points: the share of right cases, reduced by each other demand that fails."""
        left = self._share_of_right_cases(sights)
        findings = []
        failing = None
        for demand, seen in sights.items():
            failed = [(trial, sight) for trial, sight in seen if not sight.passed]
            # The smallest case that fails tells most; without one, the largest that was seen.
            trial, sight = [*failed, *seen[-1:], (None, None)][0]
            findings.append(DemandResult(demand, trial and trial.case, sight))
            if failed:
                failing = failing or trial
                if not demand.by_case:
                    left *= demand.leaves
        state = PASSED
        if failing:
            state = PARTLY if left else WRONG
        earned = round(self.points * left, 2)
        return Report(self.task, self.points, earned, state, findings, failing)

    def _share_of_right_cases(self, sights):
        """The share of cases with right values; 0 below one half, 1 if no values are demanded."""
        right = [
            sight.passed
            for demand, seen in sights.items()
            for trial, sight in seen
            # On one rank there is nothing to communicate: too easy to count.
            if demand.by_case and (trial.case.N > 1 or self.world_sizes == (1,))
        ]
        if not right:
            return 1.0
        share = sum(right) / len(right)
        return share if share >= 0.5 else 0.0
