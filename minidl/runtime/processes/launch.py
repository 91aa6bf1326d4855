"""Start ranks as processes, and know how each of them ended.

    ForkLauncher    ranks fork from the zygote: 20 ms each, memory shared; where there is fork
    SpawnLauncher   ranks start from nothing: 2 s, memory of their own; Windows, or start="spawn"

Both take functions that were typed in a cell, need no `__main__` guard, and leave nothing behind
when the kernel is killed: a rank ends with its pipe.
"""

import atexit
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe

from minidl.errors import MinidlError, RankDied
from minidl.runtime.processes import worker
from minidl.runtime.words import calling

ZYGOTE = "minidl.runtime.processes.zygote"


@dataclass
class Rank:
    """A rank's process, seen from the kernel: its pipe, its number, and how it ended."""

    launcher: object
    conn: Connection
    pid: int

    def ended(self):
        """None while it runs, else its exit code; negative for a signal."""
        return self.launcher.ended(self.pid)

    def send(self, *message):
        """Send a message. A rank that has ended gets nothing; `ended` says so later."""
        try:
            self.conn.send_bytes(pickle.dumps(message, protocol=5))
        except OSError:
            pass

    def kill(self):
        """End the process at once."""
        self.launcher.kill(self.pid)


def start_zygote(control, log, folder):
    """Start the process from which ranks fork; returns its Popen.

    control: its end of a socket; log: an open file for what it prints.
    """
    root = os.path.dirname(os.path.dirname(calling.PACKAGE))
    paths = [root, os.environ.get("PYTHONPATH")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        # Threads of a numeric library would not survive the fork, and the zygote computes nothing.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", ZYGOTE, str(control.fileno()), folder],
        pass_fds=[control.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=environment,
    )


class Launcher:
    """What starts ranks, in a folder of its own that is removed when this process ends."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="minidl-")
        self.owner = os.getpid()
        atexit.register(self.close)

    def close(self):
        """End every rank; returns when they and the folder are gone."""
        if self.owner == os.getpid():
            self._end()
            shutil.rmtree(self.folder, ignore_errors=True)


class ForkLauncher(Launcher):
    """One zygote for all worlds of this process, started when first needed.

    Making the first optimizer of a process loads more of torch, which takes 1.5 s. When the kernel
    or a rank has done so, the zygote does it too, once, before it forks the next rank.
    """

    def __init__(self):
        super().__init__()
        self.lock = threading.RLock()
        self.exit_codes = {}  # pid of a rank that ended -> its exit code
        self.answers = []  # pids that the zygote has answered with and that were not read yet
        self.orphaned = False  # the zygote was killed: no rank outlives it
        self.wanted = set()  # modules that ranks had to load
        self.loaded = set()  # those of them that the zygote was asked to load
        self.control, theirs = socket.socketpair()
        self.conn = Connection(os.dup(self.control.fileno()))
        with theirs, open(self._log(), "wb") as log:
            self.process = start_zygote(theirs, log, self.folder)
        self._answer(60)

    def start(self, rank, world_size, folder, threads):
        """Fork a rank."""
        ours, theirs = socket.socketpair()
        with theirs, self.lock:
            try:
                if worker.HEAVY in sys.modules:
                    self.wanted.add(worker.HEAVY)
                for module in self.wanted - self.loaded:
                    self.conn.send(("load", module))
                    self.loaded.add(module)
                self.conn.send(("fork", (rank, world_size, folder, threads)))
                socket.send_fds(self.control, [b"F"], [theirs.fileno()])
            except OSError:
                raise RankDied(
                    "The process that starts the ranks was killed. Make a new World."
                ) from None
            pid = self._answer(60)
        return Rank(self, Connection(ours.detach()), pid)

    def alive(self):
        """Does the zygote still run?"""
        if self.owner != os.getpid() or self.process.poll() is not None:
            return False
        with self.lock:
            self._pump()
        return not self.orphaned

    def waitable(self):
        """What becomes readable when a rank ends."""
        return [self.conn]

    def ended(self, pid):
        """None while this rank runs, else its exit code."""
        with self.lock:
            self._pump()
            return -signal.SIGKILL if self.orphaned else self.exit_codes.get(pid)

    def kill(self, pid):
        """End this rank at once."""
        with self.lock:
            try:
                self.conn.send(("kill", pid))
            except OSError:
                pass  # the zygote has ended, and its ranks with it

    def load(self, module):
        """Have a module in the ranks that start from now on.

        Not at once: the zygote reports no death while it loads.
        """
        self.wanted.add(module)

    def _end(self):
        """End the zygote and with it every rank."""
        self.conn.close()
        self.control.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _log(self):
        return os.path.join(self.folder, "zygote.log")

    def _pump(self):
        """Read what the zygote has sent so far."""
        try:
            while self.conn.poll():
                kind, pid, *exit_code = self.conn.recv()
                if kind == "ended":
                    [self.exit_codes[pid]] = exit_code
                else:
                    self.answers.append(pid)
        except (EOFError, OSError):
            self.orphaned = True

    def _answer(self, seconds):
        """The pid that the zygote answers with; raises MinidlError if it ends or stays silent."""
        while not self.answers:
            if self.orphaned or not self.conn.poll(seconds):
                with open(self._log(), errors="replace") as log:
                    words = log.read()[-2000:]
                raise MinidlError(f"the process that starts ranks did not answer:\n{words}")
            self._pump()
        return self.answers.pop(0)


class SpawnLauncher(Launcher):
    """A fresh interpreter per rank. Has the methods of a ForkLauncher."""

    def __init__(self):
        super().__init__()
        self.processes = {}

    def start(self, rank, world_size, folder, threads):
        """Spawn a rank."""
        ours, theirs = Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=worker.main,
            args=(theirs, rank, world_size, folder, threads),
            name=f"rank {rank}",
        )
        # The user's main module is hidden meanwhile, or spawn would run it again in the child.
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
        theirs.close()
        self.processes[process.pid] = process
        return Rank(self, ours, process.pid)

    def alive(self):
        """Was this launcher made by this very process, rather than by one that forked it?"""
        return self.owner == os.getpid()

    def waitable(self):
        """What becomes readable when a rank ends."""
        return [process.sentinel for process in self.processes.values() if process.exitcode is None]

    def ended(self, pid):
        """None while this rank runs, else its exit code."""
        return self.processes[pid].exitcode

    def kill(self, pid):
        """End this rank at once."""
        self.processes[pid].kill()

    def load(self, module):
        """Spawned ranks share no memory: each loads for itself."""

    def _end(self):
        """Kill what still runs."""
        for process in self.processes.values():
            process.kill()
            process.join(10)


_launchers = {}


def launcher(start):
    """The launcher of this process for start="fork" or "spawn"; made anew if it has died."""
    if start not in ("fork", "spawn"):
        raise ValueError(f'start is "fork" or "spawn", not {start!r}')
    if start == "fork" and not hasattr(os, "fork"):
        raise ValueError('this system has no fork: use World(n, start="spawn")')
    if start not in _launchers or not _launchers[start].alive():
        _launchers[start] = ForkLauncher() if start == "fork" else SpawnLauncher()
    return _launchers[start]
