"""On what is a function tried, and what happened?

    world_sizes [1, 2, 3] x lengths [1, 64]  ->  six cases, small ones first: 1 rank 1 element, 1 rank 64, 2 ranks 1, ...

A Case is a size and the inputs drawn for it; a Trial runs the function on it, as often as demands need and no
oftener. Inputs are whole numbers, so that a sum is the same in every order.
"""

import copy
from dataclasses import dataclass
from functools import cached_property

import torch

from minidl.check.arena import Outcome
from minidl.errors import DeadlockError, LeftoverError
from minidl.runtime.virtual.network import Uniform

STEPS = Uniform(alpha=1.0, beta=0.0)  # every message takes one second: virtual seconds are steps


def whole_numbers(rank, N, n, draws):
    """One tensor of n elements with whole numbers from -8 to 8: what a rank is given where a check says nothing else."""
    generator = torch.Generator().manual_seed(
        draws.getrandbits(48)
    )  # on every machine the same numbers
    return (torch.randint(-8, 9, (n,), generator=generator).float(),)


@dataclass(frozen=True)
class Case:
    """N ranks, n elements; inputs: a tuple of positional arguments for each rank."""

    N: int
    n: int
    inputs: tuple

    def __str__(self):
        return f"{self.N} rank{'s' * (self.N != 1)}, {self.n} element{'s' * (self.n != 1)}"

    def fresh(self):
        """Copies of the inputs, so that no run can harm the next one."""
        return [tuple(map(copied, args)) for args in self.inputs]


def copied(value):
    """The value with tensors and models of its own; lists, tuples and dicts are looked into."""
    if isinstance(value, (torch.nn.Module, torch.nn.Parameter)):
        return copy.deepcopy(value)
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return type(value)(map(copied, value)) if type(value) in (list, tuple) else value


class Trial:
    """A function on one case. on_meter: is the strict run metered? Where memory or FLOPs are demanded, one run then does for both."""

    def __init__(self, arena, fn, case, arguments, timeout, on_meter=False):
        self.arena, self.fn, self.case, self.arguments, self.timeout, self.on_meter = (
            arena,
            fn,
            case,
            arguments,
            timeout,
            on_meter,
        )
        self.real_here = False  # is this the case that is run on real processes, too?
        self._timed = {}

    @cached_property
    def strict(self) -> Outcome:
        """The run in which a send is over when it has been received, and every message takes one second."""
        return self._run(network=STEPS, meter=self.on_meter)

    @property
    def stuck(self):
        """Did the strict run end in a deadlock, or with messages that nobody took?"""
        return isinstance(self.strict.error, (DeadlockError, LeftoverError))

    @cached_property
    def outcome(self) -> Outcome:
        """The strict run; after a deadlock, the run with room for every message: its values may still be right."""
        return (
            self._run(network=STEPS, buffered=True, meter=self.on_meter)
            if isinstance(self.strict.error, DeadlockError)
            else self.strict
        )

    @cached_property
    def real(self) -> Outcome:
        """The run on real processes."""
        return self.arena.real(
            self.fn, self.case.fresh(), arguments=self.arguments, timeout=self.timeout
        )

    def on(self, network) -> Outcome:
        """The run on another network."""
        if network not in self._timed:
            self._timed[network] = self._run(
                network=network, buffered=isinstance(self.strict.error, DeadlockError)
            )
        return self._timed[network]

    @cached_property
    def metered(self) -> Outcome:
        """The run in which memory and FLOPs are counted."""
        return self.outcome if self.on_meter else self.computing_on(STEPS, None)

    def computing_on(self, network, device) -> Outcome:
        """The metered run on this network, where a Device makes computing take its time."""
        if (network, device) not in self._timed:
            buffered = isinstance(self.strict.error, DeadlockError)
            self._timed[network, device] = self._run(
                network=network, device=device, buffered=buffered, meter=True
            )
        return self._timed[network, device]

    def _run(self, **how):
        return self.arena.run(
            self.fn, self.case.fresh(), arguments=self.arguments, timeout=self.timeout, **how
        )


def cases_of(world_sizes, lengths, give, draws):
    """All cases, small ones first. give(rank, N, n, draws) -> a rank's arguments; draws(*words) -> a random generator."""
    sizes = sorted((N, n(N) if callable(n) else n) for N in world_sizes for n in lengths)
    return [
        Case(N, n, tuple(tuple(give(rank, N, n, draws(N, n, rank))) for rank in range(N)))
        for N, n in sizes
    ]
