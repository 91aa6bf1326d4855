"""One rank: a process that runs what it is told, and can always say where it is.

    main thread      runs the learner's function, one task after the other
    control thread   reads the pipe: tasks, "where are you?", "stop"; exits with the pipe

The control thread never waits for the main thread, so a rank that is stuck still answers. To stop a wait
inside gloo it lets a receive of 1 ms time out, which closes every connection of that group and wakes
all who wait on it; a signal stops computing; NCCL is aborted if that does not help. What comes back over the
pipe are flat tuples.
"""

import ast
import ctypes
import gc
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import tempfile
import threading
import types
from datetime import timedelta

import cloudpickle
import torch
import torch.distributed as dist

from minidl.errors import MismatchError, NotInCell, RankDied
from minidl.runtime.comms.faults import Damage, FaultyComm
from minidl.runtime.comms.record import Recorder, TracedComm
from minidl.runtime.comms.seeding import seed_everything
from minidl.runtime.gpu import nccl
from minidl.runtime.gpu.gpu_clock import Gpu
from minidl.runtime.processes import parcel
from minidl.runtime.processes.board import Board
from minidl.runtime.processes.gloo import LOST_LINK, DistributedComm, Node
from minidl.runtime.processes.guard import Broken, Guard
from minidl.runtime.processes.lane import metered
from minidl.runtime.processes.process_group import FOREVER
from minidl.runtime.processes.streams import capture, released
from minidl.runtime.words.calling import call, traceback_lines
from minidl.runtime.words.sources import learn_sources

POISON_TAG = 0x7FFFFFFF
ABORT_AT = 4  # attempts to interrupt before NCCL is aborted


class Worker:
    """This process as rank `rank` of `world_size`; `folder` is shared with the other ranks."""

    current = None

    def __init__(self, conn, rank, world_size, folder, threads):
        Worker.current = self
        self.conn, self.rank, self.world_size, self.folder = conn, rank, world_size, folder
        self.sending, self.tasks = threading.Lock(), queue.SimpleQueue()
        self.board = Board(os.path.join(folder, "board"), world_size)
        self.guard = Guard(self.board, rank, self._report_mismatch)
        self.node, self.running, self.recorder = None, False, None
        self.over = threading.Event()
        self.streams = capture(rank, folder, self.tell)
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        self.names = module.__dict__
        torch.set_num_threads(threads)

    def tell(self, *message):
        """Send a message to the kernel."""
        with self.sending:
            self.conn.send_bytes(pickle.dumps(message, protocol=5))

    def serve(self):
        """Run tasks until the pipe closes."""
        self.main = threading.main_thread().ident
        if hasattr(signal, "SIGUSR1"):
            signal.signal(signal.SIGUSR1, self._interrupted)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=self._control, name="control", daemon=True).start()
        while True:
            task, *args = self.tasks.get()
            try:
                {"connect": self.connect, "run": self.run}[task](*args)
            except Broken:
                pass  # the interrupt came after the end: nothing is left to stop
            except BaseException as error:
                self.tell("failed", self._describe(error), ([], {}, None))

    def connect(self, generation, backend):
        """Join (again) the process group of all ranks; with "nccl", take the GPU that has this rank's number."""
        if self.node is not None:
            for lane in self.node.lanes.values():
                lane.close()
            if self.node.gpu is None:
                dist.destroy_process_group()
            else:
                self.node.wires.close()
                nccl.leave()
        store = dist.FileStore(os.path.join(self.folder, f"store{generation}"), self.world_size)
        if backend == "nccl":
            nccl.join(store, self.rank, self.world_size)
        else:
            dist.init_process_group(
                "gloo", store=store, rank=self.rank, world_size=self.world_size, timeout=FOREVER
            )
        own = dist.PrefixStore("minidl", store)
        self.node = Node(
            self.rank,
            self.world_size,
            own,
            self.guard,
            lambda i, n: self.tell("progress", int(i), int(n)),
        )
        if backend == "nccl":
            gpu = self.node.gpu = Gpu(self.rank, self.node.now)
            self.node.wires = nccl.Wires(gpu, self.guard, own)
        self.tell("connected")

    def run(self, header, payload):
        """Run one function and report how it went."""
        self.guard.begin(header["active"])
        self.node.begin(header["epoch"], header["began"])
        os.chdir(header["cwd"])
        sys.path[:] = header["path"]
        learn_sources(header["sources"])
        self.recorder = Recorder(self.rank, self.node.gpu)
        outcome = ("broken", None, [])
        self.over.clear()
        try:
            self.running = True
            try:
                result = self._call(header, payload)
                outcome = ("done", result)
            finally:
                self.running = False
        except Broken as error:
            self.running = False
            outcome = ("broken", self.guard.broken, traceback_lines(error.__traceback__))
        except BaseException as error:
            outcome = ("failed", self._describe(error))
        self.running = False
        self.over.set()
        self.streams.finish()
        self.tell(*outcome, self._record())

    def _call(self, header, payload):
        seed_everything(header["seed"], self.rank)
        comm = DistributedComm(self.node, range(self.world_size))
        if header["faults"]:
            comm = FaultyComm(comm, Damage(header["faults"], self.rank, self._die))
        comm = TracedComm(comm, self.recorder)
        fn, args, kwargs = pickle.loads(payload)
        if header["meter"]:
            from minidl.runtime.metering.meter import (
                Meter,
            )  # loads much of torch that a run without it does not need

            self.node.meter = self.recorder.meter = Meter(self.node.now)
        with metered(self.node.meter):
            result = call(fn, comm, args, kwargs)
            self.node.finish()
        try:
            return parcel.to_bytes(result)
        except Exception as error:
            raise TypeError(
                f"the result, a {type(result).__name__}, cannot travel back from the rank ({error}): "
                "return tensors, numbers, strings, or lists and dicts of them"
            ) from None

    def _control(self):
        self.guard.control = threading.get_ident()
        while True:
            try:
                message = pickle.loads(self.conn.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)  # the kernel is gone, or closed the world
            if message[0] == "where":
                version, threads = self.guard.snapshot()
                self.tell("where", message[1], version, self.main, threads)
            elif message[0] == "break":
                self._break(message[1])
            else:
                self.tasks.put(message)

    def _break(self, reason):
        self.guard.broken = reason
        meetings = self.node.groups.values() if self.node else ()
        for group in (
            [dist.group.WORLD, *(m.group for m in meetings if m.group is not None)]
            if self.node
            else ()
        ):
            _poison(group)
        for lane in self.node.lanes.values() if self.node else ():
            if lane.thread.ident not in self.guard.idle:
                _raise_in(lane.thread.ident, Broken)
        for attempt in range(20):  # an exception in __del__ or a fork hook is swallowed: try again
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(self.main, signal.SIGUSR1)
            elif self.running:
                _raise_in(self.main, Broken)
            if self.over.wait(0.05):
                return
            if attempt == ABORT_AT and self.node and self.node.gpu is not None:
                self.node.wires.abort()  # the program may wait for its GPU, and that for a rank that is gone

    def _interrupted(self, number, frame):
        if self.running and self.guard.broken:
            raise Broken(self.guard.broken)

    def _die(self, moment):
        self.streams.finish()
        self.tell("crashing", repr(moment), self._record())
        os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        while True:  # the signal takes effect before this process runs on
            signal.pause()

    def _record(self):
        if self.recorder is None:
            return [], {}, None
        return (
            self.recorder.settled(),
            self.recorder.values,
            self.recorder.meter and self.recorder.meter.read(),
        )

    def _report_mismatch(self, what, number, one, two):
        self.tell("mismatch", what, number, one, two)

    def _describe(self, error):
        """An exception as a dict of plain values, and its pickle where that is possible."""
        kinds = {MismatchError: "mismatch", NotInCell: "not in cell", RankDied: "link"}
        kind = kinds.get(type(error), "error")
        if isinstance(error, RuntimeError) and LOST_LINK.search(str(error)):
            kind = "link"
        try:
            travelling = cloudpickle.dumps(error)
        except Exception:
            travelling = None
        return {
            "kind": kind,
            "type": type(error).__name__,
            "message": str(error),
            "pickle": travelling,
            "lines": traceback_lines(error.__traceback__),
            "waiting": getattr(error, "waiting", None),
        }


