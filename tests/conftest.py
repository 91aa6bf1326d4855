"""After each test: nobody is left behind. What the tests need to find each other stands here, too."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # `from tests.census import ...` in every test

from minidl import World  # noqa: E402
from tests import census  # noqa: E402

os.environ[census.TOKEN] = census.new_token()  # all that this process starts inherits it


@pytest.fixture(autouse=True)
def nobody_left_behind():
    """Every minidl process that descends from this pytest has a live parent; closed worlds left no rank and no folder."""
    yield
    left = census.eventually_empty(lambda: census.strays(os.environ[census.TOKEN]), seconds=3)
    assert not left, "left behind by this test or by one before it:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def worlds():
    """worlds(n) is a live World of n ranks, the same one for all tests: starting one costs more than most tests."""
    made = {}

    def world(n):
        if n not in made or made[n].closed:
            made[n] = World(n)
        return made[n]

    yield world
    for world in made.values():
        world.close()
