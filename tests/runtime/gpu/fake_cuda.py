"""A torch.cuda that is none: a queue which is busy for as long as it is told, and events on it.

cuda.work(0.05)      the "GPU" gets 50 ms of work, and the program goes on at once
"""

import time
from contextlib import contextmanager

import torch.distributed as dist

from minidl.runtime.gpu.gpu_clock import Gpu
from minidl.runtime.processes.nccl import Wires
from minidl.runtime.processes.process_group import FOREVER


class FakeCuda:
    """Its clock started 1,000 seconds before the host's, so that no time can be right by chance."""

    def __init__(self):
        self.free, self.threads, self.awaited = 0.0, 0, []
        outer = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self, stream):
                self.at = max(time.perf_counter(), outer.free) + 1000

            def query(self):
                return time.perf_counter() + 1000 >= self.at

            def elapsed_time(self, other):
                return (other.at - self.at) * 1e3

        self.Event = Event

    def work(self, seconds):
        self.free = max(time.perf_counter(), self.free) + seconds

    def set_device(self, device):
        self.threads += 1

    def synchronize(self, device):
        while time.perf_counter() < self.free:
            time.sleep(1e-4)

    def current_stream(self, device):
        return self

    def wait_event(self, event):
        self.awaited.append(event)

    def Stream(self, device):
        return self

    @contextmanager
    def stream(self, stream):
        yield


class GlooWires(Wires):
    """Wires over gloo. Tensors of float64 count as tensors on the GPU."""

    made, aborted = 0, False

    def carries(self, tensor):
        return tensor is not None and str(tensor.dtype) == "torch.float64"

    def group(self, name, rank, size):
        self.made += 1
        return dist.ProcessGroupGloo(
            dist.PrefixStore(f"wire {name}", self.store), rank, size, FOREVER
        )

    def abort(self):
        self.aborted = True


def with_fake_gpu(comm):
    """Give this rank a fake GPU until its World connects it again; returns the FakeCuda. For the
    Comm of a World.
    """
    node = comm.node
    if node.gpu is None:
        node.gpu = Gpu(comm.rank, node.now, FakeCuda())
        node.wires = GlooWires(node.gpu, node.guard, node.store)
    return node.gpu.cuda
