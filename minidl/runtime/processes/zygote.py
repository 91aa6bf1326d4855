"""The process from which ranks fork: torch is loaded once, a rank starts in milliseconds.

    kernel --socket--> zygote --fork--> rank 0, rank 1, ...       each rank has a pipe of its own to the kernel
                       |
                       when the socket closes: kill all ranks and what they started, remove the folder, exit

It has one thread and no learner's code, so forking is safe, and it outlives a killed kernel by
exactly the time it takes to clean up. Started by launch.py as `python -m minidl.runtime.processes.zygote`.
"""

import os
import pickle
import selectors
import shutil
import signal
import socket
import sys
from multiprocessing.connection import Connection


def serve(control, folder):
    """Fork ranks as the kernel asks, tell it who ended and how; return when the kernel is gone."""
    conn, children = Connection(control.detach()), {}
    wake_read, wake_write = os.pipe()
    for end in (wake_read, wake_write):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    conn.send(("ready", os.getpid()))
    with selectors.DefaultSelector() as selector:
        selector.register(conn.fileno(), selectors.EVENT_READ, "request")
        selector.register(wake_read, selectors.EVENT_READ, "child")
        try:
            while True:
                for key, _ in selector.select():
                    if key.data == "child":
                        os.read(wake_read, 4096)
                        _reap(conn, children)
                    else:
                        _answer(conn, children, wake_write)
        except (EOFError, OSError):
            pass
    for pid in children:
        _kill(pid)
    for pid in children:
        os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)


def _answer(conn, children, wake_write):
    with socket.socket(fileno=os.dup(conn.fileno())) as control:
        data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if not data:
        raise EOFError
    request, args = pickle.loads(conn.recv_bytes())
    if request == "kill":
        if args in children:
            _kill(args)
        return
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        conn.close()
        _become_rank(descriptors[0], args)
    os.close(descriptors[0])
    children[pid] = True
    conn.send(("forked", pid))


def _become_rank(descriptor, args):
    from minidl.runtime.processes import worker

    status = 1
    try:
        os.setpgid(0, 0)
        worker.die_with_parent()
        worker.main(Connection(descriptor), *args)
        status = 0
    finally:
        os._exit(status)


def _reap(conn, children):
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            del children[pid]
            _kill_group(pid)  # what the rank started, such as DataLoader workers
            conn.send(("ended", pid, os.waitstatus_to_exitcode(status)))


def _kill_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _kill(pid):
    _kill_group(pid)
    os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own


def main():
    """Load what ranks need, then serve. Arguments: the control socket's descriptor, the folder."""
    control, folder = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    import minidl.runtime.processes.worker  # noqa: F401  the point of this process: torch is loaded before the first fork

    serve(control, folder)


if __name__ == "__main__":
    main()
