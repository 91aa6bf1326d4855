"""The process from which caged ranks fork: torch is loaded, no learner's code runs in it, and the ranks die with it.

    judge --socket--> doorman --fork--> keeper: process 1 of a world of its own --fork--> rank 0, rank 1, ...
                      |
                      waits for the keeper's end, removes the folder

The keeper ends with its socket, so a judge that is killed leaves nobody behind. Started as
`python -m minidl_grader.judge.cage.rank_keeper`, or forked from a judge that has read nothing yet: what is in its memory is in the ranks'.
"""

import gc
import os
import selectors
import shutil
import signal
import socket
import sys
import traceback

from minidl.runtime.processes.worker import die_with_parent
from minidl_grader.judge.cage import landlock, locks, namespaces
from minidl_grader.judge.cage.channel import Channel, Closed


def live(control, folder, limits):
    """Be doorman and keeper until the judge is gone; never returns. control: a connected socket."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.closerange(3, control.fileno())
    os.closerange(control.fileno() + 1, 1 << 16)
    settings = locks.environment(folder)
    os.environ.clear()
    os.environ.update(settings)
    user = locks.own_user()  # from a process number of the outside
    words = namespaces.separate()
    keeper = os.fork()
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
    """Forks ranks as the judge asks, and tells it who ended and how."""

    def __init__(self, control, folder, limits, words, user):
        self.control, self.channel = control, Channel(control, ahead=False)
        self.folder, self.limits, self.children = folder, limits, set()
        readable = locks.readable()
        self.own_size = (
            locks.address_space() if sys.platform == "linux" else 0
        )  # later there is no /proc
        own_tree = (
            namespaces.change_root(folder, readable)
            if sys.platform == "linux"
            else ["no file tree of their own: this system cannot"]
        )
        self.words = [*words, *own_tree]
        inside = not own_tree[0].startswith("no ")
        self.user = (
            user
            if os.geteuid() == 0 and (inside or locks.everybody_may_enter([*readable, folder]))
            else None
        )
        if self.user is not None and not inside:
            os.chown(folder, user, user)
        self.rules = (
            landlock.ruleset(readable, [folder, "/dev/null"]) if sys.platform == "linux" else None
        )
        self.wake, self.woken = os.pipe()

    def serve(self):
        """Answer the judge until it is gone, then kill everybody."""
        gc.freeze()  # ranks share these pages as long as nobody counts what is in them
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
        data, descriptors, _, _ = socket.recv_fds(self.control, 1, 8)
        if not data:
            raise Closed
        request, *args = self.channel.receive()
        if request == "fork":
            self._fork(descriptors, *args)
        elif args[0] in self.children:  # not reaped yet, so the number is still its own
            locks.kill(args[0]) if request == "kill" else os.kill(args[0], signal.SIGUSR1)

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
        from minidl_grader.judge.cage import caged_rank as rank

        keep = descriptors if self.rules is None else [*descriptors, self.rules]
        words = locks.lock(self.folder, self.limits, self.own_size, self.rules, keep, self.user)
        rank.live(descriptors[0], descriptors[1:], [*self.words, *words])

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
    control, folder = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    import torch

    import minidl_grader.judge.cage.caged_rank  # noqa: F401  the point of this process: all is loaded before the first fork

    torch.set_num_threads(1)
    live(control, folder, locks.RankLimits(*map(int, sys.argv[3:])))


if __name__ == "__main__":
    main()
