"""A seed per rank: torch, numpy and random start from the pair (seed, rank)."""

import random

import numpy
import torch


def seed_of(seed, rank):
    """A 64-bit number for this pair; different pairs give independent streams."""
    return int(numpy.random.SeedSequence([seed, rank]).generate_state(1, numpy.uint64)[0])


def seed_everything(seed, rank):
    """Seed this process's torch, numpy and random for `rank`."""
    value = seed_of(seed, rank)
    torch.manual_seed(value)
    numpy.random.seed(value % 2**32)  # numpy takes 32 bits
    random.seed(value)
