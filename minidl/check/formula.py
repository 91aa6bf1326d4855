"""A count as a formula that can be read and computed: "2 * (N - 1)".

    Formula("ceil(log2(N))")(N=7, n=64)  ->  3          N ranks, n elements a rank, rank: whose count it is

It comes from the master of an exercise, never from a submission.
"""

from math import ceil, floor, gcd, log2

NAMES = {
    "ceil": ceil,
    "floor": floor,
    "gcd": gcd,
    "log2": log2,
    "min": min,
    "max": max,
    "sum": sum,
    "range": range,
    "abs": abs,
    "int": int,
}


class Formula:
    """A text over N, n and rank, a number, or a function of some of N, n and rank; its docstring then says what it counts."""

    def __init__(self, formula):
        self.text = formula if isinstance(formula, str) else None
        self.formula = compile(formula, "formula", "eval") if isinstance(formula, str) else formula

    def __call__(self, **names):
        if self.text is not None:
            return eval(self.formula, {"__builtins__": {}, **NAMES, **names})
        if not callable(self.formula):
            return self.formula
        code = self.formula.__code__
        return self.formula(
            **{name: names[name] for name in code.co_varnames[: code.co_argcount] if name in names}
        )

    def __str__(self):
        if self.text is not None:
            return self.text
        return (
            self.formula.__doc__ or "the right number of"
            if callable(self.formula)
            else f"{self.formula:,}"
        )