def _poison(group):
    """Close every connection of this group, so that nobody waits on it any more."""
    for peer in range(group.size()):
        if peer != group.rank():
            try:
                group.recv([torch.empty(1)], peer, POISON_TAG).wait(timedelta(milliseconds=1))
            except RuntimeError as error:
                if "imed out" in str(error) or "timeout" in str(error):
                    return  # that it times out is its purpose
                # else this peer is gone already, and its connection with it: ask the next one


def _raise_in(thread, exception):
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(exception))


def set_names(names):
    """Give names to later cells on this rank."""
    Worker.current.names.update(names)


def get_name(name):
    """The value of a name on this rank."""
    if name not in Worker.current.names:
        raise NameError(f"name {name!r} is not defined on this rank")
    return Worker.current.names[name]


def run_cell(source, filename, comm):
    """Run a cell's code among this rank's names; print its last expression, unless a semicolon ends it."""
    names = Worker.current.names
    names.update(comm=comm, rank=comm.rank, world_size=comm.world_size)
    tree, last = ast.parse(source, filename), None
    if tree.body and isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";"):
        last = ast.Expression(tree.body.pop().value)
    exec(compile(tree, filename, "exec"), names)
    if last is not None:
        value = eval(compile(last, filename, "eval"), names)
        if value is not None:
            print(repr(value))


def die_with_parent():
    """Ask the kernel of Linux to kill this process when its parent ends, whatever happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main(conn, rank, world_size, folder, threads):
    """Be a rank until the pipe closes. Called in a fresh process."""
    if hasattr(os, "fork"):
        torch.multiprocessing.set_start_method(
            "fork", force=True
        )  # DataLoader workers need no __main__
        os.register_at_fork(after_in_child=released)
    multiprocessing.current_process()._config["tempdir"] = tempfile.mkdtemp(
        dir=folder
    )  # goes with the world
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    if loopback:
        os.environ["GLOO_SOCKET_IFNAME"] = loopback
    gc.freeze()  # torch's objects stay: to look through them took 0.3 s and 38 MiB of shared pages
    Worker(conn, rank, world_size, folder, threads).serve()
