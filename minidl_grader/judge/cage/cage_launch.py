"""Start the keeper and its ranks; know where they are and how they ended.

Cage  --socket-->  keeper          one for each submission: 10 ms where it is forked, 2 s where it must load torch
CagedProcess  --three sockets and a pipe-->  rank         4 ms
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple

from minidl.errors import MinidlError
from minidl.runtime.words.calling import PACKAGE
from minidl.runtime.words.stacks import parse
from minidl_grader.judge.cage import rank_keeper as keeper
from minidl_grader.judge.cage.channel import Channel, Closed, Late, pair
from minidl_grader.judge.cage.codec import CodecError
from minidl_grader.judge.cage.locks import RankLimits, environment

LANES = 2  # threads for background work that a rank may have
ANSWER = 0.3  # seconds in which a rank that behaves says where it is
STACKS = 1 << 16  # bytes of what it says


class Cage:
    """A keeper and its ranks.

    fork  True: the keeper is a copy of this process, which must have read nothing that ranks may not know.
          False: it starts from nothing
    """

    def __init__(self, limits=RankLimits(), fork=False):
        self.owner, self.folder = (
            os.getpid(),
            os.path.realpath(tempfile.mkdtemp(prefix="minidl-cage-")),
        )
        self.statuses, self.forked, self.process, self.pid = {}, {}, None, None
        ours, theirs = pair()
        with theirs:
            self._fork(theirs, ours, limits) if fork else self._spawn(theirs, limits)
        self.control, self.channel = ours, Channel(ours)
        self.channel.deadline = time.monotonic() + 60
        try:
            (self.words,) = self._receive("ready")
        except (Closed, Late, CodecError):
            self.close()
            raise MinidlError(
                f"the process that starts caged ranks did not answer:\n{self._log()}"
            ) from None

    def start(self):
        """A fresh rank, locked in."""
        number = len(self.forked)
        ends = [pair() for _ in range(1 + LANES)]
        stacks, writing = os.pipe()
        try:
            socket.send_fds(
                self.control, [b"F"], [*(theirs.fileno() for _, theirs in ends), writing]
            )
            self.channel.deadline = time.monotonic() + 20
            self.channel.send("fork", number)
            while number not in self.forked:
                self._receive("forked")
        except OSError:
            raise Closed from None
        finally:
            os.close(writing)
            for _, theirs in ends:
                theirs.close()
        return CagedProcess(self, self.forked[number], [Channel(ours) for ours, _ in ends], stacks)

    def ask(self, request, pid):
        """Send "kill" or "dump" for a rank; nothing happens if it is gone."""
        with contextlib.suppress(OSError, Closed, Late):
            self.control.sendall(b"K")
            self.channel.deadline = time.monotonic() + 5
            self.channel.send(request, pid)

    def ended(self, pid, seconds):
        """How a rank ended, as an exit code, negative for a signal; None if it has not within `seconds`."""
        self.channel.deadline = time.monotonic() + seconds
        with contextlib.suppress(Closed, Late):
            while pid not in self.statuses:
                self._receive("ended")
        return self.statuses.get(pid)

    def close(self):
        """End the keeper and everybody in the cage; returns when they and the folder are gone."""
        if self.owner != os.getpid():
            return
        self.control.close()
        if self.process is not None:
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        elif self.pid is not None:
            os.waitpid(self.pid, 0)
            self.pid = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self, theirs, limits):
        self.log = tempfile.TemporaryFile()
        root = os.path.dirname(os.path.dirname(PACKAGE))
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "minidl_grader.judge.cage.rank_keeper",
                str(theirs.fileno()),
                self.folder,
                *map(str, astuple(limits)),
            ],
            cwd=self.folder,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={**environment(self.folder), "PYTHONPATH": root},
        )

    def _fork(self, theirs, ours, limits):
        self.log = None
        import torch

        import minidl_grader.judge.cage.caged_rank  # noqa: F401  loaded once, here

        torch.set_num_threads(1)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ours.close()
                signal.set_wakeup_fd(-1)
                keeper.live(theirs, self.folder, limits)
            finally:
                os._exit(1)

    def _receive(self, wanted):
        """Take in what the keeper tells until it is something `wanted`; returns that."""
        while True:
            kind, *args = self.channel.receive()
            if kind == "forked":
                self.forked[args[0]] = args[1]
            elif kind == "ended":
                self.statuses[args[0]] = args[1]
            if kind == wanted:
                return args

    def _log(self):
        if self.log is None:
            return ""
        self.log.seek(0)
        return self.log.read()[-2000:].decode(errors="replace")


class CagedProcess:
    """A rank's process, seen from the judge. words: its locks, once it has told them."""

    def __init__(self, cage, pid, channels, stacks):
        self.cage, self.pid, self.stacks = cage, pid, stacks
        self.channel, *self.lanes = channels
        self.alive, self.words = True, None

    def limit(self, deadline):
        """Until when whatever is asked of it must be answered."""
        for channel in (self.channel, *self.lanes):
            channel.deadline = deadline

    def greet(self):
        """Hear which locks are in force: the first that a rank says, before it knows any learner's code."""
        if self.words is not None:
            return
        try:
            ((_, self.words),) = self.channel.receive()
        except Closed:
            raise MinidlError(
                f"a rank could not be locked in:\n{self._written().decode(errors='replace')}"
            ) from None

    def where(self):
        """{thread: [(file, line, function)]} of where it is, if it lets itself be asked. What it says may be untrue."""
        self.cage.ask("dump", self.pid)
        return self.last_words(ANSWER)

    def last_words(self, seconds=0.0):
        """The stacks that it, or its crash, has written."""
        text = self._written(seconds)
        try:
            return parse(text.decode("ascii", errors="replace").splitlines())
        except Exception:  # it wrote something else there
            return {}

    def _written(self, seconds=0.0):
        text, deadline = b"", time.monotonic() + seconds
        while (
            len(text) < STACKS
            and select.select([self.stacks], [], [], max(0.0, deadline - time.monotonic()))[0]
        ):
            piece = os.read(self.stacks, STACKS)
            if not piece:
                break
            text, deadline = text + piece, min(deadline, time.monotonic() + 0.02)
        return text

    def end(self):
        """Kill it; returns its exit code, or that of its own end if it came first."""
        if not self.alive:
            return self.cage.statuses.get(self.pid)
        self.alive = False
        self.cage.ask("kill", self.pid)
        for channel in (self.channel, *self.lanes):
            channel.close()
        os.close(self.stacks)
        return self.cage.ended(self.pid, 5)
