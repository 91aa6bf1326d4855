"""One rank: a process that runs what it is told, and can always say where it is.

    main thread      runs the learner's function, one task after the other
    control thread   reads the pipe: tasks, "where are you?", "stop"; exits with the pipe

The control thread never waits for the main thread, so a rank that is stuck still answers. To stop a
wait inside gloo it lets a receive of 1 ms time out, which closes every connection of that group and
wakes all who wait on it; a signal stops computing; NCCL is aborted if that does not help. What goes
back over the pipe are tuples of plain values.
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

import torch

from minidl.errors import RankDied
from minidl.runtime.comms.node import Broken
from minidl.runtime.comms.record import event_rows
from minidl.runtime.comms.seeding import seed_everything
from minidl.runtime.gpu.gpu_clock import settle
from minidl.runtime.processes import joining, parcel
from minidl.runtime.processes.board import Board
from minidl.runtime.processes.gloo import DistributedComm
from minidl.runtime.processes.guard import Guard
from minidl.runtime.processes.pasted import prepare_process
from minidl.runtime.processes.posted_op import LOST_LINK
from minidl.runtime.processes.streams import RankStreams
from minidl.runtime.processes.surroundings import Follower
from minidl.runtime.words.calling import call
from minidl.runtime.words.facts import Failure
from minidl.runtime.words.modules import OwnModules, imports
from minidl.runtime.words.sources import learn_sources
from minidl.trace import Event

# What the first optimizer of a process loads, which takes 1.5 s. Once the kernel or a rank has it,
# a zygote loads it before it forks the next rank.
HEAVY = "torch._dynamo"
ABORT_AT = 4  # attempts to interrupt before NCCL is aborted
TIMES = [Event._fields.index(name) for name in ("posted", "waited", "done")]


class Worker:
    """This process as rank `rank` of `world_size`; `folder` is shared with the other ranks."""

    current = None

    def __init__(self, conn, rank, world_size, folder, threads):
        Worker.current = self
        self.conn = conn
        self.rank = rank
        self.world_size = world_size
        self.folder = folder
        self.sending = threading.Lock()
        self.tasks = queue.SimpleQueue()
        self.board = Board(os.path.join(folder, "board"), world_size)
        self.guard = Guard(self.board, rank, lambda found: self.report("mismatch", found))
        self.node = None
        self.running = False  # whether the learner's function runs
        self.over = threading.Event()  # set when it has ended
        self.streams = RankStreams(os.path.join(folder, f"rank{rank}.out"), self.report)
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        self.names = module.__dict__
        self.modules = OwnModules()
        self.follower = Follower()
        self.unsound = False  # whether an import was stopped half way
        torch.set_num_threads(threads)

    def report(self, *message):
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
                self.report("failed", failure_of(error), ([], {}, None))

    def connect(self, generation, backend):
        """Join (again) the process group of all ranks.

        With "nccl", take the GPU that has this rank's number.
        """
        if self.node is not None:
            joining.leave_world(self.node)
            self.node.disconnect()
            # What failed may still hold the old connections, in cycles of tracebacks and frames.
            # Until they go, gloo's thread spins on those that were broken.
            gc.collect()
        path = os.path.join(self.folder, f"store{generation}")
        self.node = joining.join_world(
            path, self.rank, self.world_size, backend, self.guard, self._report_progress, self.node
        )
        self.report("connected")

    def run(self, header, payload):
        """Run one function and report how it went."""
        self.guard.begin(header["active"])
        self.node.begin(header["epoch"], header["began"], header["faults"], self._die)
        self.node.failures = header["failures"]
        self.follower.follow(header["surroundings"])
        learn_sources(header["sources"])
        self.modules.begin()
        outcome = ("broken",)
        self.over.clear()
        try:
            self.running = True
            try:
                outcome = ("done", self._call(header, payload))
            finally:
                self.running = False
        except Broken as error:
            self._note_import(innermost_frame(error))
        except BaseException as error:
            outcome = ("failed", failure_of(error))
        self.running = False  # an interrupt may have come before the line that says so above
        self.over.set()
        self.modules.end()
        self.streams.finish()
        if HEAVY in sys.modules:
            self.report("loaded", HEAVY)
        if self.unsound:
            self.report("unsound")
        self.report(*outcome, self._record())

    def _call(self, header, payload):
        seed_everything(header["seed"], self.rank)
        node = self.node
        comm = DistributedComm(node, range(self.world_size))
        self.modules.refresh(self.names)
        fn, args, kwargs = pickle.loads(payload)
        if header["meter"]:
            from minidl.runtime.metering.meter import Meter  # loads much of torch

            node.meter = Meter(node.now)
        dtype = torch.get_default_dtype()
        try:
            with node.metered():
                result = call(fn, comm, args, kwargs)
                node.finish()
        finally:
            if fn is not run_cell:  # whose names and settings stay for the next cell
                torch.set_default_dtype(dtype)
        if node.forgotten and fn is not run_cell:  # for what a cell starts, a later cell may wait
            self.report("forgotten", node.forgotten)
        try:
            return parcel.to_bytes(result)
        except Exception as error:
            raise TypeError(
                f"the result, a {type(result).__name__}, cannot travel back from the rank "
                f"({error}): return tensors, numbers, strings, or lists and dicts of them"
            ) from None

    def _control(self):
        self.guard.control = threading.get_ident()
        while True:
            try:
                message = pickle.loads(self.conn.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)  # the kernel has ended, or closed the world
            if message[0] == "where":
                version, threads = self.guard.snapshot()
                self.report("where", message[1], version, self.main, threads)
            elif message[0] == "break":
                self._break(message[1])
            else:
                self.tasks.put(message)

    def _break(self, reason):
        self.guard.broken = reason
        node = self.node
        if node is not None:
            for group in node.process_groups():
                joining.poison(group)
            for lane in list(node.lanes.values()):
                if lane.thread.ident not in self.guard.idle:
                    self._note_import(sys._current_frames().get(lane.thread.ident))
                    _raise_in(lane.thread.ident, Broken)
        for attempt in range(20):  # an exception in __del__ or a fork hook is swallowed: try again
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(self.main, signal.SIGUSR1)
            elif self.running:
                _raise_in(self.main, Broken)
            if self.over.wait(0.05):
                return
            if attempt == ABORT_AT and node is not None and node.gpu is not None:
                node.wires.abort()  # the program may wait for its GPU, and that for a dead rank

    def _interrupted(self, number, frame):
        if self.running:
            if self.guard.broken:
                self._note_import(frame)
            self.guard.check()

    def _note_import(self, frame):
        """A thread is stopped in this frame; if it imports, this process cannot be used again."""
        self.unsound = self.unsound or imports(frame)

    def _die(self, moment):
        self.streams.finish()
        self.report("crashing", repr(moment), self._record())
        os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        while True:  # the signal takes effect before this process runs on
            signal.pause()

    def _report_progress(self, i, n):
        self.report("progress", int(i), int(n))

    def _record(self):
        """(rows of the record, values of small tensors, what was metered or None)."""
        node = self.node
        rows, values = event_rows(node.record)
        if node.gpu is not None:
            settle(rows, TIMES, node.gpu)
        return rows, values, node.meter and node.meter.read()


def failure_of(error):
    """The Failure that stands for an exception of this rank."""
    lost = isinstance(error, RuntimeError) and LOST_LINK.search(str(error))
    return Failure.of(error, link=bool(lost) or isinstance(error, RankDied))


def _raise_in(thread, exception):
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(exception))


def innermost_frame(error):
    """The frame in which this exception was raised."""
    step = error.__traceback__
    while step.tb_next is not None:
        step = step.tb_next
    return step.tb_frame


def set_names(names):
    """Give names to later cells on this rank."""
    Worker.current.names.update(names)


def get_name(name):
    """The value of a name on this rank."""
    if name not in Worker.current.names:
        raise NameError(f"name {name!r} is not defined on this rank")
    return Worker.current.names[name]


def run_cell(source, filename, comm):
    """Run a cell's code among this rank's names.

    Print the value of its last expression, unless a semicolon ends it.
    """
    names = Worker.current.names
    names.update(comm=comm, rank=comm.rank, world_size=comm.world_size)
    tree = ast.parse(source, filename)
    last = None
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
        # DataLoader workers then need no __main__.
        torch.multiprocessing.set_start_method("fork", force=True)
        os.register_at_fork(after_in_child=lambda: Worker.current.streams.release())
    # What multiprocessing leaves goes with the folder of the world.
    multiprocessing.current_process()._config["tempdir"] = tempfile.mkdtemp(dir=folder)
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    if loopback:
        os.environ["GLOO_SOCKET_IFNAME"] = loopback
    prepare_process(rank, world_size)
    gc.freeze()  # torch's objects stay: looking through them took 0.3 s and 38 MiB of shared pages
    Worker(conn, rank, world_size, folder, threads).serve()
