"""What the tests of the runtime share."""

import pytest

from minidl import VirtualWorld


@pytest.fixture(params=["real", "virtual"])
def either(request, worlds):
    """either(n) is a World, then, in a second test, a VirtualWorld: what holds in one holds in the
    other.
    """
    return worlds if request.param == "real" else VirtualWorld
