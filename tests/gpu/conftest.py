"""These tests run where there are GPUs; elsewhere they are skipped, and say how many there would
have to be.
"""

import pytest
import torch

from minidl import World
from minidl.runtime.processes.backend import choose, look


@pytest.fixture
def gpus():
    """gpus(n) is a World of n ranks with a GPU each, or the reason why the test is skipped."""

    def world(n):
        if choose(n, look()) != "nccl":
            machine = look()
            pytest.skip(
                f"needs {n} GPU{'s' * (n != 1)} and a torch with NCCL: this machine has {machine.gpus}, torch is {torch.__version__}"
            )
        made.append(World(n))
        return made[-1]

    made = []
    yield world
    for world_ in made:
        world_.close()
