"""On what is a function tried, and what happened?

    world_sizes [1, 2, 3] x lengths [1, 64]   ->   six cases, small ones first:
                                                   1 rank 1 element, 1 rank 64, 2 ranks 1, ...

A Case is a size and the inputs drawn for it. A Trial runs the function on it, as often as its
demands need. Inputs are whole numbers, so that a sum is the same in every order.
"""

import copy
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch.utils._pytree import tree_map

from minidl.check.arena import Outcome
from minidl.errors import DeadlockError, LeftoverError
from minidl.runtime.run import count_of
from minidl.runtime.virtual.network import Uniform

STEPS = Uniform(alpha=1.0, beta=0.0)  # every message takes one second: virtual seconds are steps


def whole_numbers(rank, N, n, draws):
    """What a rank is given by default: one tensor of n elements, whole numbers from -8 to 8."""
    generator = torch.Generator().manual_seed(draws.getrandbits(48))  # the same on every machine
    return (torch.randint(-8, 9, (n,), generator=generator).float(),)


@dataclass(frozen=True)
class Case:
    """N ranks, n elements; inputs: a tuple of positional arguments for each rank."""

    N: int
    n: int
    inputs: tuple

    def __str__(self):
        return f"{count_of(self.N, 'rank')}, {count_of(self.n, 'element')}"

    def fresh(self):
        """Copies of the inputs, so that no run can change those of the next one."""
        return tree_map(_copy_of, list(self.inputs))


def _copy_of(value):
    """A copy of a tensor or a model; other values as they are."""
    if isinstance(value, (torch.nn.Module, torch.nn.Parameter)):
        return copy.deepcopy(value)
    return value.clone() if isinstance(value, torch.Tensor) else value


@dataclass(eq=False)
class Trial:
    """A function on one case.

    on_meter  are memory and FLOPs counted in the strict run? Then one run serves all demands.
    on_real   is this the case that runs on real processes, too?
    """

    arena: object
    fn: object
    case: Case
    timeout: float
    on_meter: bool = False
    on_real: bool = False
    _runs: dict = field(default_factory=dict)

    @cached_property
    def strict(self) -> Outcome:
        """The run in which a send ends when it is received, and a message takes one second."""
        return self._run(STEPS, meter=self.on_meter)

    @property
    def deadlocked(self):
        """Did the strict run end in a deadlock?"""
        return isinstance(self.strict.error, DeadlockError)

    @property
    def stuck(self):
        """Did the strict run end in a deadlock, or with messages that no rank received?"""
        return self.deadlocked or isinstance(self.strict.error, LeftoverError)

    @cached_property
    def outcome(self) -> Outcome:
        """The strict run; after a deadlock, a run that buffers messages, to see its values."""
        if self.deadlocked:
            return self._run(STEPS, buffered=True, meter=self.on_meter)
        return self.strict

    @cached_property
    def real(self) -> Outcome:
        """The run on real processes."""
        return self.arena.real(self.fn, self.case.fresh(), timeout=self.timeout)

    @cached_property
    def metered(self) -> Outcome:
        """A run in which memory and FLOPs are counted."""
        return self.outcome if self.on_meter else self.on(STEPS, meter=True)

    def on(self, network, device=None, meter=False) -> Outcome:
        """The run on another network. With a Device, computing takes time and must be metered."""
        # Several demands may ask for the same run: it runs once.
        key = (network, device, meter)
        if key not in self._runs:
            self._runs[key] = self._run(
                network, buffered=self.deadlocked, device=device, meter=meter
            )
        return self._runs[key]

    def _run(self, network, **options):
        inputs = self.case.fresh()
        return self.arena.run(self.fn, inputs, timeout=self.timeout, network=network, **options)


def cases_of(world_sizes, lengths, give, draws):
    """All cases, small ones first.

    give(rank, N, n, draws) -> a rank's arguments; draws(*words) -> a random.Random.
    A length may be a function of N.
    """
    sizes = [(N, n(N) if callable(n) else n) for N in world_sizes for n in lengths]
    cases = []
    for N, n in sorted(sizes):
        # Each rank of each case draws from a generator of its own, so cases can be added freely.
        inputs = [tuple(give(rank, N, n, draws(N, n, rank))) for rank in range(N)]
        cases.append(Case(N, n, tuple(inputs)))
    return cases
