"""Ranks that are threads of one process: each has its own random numbers of torch, numpy, random.

    numpy.random.rand(3)  -->  forwarder  -->  the RandomState of the rank that runs now
    torch.rand(3)         -->  torch's one generator, whose state is swapped at each switch (1 us)

While a run lasts, the functions of numpy.random and random forward to the generator of the current
rank, made when first used, also where a module of the learner's imported them by name
(`from random import randint`). torch's default dtype is swapped, too, once a rank has set it. At
the end everything is as it was before.
"""

import random
import types

import numpy
import torch

from minidl.runtime.comms.seeding import seed_of
from minidl.runtime.words.modules import learners_modules

METHODS = (types.MethodType, types.BuiltinMethodType)  # of random and of numpy.random


class RankRandomness:
    """The random states of the ranks of one run: a context in which they are used."""

    def __init__(self, seed):
        self.seed = seed
        self.rank = None  # that runs now
        self.torch_states = {}  # rank -> the state of torch's generator when it ran last
        self.generators = {}  # (library, rank) -> generator
        self.dtypes = {}  # rank -> torch's default dtype; empty until a rank sets it
        self.replaced = []  # (module, name, what it was before)

    def __enter__(self):
        self.torch_before = torch.get_rng_state()
        self.dtype_before = torch.get_default_dtype()
        self._forward(numpy.random, numpy.random.mtrand._rand, "numpy")
        self._forward(random, random._inst, "random")
        for module in learners_modules().values():
            self._forward(module, numpy.random.mtrand._rand, "numpy")
            self._forward(module, random._inst, "random")
        # Libraries fetch numpy's global RandomState by its private name.
        self._replace(numpy.random.mtrand, "_rand", _Forwarder(self, "numpy"))
        self._replace(random, "_inst", _Forwarder(self, "random"))
        return self

    def __exit__(self, *_):
        for module, name, value in reversed(self.replaced):
            setattr(module, name, value)
        torch.set_rng_state(self.torch_before)
        torch.set_default_dtype(self.dtype_before)

    def enter(self, rank):
        """From now on the random numbers are this rank's."""
        if rank == self.rank:
            return
        generator = torch.default_generator
        if self.rank is not None:
            self.torch_states[self.rank] = generator.get_state()
            self._change_dtype(rank)
        self.rank = rank
        state = self.torch_states.get(rank)
        if state is None:
            generator.manual_seed(seed_of(self.seed, rank))
        else:
            generator.set_state(state)

    def _change_dtype(self, rank):
        """Keep the default dtype of the rank that ran, and restore that of the next one."""
        dtype = torch.get_default_dtype()
        if self.dtypes or dtype is not self.dtype_before:
            self.dtypes[self.rank] = dtype
            torch.set_default_dtype(self.dtypes.get(rank, self.dtype_before))

    def current(self, library):
        """The generator of "numpy" or "random" for the rank that runs now."""
        key = library, self.rank
        if key not in self.generators:
            seed = seed_of(self.seed, self.rank)
            if library == "numpy":
                self.generators[key] = numpy.random.RandomState(seed % 2**32)
            else:
                self.generators[key] = random.Random(seed)
        return self.generators[key]

    def _forward(self, module, instance, library):
        """Replace the names in the module that are methods of the library's global generator."""
        for name, value in list(vars(module).items()):
            if not isinstance(value, METHODS) or value.__self__ is not instance:
                continue
            # `from random import randint as draw` has another name here than there.
            forwarder = self._forwarder(library, value.__name__)
            self._replace(module, name, forwarder)

    def _forwarder(self, library, name):
        def forward(*args, **kwargs):
            return getattr(self.current(library), name)(*args, **kwargs)

        return forward

    def _replace(self, module, name, value):
        self.replaced.append((module, name, getattr(module, name)))
        setattr(module, name, value)


class _Forwarder:
    """Stands in for the global generator of "numpy" or "random"."""

    def __init__(self, randomness, library):
        self._randomness = randomness
        self._library = library

    def __getattr__(self, name):
        return getattr(self._randomness.current(self._library), name)
