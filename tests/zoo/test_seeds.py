"""Another process, which hashes strings otherwise,
draws the same numbers and learns the same words.
"""

import os
import subprocess
import sys

import pytest
import torch

from minidl.zoo.data import Sampler, paragraphs
from minidl.zoo.models import initial
from minidl.zoo.seeds import generator
from minidl.zoo.tokens import learn
from tests.deadlines import generous

PROGRAM = """
from minidl.zoo.data import Sampler, paragraphs
from minidl.zoo.models import initial
from minidl.zoo.tokens import learn
weights = initial("a.weight", (3, 4), 7).tolist()
indices = next(iter(Sampler(100, 10, seed=7))).tolist()
print(weights, indices, learn(paragraphs()[5] * 3, 264).merges)
"""


@pytest.mark.slow
def test_another_process_draws_the_same():
    weights = initial("a.weight", (3, 4), 7).tolist()
    indices = next(iter(Sampler(100, 10, seed=7))).tolist()
    here = f"{weights} {indices} {learn(paragraphs()[5] * 3, 264).merges}"
    for hash_seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=generous(120),
            check=True,
        )
        assert ran.stdout.strip() == here


def test_each_key_has_its_own_numbers():
    keys = [(0, "a"), (0, "b"), (1, "a"), (0, "a", 0), (0, "a", (1, 2)), (0, "a", (2, 1))]
    drawn = {tuple(torch.rand(4, generator=generator(*key)).tolist()) for key in keys + keys}
    assert len(drawn) == len(keys)
