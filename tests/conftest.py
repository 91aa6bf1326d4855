"""What all tests share: worlds, and a look at what a test left behind. How workers split the suite."""

import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(
    0, str(Path(__file__).resolve().parent.parent)
)  # `from tests.census import ...` in every test

# Before torch is loaded, here and in kernels: pytest's workers have one core each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from minidl import World  # noqa: E402
from minidl.runtime.processes.launch import launcher  # noqa: E402
from minidl.runtime.processes.worker import HEAVY  # noqa: E402
from tests import census  # noqa: E402

os.environ[census.TOKEN] = census.new_token()  # all that this process starts inherits it

# A shell starts background work with Ctrl-C ignored, and what such a suite started would ignore it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# An example of hypothesis may take as long as a busy machine needs.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_configure(config):
    """Say at the end what each notebook cost; xdist's workers leave that to their controller."""
    if not hasattr(config, "workerinput"):
        from tests.scheduling import Bill

        config.pluginmanager.register(Bill())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Under xdist, let workers take units: files, notebooks and museums."""
    from tests.scheduling import Units

    config.option.loadscopereorder = False  # the order is that of the collection
    return Units(config, log)


def pytest_collection_modifyitems(config, items):
    """In a worker of xdist, put the longest units first."""
    if hasattr(config, "workerinput"):
        from tests.scheduling import rank

        items.sort(key=lambda item: rank(item.nodeid))


reported = set()  # what an earlier test left behind
clean = []  # the scene in which nothing was left, of tests/census.py


@pytest.fixture(autouse=True)
def nobody_left_behind():
    """Each minidl process that this pytest started has a live parent, and closed worlds left
    nothing.

    What a test leaves behind is reported once, and not by all tests after it.
    """
    yield
    now = census.scene()  # before the look, which would otherwise miss what changes meanwhile
    if now is not None and now in clean:
        return
    left = census.eventually_empty(
        lambda: set(census.strays(os.environ[census.TOKEN])) - reported, seconds=3
    )
    reported.update(left)
    clean[:] = [] if left else [now]
    assert not left, "left behind by this test:\n" + "\n".join(sorted(left))


@pytest.fixture(scope="session")
def worlds():
    """worlds(n) is a live World of n ranks, one for all tests: most tests are shorter than its
    start.
    """
    made = {}
    if hasattr(os, "fork"):
        launcher("fork").load(HEAVY)  # once for all ranks, of which some test makes an optimizer

    def world(n):
        if n not in made or made[n].closed:
            made[n] = World(n)
        return made[n]

    yield world
    for world in made.values():
        world.close()
