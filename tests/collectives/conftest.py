"""Worlds for the collectives: few ranks as processes, many on the virtual clock."""

import pytest

from minidl import VirtualWorld, World

REAL = 4                                # two cores carry so many processes; equality beyond is the virtual world's to show


@pytest.fixture(scope="session")
def real():
    """real(n) is a live World of n ranks, the same one for all tests."""
    made = {}

    def world(n):
        if n not in made or made[n].closed:
            made[n] = World(n)
        return made[n]

    yield world
    for world in made.values():
        world.close()


@pytest.fixture
def make_world(real):
    """make_world(n): gloo up to four ranks, the virtual world beyond."""
    return lambda n: real(n) if n <= REAL else VirtualWorld(n)
