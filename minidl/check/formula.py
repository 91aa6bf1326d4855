"""A count as a formula that can be read and computed: "2 * (N - 1)".

    Formula("ceil(log2(N))")(N=7, n=64)  ->  3      N ranks, n elements per rank, rank: whose count

A formula is a part of the exercise's own check, never of a submission, so it may be evaluated.
"""

import inspect
import math

NAMES = {
    "ceil": math.ceil,
    "floor": math.floor,
    "gcd": math.gcd,
    "log2": math.log2,
    "min": min,
    "max": max,
    "sum": sum,
    "range": range,
    "abs": abs,
    "int": int,
}


class Formula:
    """A string over N, n and rank, a number, or a function of some of them.

    The docstring of a function says what it counts.
    """

    def __init__(self, formula):
        self.formula = formula

    def __call__(self, **sizes):
        if isinstance(self.formula, str):
            return eval(self.formula, {"__builtins__": {}, **NAMES, **sizes})
        if not callable(self.formula):
            return self.formula
        # A function takes only the sizes that it names: lambda rank, N: int(rank < N - 1)
        wanted = inspect.signature(self.formula).parameters
        return self.formula(**{name: sizes[name] for name in wanted if name in sizes})

    def __str__(self):
        if isinstance(self.formula, str):
            return self.formula
        if callable(self.formula):
            return self.formula.__doc__ or "the right number of"
        return f"{self.formula:,}"

    def for_all(self, case):
        """The count of a case, all ranks together."""
        return self(N=case.N, n=case.n)

    def for_each_rank(self, case):
        """The counts of a case: a list, one entry for each rank."""
        return [self(N=case.N, n=case.n, rank=rank) for rank in range(case.N)]
