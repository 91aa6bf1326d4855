"""Start ranks as processes, and know how each of them ended.

    ForkLauncher    ranks fork from the zygote: 20 ms each, memory shared; where there is fork
    SpawnLauncher   ranks start from nothing: 2 s, memory of their own; Windows, or World(..., start="spawn")

Both take functions that were typed in a cell, need no `__main__` guard, and leave nothing behind when
the kernel is killed: a rank ends with its pipe.
"""

import atexit
import multiprocessing
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import types
from multiprocessing.connection import Connection, Pipe

from minidl.errors import MinidlError, RankDied
from minidl.runtime.words import calling


class Rank:
    """A rank's process, seen from the kernel: its pipe, its number, and how it ended."""

    def __init__(self, launcher, conn, pid):
        self.launcher, self.conn, self.pid = launcher, conn, pid

    def ended(self):
        """None while it runs, else its exit code; negative for a signal."""
        return self.launcher.ended(self.pid)

    def send(self, *message):
        """Send a message; a rank that is gone gets nothing, and `ended` will tell."""
        try:
            self.conn.send_bytes(pickle.dumps(message, protocol=5))
        except OSError:
            pass

    def kill(self):
        """End the process at once."""
        self.launcher.kill(self.pid)


def start_zygote(control, log, folder):
    """Start the process from which ranks fork; returns its Popen. control: its end of a socket; log: a file."""
    root = os.path.dirname(os.path.dirname(calling.PACKAGE))
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "minidl.runtime.processes.zygote", str(control.fileno()), folder],
        pass_fds=[control.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path, **one_thread},
    )


class ForkLauncher:
    """One zygote for all worlds of this process, started when first needed."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="minidl-")
        self.statuses, self.forked, self.owner = {}, [], os.getpid()
        self.lock = threading.RLock()
        ours, theirs = socket.socketpair()
        log = open(os.path.join(self.folder, "zygote.log"), "wb")
        with theirs, log:
            self.process = start_zygote(theirs, log, self.folder)
        self.control = ours
        self.conn = Connection(os.dup(ours.fileno()))
        self._receive("ready", 60)
        atexit.register(self.close)

    def start(self, rank, world_size, folder, threads):
        """Fork a rank."""
        ours, theirs = socket.socketpair()
        with theirs, self.lock:
            try:
                socket.send_fds(self.control, [b"F"], [theirs.fileno()])
                self.conn.send(("fork", (rank, world_size, folder, threads)))
            except OSError:
                raise RankDied(
                    "The process that starts the ranks was killed. Make a new World."
                ) from None
            pid = self._receive("forked", 20)
        return Rank(self, Connection(ours.detach()), pid)

    def alive(self):
        """Does the zygote still run?"""
        if self.owner != os.getpid() or self.process.poll() is not None:
            return False
        with self.lock:
            self._pump()
        return not isinstance(self.statuses, _Everyone)

    def waitable(self):
        """What becomes readable when a rank ends."""
        return [self.conn]

    def ended(self, pid):
        with self.lock:
            self._pump()
            return self.statuses.get(pid)

    def kill(self, pid):
        with self.lock:
            try:
                self.control.sendall(b"K")
                self.conn.send(("kill", pid))
            except OSError:
                pass  # the zygote is gone, and took its ranks along

    def close(self):
        """End the zygote and with it every rank; returns when they and the folder are gone."""
        if self.owner != os.getpid():
            return
        self.conn.close()
        self.control.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _pump(self):
        try:
            while self.conn.poll():
                kind, *args = self.conn.recv()
                if kind == "ended":
                    self.statuses[args[0]] = args[1]
                else:
                    self.forked.append((kind, args[0]))
        except (EOFError, OSError):  # the zygote was killed: no rank outlives it
            self.statuses = _Everyone(-9)

    def _receive(self, kind, seconds):
        while not self.forked:
            if not self.conn.poll(seconds) or isinstance(self.statuses, _Everyone):
                with open(os.path.join(self.folder, "zygote.log"), errors="replace") as log:
                    raise MinidlError(
                        f"the process that starts ranks did not answer:\n{log.read()[-2000:]}"
                    )
            self._pump()
        got, value = self.forked.pop(0)
        assert got == kind
        return value


class _Everyone(dict):
    """Every process has this status."""

    def __init__(self, status):
        super().__init__()
        self.status = status

    def get(self, pid, default=None):
        return self.status


class SpawnLauncher:
    """A fresh interpreter per rank."""

    def __init__(self):
        self.folder, self.processes, self.owner = (
            tempfile.mkdtemp(prefix="minidl-"),
            {},
            os.getpid(),
        )
        atexit.register(self.close)

    def start(self, rank, world_size, folder, threads):
        """Spawn a rank. The user's main module is hidden meanwhile, or spawn would run it again."""
        ours, theirs = Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_spawned, args=(theirs, rank, world_size, folder, threads), name=f"rank {rank}"
        )
        main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
        theirs.close()
        self.processes[process.pid] = process
        return Rank(self, ours, process.pid)

    def alive(self):
        return self.owner == os.getpid()

    def waitable(self):
        return [process.sentinel for process in self.processes.values() if process.exitcode is None]

    def ended(self, pid):
        return self.processes[pid].exitcode

    def kill(self, pid):
        self.processes[pid].kill()

    def close(self):
        """Kill what still runs and remove the folder."""
        if self.owner == os.getpid():
            for process in self.processes.values():
                process.kill()
                process.join(10)
            shutil.rmtree(self.folder, ignore_errors=True)


def _spawned(conn, *args):
    from minidl.runtime.processes import worker

    worker.main(conn, *args)


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
