"""Start the keeper of a cage and its ranks; know where they are and how they ended.

Cage          --socket-->  keeper    one for each submission: 10 ms if it forks, else 2 s
CagedProcess  --socket, door, pipe of stacks-->  rank    4 ms
              --a socket for each lane-->
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

import torch

from minidl.errors import MinidlError
from minidl.runtime.words.calling import PACKAGE
from minidl.runtime.words.stacks import parse
from minidl_grader.judge.cage import rank_keeper
from minidl_grader.judge.cage.channel import Channel, Closed, Late, pair
from minidl_grader.judge.cage.codec import CodecError
from minidl_grader.judge.cage.locks import RankLimits, environment

ROOT = os.path.dirname(os.path.dirname(PACKAGE))  # the folder that holds both packages
MOST_LANES = 16  # threads for background work that a rank may have
LOADING = 240  # seconds in which a keeper that is not forked loads torch, on a busy machine
ANSWER = 0.3  # seconds in which a rank that behaves says where it is
STACKS = 1 << 16  # bytes of what it says


class Cage:
    """A keeper and its ranks.

    fork  True: the keeper is a copy of this process, which has not read what ranks must not know;
          False: it starts from nothing
    """

    def __init__(self, limits=None, fork=False):
        limits = limits or RankLimits()
        self.owner = os.getpid()
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="minidl-cage-"))
        self.forked = {}  # number of a start: process id
        self.statuses = {}  # process id: how it ended
        self.process = self.pid = None  # the keeper's: one of both
        self.log = None
        self.control, theirs = pair()
        self.channel = Channel(self.control)
        with theirs:
            if fork:
                self._fork(theirs, limits)
            else:
                self._spawn(theirs, limits)
        self.channel.deadline = time.monotonic() + LOADING
        try:
            (self.words,) = self._receive("ready")
        except (Closed, Late, CodecError):
            log = self._log()
            self.close()
            raise MinidlError(
                f"the process that starts caged ranks did not answer:\n{log}"
            ) from None

    def start(self):
        """A fresh rank, locked in."""
        number = len(self.forked)
        ours, theirs = pair()
        our_door, their_door = pair()
        stacks, writing = os.pipe()
        descriptors = [theirs.fileno(), their_door.fileno(), writing]
        try:
            socket.send_fds(self.control, [b"F"], descriptors)
            self.channel.deadline = time.monotonic() + 20
            self.channel.send("fork", number)
            while number not in self.forked:
                self._receive("forked")
        except OSError:
            raise Closed from None
        finally:
            os.close(writing)
            theirs.close()
            their_door.close()
        return CagedProcess(self, self.forked[number], Channel(ours), our_door, stacks)

    def ask(self, request, pid):
        """Send "kill" or "dump" for a rank; nothing happens if it is gone."""
        with contextlib.suppress(OSError, Closed, Late):
            self.control.sendall(b"K")
            self.channel.deadline = time.monotonic() + 5
            self.channel.send(request, pid)

    def ended(self, pid, seconds):
        """How a rank ended, as an exit code, negative for a signal.

        None if it has not within `seconds`.
        """
        self.channel.deadline = time.monotonic() + seconds
        with contextlib.suppress(Closed, Late):
            while pid not in self.statuses:
                self._receive("ended")
        return self.statuses.get(pid)

    def close(self):
        """End the keeper and all in the cage; returns when they and the folder are gone."""
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
        """A keeper from a new Python: this process may have threads, or may know a solution."""
        self.log = tempfile.TemporaryFile()
        module = "minidl_grader.judge.cage.rank_keeper"
        arguments = [str(theirs.fileno()), self.folder, *map(str, astuple(limits))]
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=environment(self.folder) | {"PYTHONPATH": ROOT},
        )

    def _fork(self, theirs, limits):
        """A keeper that is a copy of this process."""
        torch.set_num_threads(1)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.control.close()
                signal.set_wakeup_fd(-1)
                rank_keeper.live_as_keeper(theirs, self.folder, limits)
            finally:
                os._exit(1)

    def _receive(self, wanted):
        """Note what the keeper reports until a report of the `wanted` kind; returns its values."""
        notes = {"forked": self.forked, "ended": self.statuses, "ready": {}}
        while True:
            kind, *values = self.channel.receive()
            if len(values) == 2:
                notes[kind][values[0]] = values[1]
            if kind == wanted:
                return values

    def _log(self):
        if self.log is None:
            return ""
        self.log.seek(0)
        return self.log.read()[-2000:].decode(errors="replace")


class CagedProcess:
    """A rank's process, seen from the judge.

    channel  carries what its main thread asks;  lanes: what its threads for background work ask
    door     a socket through which it gets the other end of a new lane
    stacks   a pipe into which it, or its crash, writes where it is
    words    its locks in phrases, once it has said them
    """

    def __init__(self, cage, pid, channel, door, stacks):
        self.cage = cage
        self.pid = pid
        self.channel = channel
        self.door = door
        self.stacks = stacks
        self.lanes = []
        self.alive = True
        self.words = None

    def lane(self, number):
        """The channel of a lane; opened if it is the next one. Raises RuntimeError for too many."""
        if number >= MOST_LANES:
            raise RuntimeError(f"a rank has background work on {MOST_LANES} communicators at most")
        if number == len(self.lanes):
            ours, theirs = pair()
            with theirs:
                try:
                    socket.send_fds(self.door, [b"L"], [theirs.fileno()])
                except OSError:
                    raise Closed from None
            self.lanes.append(Channel(ours))
            self.lanes[-1].deadline = self.channel.deadline
        return self.lanes[number]

    def limit(self, deadline):
        """Until when it must answer whatever it is asked."""
        for channel in (self.channel, *self.lanes):
            channel.deadline = deadline

    def greet(self):
        """Receive a rank's first message: which locks are in force.

        It knows no learner's code yet.
        """
        if self.words is not None:
            return
        try:
            ((_, self.words),) = self.channel.receive()
        except Closed:
            raise MinidlError(
                f"a rank could not be locked in:\n{self._written().decode(errors='replace')}"
            ) from None

    def where(self):
        """{thread: [(file, line, function)]} of where it is, if it answers. It may say anything."""
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
        """What it has written about where it is, and writes within `seconds`."""
        text = b""
        deadline = time.monotonic() + seconds
        while len(text) < STACKS:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.stacks], [], [], left)[0]:
                break
            piece = os.read(self.stacks, STACKS)
            if not piece:
                break
            text += piece
            deadline = min(deadline, time.monotonic() + 0.02)  # the rest follows at once
        return text

    def end(self):
        """Kill it; returns its exit code, its own if it had ended before."""
        if not self.alive:
            return self.cage.statuses.get(self.pid)
        self.alive = False
        self.cage.ask("kill", self.pid)
        for channel in (self.channel, *self.lanes):
            channel.close()
        self.door.close()
        os.close(self.stacks)
        return self.cage.ended(self.pid, 5)
