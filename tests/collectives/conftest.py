"""Worlds for the collectives: few ranks as processes, many on the virtual clock."""

import pytest

from minidl import VirtualWorld

REAL = 4  # two cores carry so many processes; equality beyond is the virtual world's to show


@pytest.fixture
def make_world(worlds):
    """make_world(n): gloo up to four ranks, the virtual world beyond."""
    return lambda n: worlds(n) if n <= REAL else VirtualWorld(n)
