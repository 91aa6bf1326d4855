"""Ranks that are threads of one process: each has random numbers of its own from torch, numpy and random.

    numpy.random.rand(3)  -->  forwarder  -->  the RandomState of the rank that runs now
    torch.rand(3)         -->  torch's one generator, whose state changes hands at each switch (1 us)

While a run lasts, the functions of numpy.random and random forward to the generator of the current
rank, made when first used. torch's default dtype changes hands, too, where a rank has set it. Afterwards
everything is as it was before.
"""

import random

import numpy
import torch

from minidl.runtime.comms.seeding import seed_of


class RankRandomness:
    """The random states of the ranks of one run."""

    def __init__(self, seed):
        self.seed, self.rank = seed, None
        self.torch_states, self.generators, self.dtypes = {}, {}, {}
        self.replaced = []

    def __enter__(self):
        self.torch_before, self.dtype_before = torch.get_rng_state(), torch.get_default_dtype()
        single = numpy.random.mtrand._rand
        self._forward(numpy.random, single, "numpy")
        self._forward(random, random._inst, "random")
        self._replace(numpy.random.mtrand, "_rand", _Forwarder(self))
        return self

    def __exit__(self, *_):
        for module, name, value in reversed(self.replaced):
            setattr(module, name, value)
        torch.set_rng_state(self.torch_before)
        torch.set_default_dtype(self.dtype_before)

    def enter(self, rank):
        """From here on the random numbers are this rank's."""
        if rank == self.rank:
            return
        generator = torch.default_generator
        if self.rank is not None:
            self.torch_states[self.rank] = generator.get_state()
            self._change_dtype(torch.get_default_dtype(), rank)
        self.rank = rank
        state = self.torch_states.get(rank)
        if state is None:
            generator.manual_seed(seed_of(self.seed, rank))
        else:
            generator.set_state(state)

    def _change_dtype(self, dtype, rank):
        """The default dtype of the rank that ran is kept; the next one gets its own."""
        if self.dtypes or dtype is not self.dtype_before:
            self.dtypes[self.rank] = dtype
            torch.set_default_dtype(self.dtypes.get(rank, self.dtype_before))

    def current(self, kind):
        """The numpy or random generator of the rank that runs now."""
        key = kind, self.rank
        if key not in self.generators:
            seed = seed_of(self.seed, self.rank)
            self.generators[key] = (
                numpy.random.RandomState(seed % 2**32) if kind == "numpy" else random.Random(seed)
            )
        return self.generators[key]

    def _forward(self, module, instance, kind):
        for name in dir(module):
            if getattr(getattr(module, name), "__self__", None) is instance:
                self._replace(
                    module,
                    name,
                    lambda *args, _name=name, **kwargs: getattr(self.current(kind), _name)(
                        *args, **kwargs
                    ),
                )

    def _replace(self, module, name, value):
        self.replaced.append((module, name, getattr(module, name)))
        setattr(module, name, value)


class _Forwarder:
    """Stands in for numpy's global RandomState, which libraries fetch by its private name."""

    def __init__(self, randomness):
        self._randomness = randomness

    def __getattr__(self, name):
        return getattr(self._randomness.current("numpy"), name)
