"""A seed per rank: torch, numpy and random start from the pair (seed, rank)."""

import random

import numpy
import torch

# torch.manual_seed also asks devices that are not built in, and each formats the stack for that.
HAS_GPU = torch.backends.cuda.is_built() or torch.backends.mps.is_built()


def seed_of(seed, rank):
    """A 64-bit number for this pair; different pairs give independent streams."""
    return int(numpy.random.SeedSequence([seed, rank]).generate_state(1, numpy.uint64)[0])


def seed_everything(seed, rank):
    """Seed this process's torch, numpy and random for `rank`."""
    value = seed_of(seed, rank)
    if HAS_GPU:
        torch.manual_seed(value)
    else:
        torch.default_generator.manual_seed(value)
    numpy.random.seed(value % 2**32)  # numpy takes 32 bits
    random.seed(value)
