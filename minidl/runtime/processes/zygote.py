"""The process from which ranks fork: torch is loaded once, a rank starts in milliseconds.

    kernel --socket--> zygote --fork--> rank 0, rank 1, ...   each rank has a pipe to the kernel
                       |
                       when the socket closes: kill all ranks and what they started, remove
                       the folder, exit

It has one thread and runs no learner's code, so forking is safe, and it outlives a killed kernel
only by the time that cleaning up takes. launch.py starts it, as
`python -m minidl.runtime.processes.zygote`, and asks it to load what ranks need besides torch.
"""

import importlib
import os
import selectors
import shutil
import signal
import socket
import sys
from multiprocessing.connection import Connection

from minidl.runtime.processes import worker  # loads torch, before the first fork


def fork_ranks(control, folder):
    """Fork ranks at the kernel's request and report how each ended; return when the kernel ends."""
    conn = Connection(control.detach())
    children = set()  # pids of the ranks that run
    # SIGCHLD writes a byte into this pipe, so that one select waits for requests and for ends.
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    conn.send(("ready", os.getpid()))
    with selectors.DefaultSelector() as selector:
        selector.register(conn.fileno(), selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        try:
            while True:
                for key, _ in selector.select():
                    if key.fd == wake_read:
                        os.read(wake_read, 4096)
                        _reap(conn, children)
                    else:
                        _answer(conn, children)
        except (EOFError, OSError):
            pass  # the kernel has closed the socket, or has ended
    for pid in children:
        _kill(pid)
    for pid in children:
        os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)


def _answer(conn, children):
    """Read one request: fork a rank, kill one, or load a module that the next ones will need."""
    request, args = conn.recv()
    if request == "load":
        importlib.import_module(args)
        return
    if request == "kill":
        if args in children:
            _kill(args)
        return
    # The rank's end of its pipe follows, with one byte that carries it.
    with socket.socket(fileno=os.dup(conn.fileno())) as control:
        _, [descriptor], _, _ = socket.recv_fds(control, 1, 1)
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        conn.close()
        _become_rank(descriptor, args)
    os.close(descriptor)
    children.add(pid)
    conn.send(("forked", pid))


def _become_rank(descriptor, args):
    status = 1
    try:
        os.setpgid(0, 0)
        worker.die_with_parent()
        worker.main(Connection(descriptor), *args)
        status = 0
    finally:
        os._exit(status)  # never return into the zygote's loop


def _reap(conn, children):
    """Report the ranks that have ended."""
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.remove(pid)
            _kill_group(pid)  # what the rank started, such as DataLoader workers
            conn.send(("ended", pid, os.waitstatus_to_exitcode(status)))


def _kill_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _kill(pid):
    _kill_group(pid)
    os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number still belongs to it


if __name__ == "__main__":
    fork_ranks(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
