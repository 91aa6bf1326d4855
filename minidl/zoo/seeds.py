"""How do ranks that never talk draw the same numbers, each in its own order?

    rank 0   draws  w0  w1 .  .       the numbers of w1 come from the key (seed, "w1", shape) alone,
    rank 1   draws  .   .  w2 w3      not from how many numbers this process drew before
    alone    draws  w3  w1 w0 w2

One stream for all would give rank 1 the numbers of w0 where w2 should be. So each key has a
generator of its own.
"""

import hashlib

import torch


def generator(*key):
    """A torch generator for this key: equal keys, equal numbers, in every process and in any order.

    key: numbers, strings, tuples of them. torch's generator on the CPU reads 32 bits of its seed,
    so 32 are made.
    """
    words = [str(part) for part in key]
    text = " / ".join(words)  # generator(0, "w1", (2, 3)):  0 / w1 / (2, 3)
    digest = hashlib.sha256(text.encode()).digest()
    first = digest[:4]
    seed = int.from_bytes(first, "big")
    return torch.Generator("cpu").manual_seed(seed)
