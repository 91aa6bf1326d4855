"""minidl: distributed deep learning that you run, see and break.

    world = World(4)                       # four processes
    run = world.run(my_function)           # a function from a cell, on every rank
    run.trace.lamport()                    # every message, drawn
"""

from minidl.comm import Comm, Native, Recv, Send, Work
from minidl.errors import (DeadlockError, LeftoverError, MinidlError, MismatchError, NotInCell, RankDied, RankError, RankTimeout)
from minidl.runtime.device import Device
from minidl.runtime.faulty import Crash, Delay, Op, Seconds, Slow, Span
from minidl.runtime.magics import register
from minidl.runtime.network import Islands, Link, OneSlowLink, Uniform
from minidl.runtime.parcel import PerRank
from minidl.runtime.torchrun import init
from minidl.runtime.virtual_world import VirtualWorld
from minidl.runtime.world import Run, World
from minidl.trace import Event, Trace

__version__ = "0.1.0"

Trace.pictures.update(
    lamport="minidl.viz.lamport:lamport",
    timeline="minidl.viz.timeline:timeline",
    traffic="minidl.viz.traffic:traffic",
    wait_for="minidl.viz.wait_for:wait_for",
    to_perfetto="minidl.viz.export:to_perfetto",
    fit="minidl.viz.fit:fit",
    cost="minidl.viz.cost:cost",
    replay="minidl.viz.replay:replay",
    memory="minidl.viz.memory:memory",
)
register()


def __getattr__(name):
    """Pictures of more than one run are loaded when they are first named."""
    if name == "compare":
        from minidl.viz.compare import compare
        return compare
    if name == "explore_costs":
        from minidl.viz.explorer import explore_costs
        return explore_costs
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")


__all__ = ["Comm", "Crash", "DeadlockError", "Delay", "Device", "Event", "Islands", "LeftoverError", "Link", "MinidlError", "MismatchError",
           "Native", "NotInCell", "OneSlowLink", "Op", "PerRank", "RankDied", "RankError", "RankTimeout", "Recv", "Run", "Seconds",
           "Send", "Slow", "Span", "Trace", "Uniform", "VirtualWorld", "Work", "World", "compare", "explore_costs", "init"]
