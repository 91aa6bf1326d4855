"""The same Comm for a script that torchrun started: one process per rank, on one machine or many.

    torchrun --nproc-per-node 4 train.py                  # in train.py: comm = minidl.init()

No kernel watches the ranks: `timeout` ends a wait that cannot end otherwise, and torch.distributed
alone decides what happens on a mismatch. Everything else is as in a World.
"""

import atexit
import os
import time
from datetime import timedelta

import torch.distributed as dist

from minidl.errors import MinidlError
from minidl.runtime.comms.record import Recorder, TracedComm
from minidl.runtime.processes.gloo import DistributedComm, Node
from minidl.runtime.words.sources import trace_of


class ScriptComm(TracedComm):
    """A TracedComm that can show what this rank has done so far."""

    @property
    def trace(self):
        """The Trace of this rank's own events."""
        record = (self.recorder.rows, self.recorder.values, None)  # not metered
        return trace_of(self.world_size, {self.rank: record})


def init(timeout=300):
    """The Comm of this process, which torchrun started; joins the other ranks first.

    timeout: seconds after which a wait gives up. Raises MinidlError outside of torchrun.
    """
    if not dist.is_initialized():
        if "RANK" not in os.environ or "MASTER_ADDR" not in os.environ:
            raise MinidlError(
                "minidl.init() is for scripts that torchrun starts: torchrun --nproc-per-node 4 "
                "your_script.py. In a notebook, use World(4)"
            )
        dist.init_process_group("gloo", timeout=timedelta(seconds=timeout))
    rank = dist.get_rank()
    world_size = dist.get_world_size()
    store = dist.PrefixStore("minidl", dist.distributed_c10d._get_default_store())
    report = _print_progress if rank == 0 else None
    node = Node(rank, world_size, store, report_progress=report)
    node.begin(0, time.perf_counter())
    atexit.register(_leave, node)
    return ScriptComm(DistributedComm(node, range(world_size)), Recorder(rank))


def _leave(node):
    """End all threads: one that runs while Python ends may crash the process."""
    for lane in node.lanes.values():
        lane.close()
    for lane in node.lanes.values():
        lane.thread.join(timeout=5)
    node.groups.clear()
    if dist.is_initialized():
        dist.destroy_process_group()


def _print_progress(i, n):
    print(f"step {i} of {n}", flush=True)
