"""How a process becomes a rank: it joins torch's process group of all ranks, and leaves it again.

    World       a FileStore in the world's folder, gloo or NCCL       -->  ProcessNode
    torchrun    the store and the group that torchrun's variables name -->  ProcessNode

A world joins anew after a failure, as gloo's connections cannot be used after a wait was broken.
"""

import os
import time
from datetime import timedelta

import torch
import torch.distributed as dist

# As they are before a rank replaces them for its learner: see pasted.py.
from torch.distributed import destroy_process_group, init_process_group

from minidl.errors import MinidlError
from minidl.runtime.gpu.gpu_clock import Gpu
from minidl.runtime.processes import nccl
from minidl.runtime.processes.gloo import EPOCHS, ProcessNode
from minidl.runtime.processes.process_group import FOREVER

POISON_TAG = 0x7FFFFFFF
SCRIPT_EPOCH = (1 << EPOCHS) - 1  # far from the tags that a script gives its own messages


def join_world(path, rank, world_size, backend, guard, report, node=None):
    """The ProcessNode of this rank of a World, when all ranks have joined by the file `path`.

    node: the one that this rank had before, which then has new connections.
    """
    store = dist.FileStore(path, world_size)
    if backend == "nccl":
        nccl.join(store, rank, world_size)
    else:
        init_process_group("gloo", store=store, rank=rank, world_size=world_size, timeout=FOREVER)
    own = dist.PrefixStore("minidl", store)
    if node is None:
        node = ProcessNode(rank, world_size, own, guard, report)
    else:
        node.connect(own)
    if backend == "nccl":
        node.gpu = Gpu(rank, node.now)
        node.wires = nccl.Wires(node.gpu, guard, own)
    return node


def leave_world(node):
    """Give up the connections of a node that join_world made."""
    # A thread may still run what the failed run has begun, while the node has new connections.
    for lane in list(node.lanes.values()):
        lane.retire()
    if node.gpu is None:
        destroy_process_group()
    else:
        node.wires.close()
        nccl.leave()


def poison(group):
    """Close every connection of this group, so that no thread waits on it any more."""
    for peer in range(group.size()):
        if peer == group.rank():
            continue
        try:
            group.recv([torch.empty(1)], peer, POISON_TAG).wait(timedelta(milliseconds=1))
        except RuntimeError as error:
            if "imed out" in str(error) or "timeout" in str(error):
                return  # that it times out is its purpose
            # This peer has died, and its connection with it: ask the next one.


def join_script(timeout, report):
    """The ProcessNode of a process that torchrun started; joins the other ranks first.

    report: called with (i, n) for progress on rank 0. Raises MinidlError outside of torchrun.
    """
    if not dist.is_initialized():
        if "RANK" not in os.environ or "MASTER_ADDR" not in os.environ:
            raise MinidlError(
                "minidl.init() is for scripts that torchrun starts: torchrun --nproc-per-node 4 "
                "your_script.py. In a notebook, use World(4)"
            )
        # torchrun may start the ranks once more (--max-restarts), and its store still has the keys
        # of the first attempt.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store, rank, world_size = next(dist.rendezvous("env://"))
        init_process_group(
            "gloo",
            store=dist.PrefixStore(f"attempt{attempt}", store),
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=timeout),
        )
    rank = dist.get_rank()
    store = dist.PrefixStore("minidl", dist.distributed_c10d._get_default_store())
    node = ProcessNode(rank, dist.get_world_size(), store, report=report if rank == 0 else None)
    node.begin(SCRIPT_EPOCH, time.perf_counter())
    return node


def leave_script(node):
    """End all threads of a node that join_script made, and leave the group.

    A thread that runs while Python ends may take the process down with it.
    """
    for lane in node.lanes.values():
        lane.close()
    for lane in node.lanes.values():
        lane.thread.join(timeout=5)
    node.groups.clear()
    if dist.is_initialized():
        destroy_process_group()
