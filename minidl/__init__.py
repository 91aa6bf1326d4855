"""minidl: distributed deep learning that you run, see and break.

    world = World(4)                       # four processes
    run = world.run(my_function)           # a function from a cell, on every rank
    run.trace.lamport()                    # every message, drawn

README.md beside this file names the ten files to read, and in which order.
"""

from minidl.comm import Comm, Recv, Send, Work
from minidl.errors import (
    DeadlockError,
    LeftoverError,
    MinidlError,
    MismatchError,
    NotInCell,
    RankDied,
    RankError,
    RankTimeout,
)
from minidl.runtime.comms.faults import Crash, Delay, Op, Seconds, Slow, Span
from minidl.runtime.comms.imagined import Imagined
from minidl.runtime.magics import register
from minidl.runtime.metering.device import Device
from minidl.runtime.processes.parcel import PerRank
from minidl.runtime.run import Run
from minidl.runtime.torchrun import init
from minidl.runtime.virtual.network import Islands, Link, OneSlowLink, Uniform
from minidl.runtime.virtual_world import VirtualWorld
from minidl.runtime.world import World
from minidl.trace import Event, Trace

__version__ = "0.1.0"

Trace.pictures.update(
    lamport="minidl.viz.pictures.lamport:lamport",
    timeline="minidl.viz.pictures.timeline:timeline",
    traffic="minidl.viz.pictures.traffic:traffic",
    wait_for="minidl.viz.pictures.wait_for:wait_for",
    to_perfetto="minidl.viz.pictures.export:to_perfetto",
    fit="minidl.viz.pictures.fit:fit",
    cost="minidl.viz.pictures.cost:cost",
    replay="minidl.viz.pictures.replay:replay",
    memory="minidl.viz.pictures.memory:memory",
)
register()


def __getattr__(name):
    """Pictures of more than one run are loaded when they are first named."""
    if name == "compare":
        from minidl.viz.pictures.compare import compare

        return compare
    if name == "explore_costs":
        from minidl.viz.pictures.explorer import explore_costs

        return explore_costs
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")


__all__ = [
    "Comm",
    "Crash",
    "DeadlockError",
    "Delay",
    "Device",
    "Event",
    "Imagined",
    "Islands",
    "LeftoverError",
    "Link",
    "MinidlError",
    "MismatchError",
    "NotInCell",
    "OneSlowLink",
    "Op",
    "PerRank",
    "RankDied",
    "RankError",
    "RankTimeout",
    "Recv",
    "Run",
    "Seconds",
    "Send",
    "Slow",
    "Span",
    "Trace",
    "Uniform",
    "VirtualWorld",
    "Work",
    "World",
    "compare",
    "explore_costs",
    "init",
]
