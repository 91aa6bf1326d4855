"""Worlds that several tests share: starting one costs more than most tests."""

import pytest

from minidl import VirtualWorld, World


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


@pytest.fixture(params=["real", "virtual"])
def either(request, worlds):
    """either(n) is a World, then, in a second test, a VirtualWorld: what holds in one holds in the other."""
    return worlds if request.param == "real" else VirtualWorld
