"""The process from which caged ranks fork: torch is loaded, no learner's code runs in it.

    judge --socket--> doorman --fork--> keeper: process 1 of a world of its own --fork--> ranks
                      |
                      waits for the keeper's end, removes the folder

The keeper ends with its socket, so no rank outlives a judge that is killed. It forks from a judge
that has read nothing yet, because what is in its memory is in the ranks'; or it is started as
`python -m minidl_grader.judge.cage.rank_keeper`.
"""

import gc
import os
import selectors
import shutil
import signal
import socket
import sys
import traceback

import torch

from minidl.runtime.processes.worker import die_with_parent
from minidl_grader.judge.cage import caged_rank, landlock, locks, namespaces
from minidl_grader.judge.cage.channel import Channel, Closed

LINUX = sys.platform == "linux"


def live_as_keeper(control, folder, limits):
    """Be doorman and keeper until the judge is gone; never returns. control: a connected socket."""
    os.setsid()  # Ctrl-C is for the judge: its end is what ends the keeper
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.closerange(3, control.fileno())  # the judge's files must not be open in ranks
    os.closerange(control.fileno() + 1, 1 << 16)
    settings = locks.environment(folder)
    os.environ.clear()
    os.environ.update(settings)
    user = locks.own_user()  # from a process number of the outside
    words = namespaces.separate()
    keeper = os.fork()  # the first child is process 1 of the new namespace
    if keeper == 0:
        status = 1
        try:
            die_with_parent()
            Keeper(control, folder, limits, words, user).serve()
            status = 0
        finally:
            os._exit(status)
    control.close()
    os.waitpid(keeper, 0)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


class Keeper:
    """Forks ranks as the judge asks, and reports which of them ended and how.

    words  what is in force so far, in phrases;  user: a number for a user of the ranks' own
    """

    def __init__(self, control, folder, limits, words, user):
        self.control = control
        self.channel = Channel(control, ahead=False)
        self.folder = folder
        self.limits = limits
        self.children = set()
        self.own_size = locks.address_space() if LINUX else 0  # later there is no /proc
        readable = locks.readable()
        own_tree = (
            namespaces.change_root(folder, readable)
            if LINUX
            else ["no file tree of their own: this system cannot"]
        )
        self.words = [*words, *own_tree]
        inside = not own_tree[0].startswith("no ")
        # Another user can read an interpreter in root's home only where the file tree is its own.
        reachable = inside or locks.everybody_may_enter([*readable, folder])
        self.user = user if os.geteuid() == 0 and reachable else None
        if self.user is not None and not inside:
            os.chown(folder, user, user)
        self.rules = landlock.ruleset(readable, [folder, "/dev/null"]) if LINUX else None
        self.wake, self.woken = os.pipe()

    def serve(self):
        """Answer the judge until it is gone, then kill every rank."""
        gc.freeze()  # ranks share these pages as long as the collector does not touch them
        for end in (self.wake, self.woken):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.woken, warn_on_full_buffer=False)
        try:
            self.channel.send("ready", self.words)
            with selectors.DefaultSelector() as selector:
                selector.register(self.control, selectors.EVENT_READ, self._answer)
                selector.register(self.wake, selectors.EVENT_READ, self._reap)
                while True:
                    for key, _ in selector.select():
                        key.data()
        except Closed:
            for pid in self.children:
                locks.kill(pid)
            for pid in self.children:
                os.waitpid(pid, 0)

    def _answer(self):
        # One byte, with descriptors if a rank is to be forked; then the message.
        data, descriptors, _, _ = socket.recv_fds(self.control, 1, 8)
        if not data:
            raise Closed
        request, number = self.channel.receive()
        if request == "fork":
            self._fork(descriptors, number)
        elif number in self.children:  # not reaped yet, so the number is still its own
            if request == "kill":
                locks.kill(number)
            else:
                os.kill(number, signal.SIGUSR1)  # faulthandler writes the stacks

    def _fork(self, descriptors, number):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                self._become_rank(descriptors)
                status = 0
            except Exception:
                os.write(descriptors[-1], traceback.format_exc().encode())
            finally:
                os._exit(status)
        for descriptor in descriptors:
            os.close(descriptor)
        self.children.add(pid)
        self.channel.send("forked", number, pid)

    def _become_rank(self, descriptors):
        keep = descriptors if self.rules is None else [*descriptors, self.rules]
        words = locks.lock(self.folder, self.limits, self.own_size, self.rules, keep, self.user)
        caged_rank.live_as_rank(*descriptors, [*self.words, *words])

    def _reap(self):
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            return
        for pid in list(self.children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self.children.remove(pid)
                locks.kill_group(pid)  # what it started, where the system let it
                self.channel.send("ended", pid, os.waitstatus_to_exitcode(status))


def main():
    """Arguments: the control socket's descriptor, the folder, the ranks' limits."""
    control, folder, *limits = sys.argv[1:]
    torch.set_num_threads(1)
    limits = locks.RankLimits(*map(int, limits))
    live_as_keeper(socket.socket(fileno=int(control)), folder, limits)


if __name__ == "__main__":
    main()
