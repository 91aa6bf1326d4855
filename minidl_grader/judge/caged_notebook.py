"""In the cage: pytest runs the notebook, and its kernel starts without loading torch again.

    locked in --fork--> waits until pytest starts a kernel, then is that kernel
        |                  '--fork--> waits until the notebook makes a World, then is its zygote
        '--> pytest --nbval-lax 02_collectives.ipynb

Both are copies of a process that has run nothing of the notebook. A second kernel or zygote, after
the first was killed, starts from nothing.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from queue import Empty

import jupyter_client.provisioning.local_provisioner as provisioner
import nbval.plugin
import pytest
import torch._dynamo  # noqa: F401  the first optimizer loads it, which takes two seconds
from ipykernel.kernelapp import IPKernelApp
from nbval.kernel import RunningKernel

import minidl.check
import minidl.collectives
import minidl.parallel
import minidl.viz
import minidl.zoo  # noqa: F401  notebooks import these: loaded here, once for all of them
from minidl.runtime import magics
from minidl.runtime.processes import launch, worker, zygote  # noqa: F401  ranks need the worker
from minidl_grader.judge.cage.locks import readable
from minidl_grader.judge.keeper import finish
from minidl_grader.judge.kernel_cage import lock_in

LOOK = 0.5  # seconds between two looks whether the kernel is alive
MOST = 1 << 17  # bytes of a request


class Waiting:
    """A forked copy of this process that waits for its work; used as a subprocess.Popen is.

    work(request, descriptors) runs in the copy once `begin` is called here. If this process ends
    first, so does the copy.
    """

    stdin = stdout = stderr = None

    def __init__(self, work):
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.returncode = None
        self.pid = os.fork()
        if self.pid == 0:
            self.control.close()
            finish(lambda: self._wait_for(work, theirs))
        theirs.close()
        with contextlib.suppress(OSError):  # both sides do it, so it is done when either goes on
            os.setpgid(self.pid, self.pid)

    def _wait_for(self, work, control):
        os.setpgid(0, 0)
        data, descriptors, _, _ = socket.recv_fds(control, MOST, 8)
        control.close()
        if data:
            work(json.loads(data), descriptors)

    def begin(self, request, descriptors=()):
        """Let it work."""
        socket.send_fds(self.control, [json.dumps(request).encode()], descriptors)
        self.control.close()

    def poll(self):
        """Its exit code; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=float("inf")):
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked process", timeout)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def first_from(waiting, begin, start):
    """A function that returns `waiting` at its first call, after begin(...); later start(...)."""
    left = [waiting]

    def started(*args, **kwargs):
        if not left:
            return start(*args, **kwargs)
        begin(*args, **kwargs)
        return left.pop()

    return started


def be_kernel(request, _):
    """In a waiting copy: be the kernel that this command line would have started."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    del sys.path[0]  # the kernel puts its own in place of this one

    ranks = Waiting(be_zygote)

    def begin(control, log, folder):
        ranks.begin(folder, [control.fileno(), log.fileno()])

    launch.start_zygote = first_from(ranks, begin, launch.start_zygote)
    app = IPKernelApp.instance()
    app.initialize(request["arguments"])
    magics.register()  # minidl does it when it is imported, but then there was no kernel
    app.start()


def be_zygote(folder, descriptors):
    """In a waiting copy: be the process from which the ranks of a World fork."""
    control, log = descriptors
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    zygote.fork_ranks(socket.socket(fileno=control), folder)


def run_pytest(arguments):
    """Run pytest; returns its exit code."""
    kernel = Waiting(be_kernel)

    def begin(command, env, cwd=None, **_):
        first = command.index("ipykernel_launcher") + 1
        own_env = {**env, "JPY_PARENT_PID": str(os.getpid())}
        folder = str(cwd or os.getcwd())
        kernel.begin({"arguments": command[first:], "env": own_env, "cwd": folder})

    provisioner.launch_kernel = first_from(kernel, begin, provisioner.launch_kernel)
    return pytest.main(arguments, plugins=[nbval.plugin])


ask = RunningKernel.get_message


def get_message(self, stream, timeout=None):
    """A message of the kernel.

    Raises Empty after `timeout`, and as soon as the kernel is dead: nbval would wait on.
    """
    if stream != "shell" or timeout is None:
        return ask(self, stream, timeout)
    deadline = time.monotonic() + timeout
    while True:
        try:
            return ask(self, stream, max(min(LOOK, deadline - time.monotonic()), 0))
        except Empty:
            if time.monotonic() >= deadline or not self.is_alive():
                raise


def main(arguments):
    """Lock this process in and run pytest.

    arguments: folder, file for the isolation in force, pytest's own.
    """
    RunningKernel.get_message = get_message
    folder, report, *options = arguments
    if sys.platform != "linux":
        return pytest.main(options, plugins=[nbval.plugin])
    return lock_in(folder, [*readable(), "/etc/hosts"], report, lambda: run_pytest(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
