"""How does a tensor on one GPU reach another, by a library that has no tags and never ends a wait?

    wire "0 to 1 of world"    rank 0   Send #0 posted ------------.
                              rank 1            Recv #0 posted ---+--> both sides hand #0 to NCCL

A wire is one direction between two ranks of one communicator, or all ranks of one for its
collectives. It is a thread, a stream and a group of NCCL's of its own, so that no message waits
behind another that it has nothing to do with. What was posted goes to NCCL once the board says that
all sides have posted it. So the GPU never waits for something that may never be posted: a deadlock
is found and broken as on gloo, while nothing of it is on the GPU. What was handed over when another
rank died is ended by `abort`. Left out: torch's own use of NCCL (DDP), handed over at once.
"""

import os
import queue
import threading
import warnings

import torch
import torch.distributed as dist
from torch.distributed import init_process_group

from minidl.comm import Work
from minidl.runtime.comms.node import Broken
from minidl.runtime.processes.guard import await_event, paused
from minidl.runtime.processes.process_group import FOREVER, run_native

SETTINGS = {
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "0",
    "TORCH_NCCL_ENABLE_MONITORING": "0",  # or torch ends a rank that was aborted
    "NCCL_SOCKET_IFNAME": "lo",  # nothing is open to the outside
}


class Crossing(Work):
    """One operation of one rank on a wire; like torch's own work, it has a wait()."""

    def __init__(self, wires, start, needs):
        self.wires = wires
        self.start = start
        self.needs = needs
        self.ready = wires.gpu.mark()
        self.home = wires.gpu.stream()
        self.launched = threading.Event()
        self.results = ()
        self.over = None
        self.error = None

    @property
    def moments(self):
        """(when the GPU was ready for it, when it had done it)."""
        return self.ready, self.over

    def launch(self, group):
        """Hand it to NCCL, behind what this rank had given its GPU when it posted it."""
        gpu = self.wires.gpu
        try:
            gpu.after(self.ready)
            work, self.results = self.start(group)
            work.wait()  # holds up this thread's stream, not the thread
            self.over = gpu.mark()
            for tensor in self.results:
                if tensor.is_cuda:  # made on this stream perhaps, and used and freed on that one
                    tensor.record_stream(self.home)
        except Exception as error:
            self.error = error
        self.launched.set()

    def wait(self):
        """Return when the GPU has done it."""
        await_event(self.launched, self.wires.check)
        if self.error is not None:
            self.wires.check()
            raise self.error
        for _ in paused():
            self.wires.check()
            if self.over.over():
                return


class Wire:
    """What all sides have posted goes to NCCL, in the order in which it was posted here."""

    def __init__(self, name, make, wires):
        self.make = make
        self.wires = wires
        self.group = None
        self.queue = queue.SimpleQueue()
        threading.Thread(target=self._work, name=f"wire {name}", daemon=True).start()

    def _work(self):
        gpu = self.wires.gpu
        with self.wires.guard.not_counted():
            gpu.adopt()
            with gpu.beside():
                while (crossing := self.queue.get()) is not None:
                    if not self._await(crossing):
                        return
                    if self.group is None:  # its first operation waits for the other ranks
                        self.group = self.make()
                    crossing.launch(self.group)

    def _await(self, crossing):
        for _ in paused():
            if self.wires.broken():
                return False
            if self.wires.guard.met(crossing.needs):
                return True


class Wires:
    """All wires of one rank, made when first used."""

    def __init__(self, gpu, guard, store):
        self.gpu = gpu
        self.guard = guard
        self.store = store
        self.wires = {}  # name -> Wire
        self.closed = False

    def carries(self, tensor):
        """Whether this tensor travels from GPU to GPU.

        Raises ValueError for one on the GPU of another rank.
        """
        if tensor is None or not tensor.is_cuda:
            return False
        if tensor.device != self.gpu.device:
            raise ValueError(
                f"this tensor is on {tensor.device}, and the rank's own GPU is {self.gpu.device}: "
                "move it there with x.to(comm.device)"
            )
        return True

    def message(self, part, tensor, sending):
        """Post one side of a message; returns its Crossing."""
        rank = part.node.rank
        source, to = (rank, part.peer) if sending else (part.peer, rank)

        def start(group):
            post = group.send if sending else group.recv
            return post([tensor], int(sending), 0), ()

        name = f"{source} to {to} of {part.comm}"
        return self._post(name, int(not sending), 2, start, self.guard.needs(part))

    def native(self, part, op):
        """Post a native collective; returns its Crossing. It waits for all ranks of its group."""
        comm = part.on

        def start(group):
            return run_native(group, op, comm.rank, comm.world_size)

        name = f"all of {comm.name}"
        return self._post(name, comm.rank, comm.world_size, start, self.guard.everybody(part))

    def group(self, name, rank, size):
        """A process group of NCCL's."""
        options = dist.ProcessGroupNCCL.Options()
        options._timeout = FOREVER
        options.group_name = name
        return dist.ProcessGroupNCCL(
            dist.PrefixStore(f"wire {name}", self.store), rank, size, options
        )

    def broken(self):
        """Why nothing moves any more, or None."""
        return self.guard.broken or ("closed" if self.closed else None)

    def check(self):
        """Raise Broken if the run is over."""
        if self.broken():
            raise Broken(self.broken())

    def abort(self):
        """End what is on the GPU. All at once: NCCL may let one abort wait for another group."""
        groups = [wire.group for wire in list(self.wires.values()) if wire.group is not None]
        groups += torch_group()
        if groups:
            groups[0]._group_start()
            for group in groups:
                group.abort()
            groups[0]._group_end()

    def close(self):
        """These wires are used no more."""
        self.closed = True
        self.abort()
        for wire in self.wires.values():
            wire.queue.put(None)

    def _post(self, name, rank, size, start, needs):
        crossing = Crossing(self, start, needs)
        if name not in self.wires:
            self.wires[name] = Wire(name, lambda: self.group(name, rank, size), self)
        self.wires[name].queue.put(crossing)
        return crossing


class NoWires:
    """What a rank without a GPU of its own has in their place."""

    def carries(self, tensor):
        """False; raises ValueError for a tensor on a GPU, because gloo carries those in memory."""
        if tensor is not None and tensor.is_cuda:
            raise ValueError(
                f"this tensor is on {tensor.device}, but the ranks of this World have no GPUs of "
                "their own (see its repr) and can send tensors in memory only: use "
                "x.to(comm.device)"
            )
        return False


def torch_group():
    """The NCCL side of torch's default group, in a list; an empty one where it has none."""
    try:
        backend = dist.group.WORLD._get_backend(torch.device("cuda"))
    except (AttributeError, RuntimeError):
        return []
    return [backend] if hasattr(backend, "_group_start") else []


def join(store, rank, world_size):
    """Take GPU number `rank`, and make torch's default group: NCCL for GPUs, gloo for memory.

    NCCL connects ranks when they first send, so this takes no longer than on gloo.
    """
    torch.cuda.set_device(rank)
    os.environ.update(SETTINGS)
    warnings.filterwarnings("ignore", "An unbatched P2P op")  # which is what wires are there for
    init_process_group(
        "cpu:gloo,cuda:nccl", store=store, rank=rank, world_size=world_size, timeout=FOREVER
    )


def leave():
    """Give up the default group, also while NCCL is stuck in it."""
    dist.distributed_c10d._abort_process_group()
