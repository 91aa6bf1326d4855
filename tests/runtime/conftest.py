"""Worlds that several tests share: starting one costs more than most tests."""

import pytest

from minidl import World


@pytest.fixture(scope="session")
def worlds():
    """worlds(n) is a live World of n ranks, the same one for all tests."""
    made = {}

    def world(n):
        if n not in made or made[n].closed:
            made[n] = World(n)
        return made[n]

    yield world
    for world in made.values():
        world.close()
