"""A process group for the native collectives of a sub-group, made while the rank goes on.

    native("all_reduce")  -> queue --------.
    thread: all members have posted? -> make the group -> start what is queued, in order

torch makes a process group by a call in which all members wait for each other and which nothing can
interrupt. So a thread makes it, and only when the board says that every member has posted.
"""

import threading

import torch.distributed as dist

from minidl.runtime.processes.guard import await_event, paused
from minidl.runtime.processes.preemption import interrupt_nobody
from minidl.runtime.processes.process_group import run_native

SLOWEST = 0.01  # seconds between looks at the board


class Pending:
    """A collective that starts when its group exists; like torch's own work, it has a wait()."""

    def __init__(self, op, guard):
        self.op = op
        self.guard = guard
        self.begun = threading.Event()
        self.work = None
        self.results = None
        self.error = None

    def begin(self, group, comm):
        """The group exists: start."""
        try:
            self.work, self.results = run_native(group, self.op, comm.rank, comm.world_size)
        except Exception as error:
            self.error = error
        self.begun.set()

    def wait(self):
        """Block until the collective has ended."""
        if self.guard is None:
            self.begun.wait()
        else:
            await_event(self.begun, self.guard.check)
        if self.error is not None:
            raise self.error
        self.work.wait()


class GroupMeeting:
    """The process group of `comm`, from its first collective on.

    needs: what must be on the board before the group can be made.
    """

    def __init__(self, comm, store, timeout, guard, needs):
        self.comm = comm
        self.store = store
        self.timeout = timeout
        self.guard = guard
        self.needs = needs
        self.group = None
        self.queue = []
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._make, name=f"group of {comm.name}", daemon=True)
        self.thread.start()

    def start(self, op):
        """Start `op` as soon as the group exists: (work, results), or None for unknown results."""
        with self.lock:
            if self.group is not None:
                return run_native(self.group, op, self.comm.rank, self.comm.world_size)
            pending = Pending(op, self.guard)
            self.queue.append(pending)
            return pending, None

    def _make(self):
        if self.guard is not None:
            with self.guard.not_counted():
                self._await_everybody()
            if self.guard.broken:
                return
        group = dist.ProcessGroupGloo(
            self.store, self.comm.rank, self.comm.world_size, self.timeout
        )
        interrupt_nobody()
        with self.lock:
            self.group = group
            for pending in self.queue:
                pending.begin(group, self.comm)
            self.queue.clear()

    def _await_everybody(self):
        for _ in paused(SLOWEST):
            if self.guard.broken or self.guard.met(self.needs):
                return
