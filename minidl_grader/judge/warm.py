"""How is a submission graded without loading torch?  Everything forks from two warm processes.

    grader --socket--> warm --fork--> keeper --fork--> judge --fork--> keeper of its cage --> ranks
       '-----socket--> warm --fork--> keeper --fork--> the notebook's cage --> pytest, kernel, ranks

A warm process loads code and reads requests, nothing else: no submission, no solution, no result.
So what forks from it can find nothing of others in its memory. It does not compute and starts no
thread: a fork copies the locks of threads, but not the threads that would release them. It ends
with its socket. It closes the keepers' pipes at once, so a keeper still notices when the grader
dies.
"""

import gc
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from minidl_grader.judge import keeper

ROOT = Path(__file__).resolve().parent.parent.parent  # the folder that holds both packages
MOST = 1 << 17  # bytes of a request


class Warm:
    """A warm process, seen from the grader.

    Needs fork, and sockets that carry descriptors: Linux.
    """

    def __init__(self, module, environment):
        """Start the process; what it loads is `module`, whose main() is the program.

        environment: a function of a folder, see confine.py.
        """
        self.folder = tempfile.mkdtemp(prefix="minidl-warm-")
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "minidl_grader.judge.warm",
                    str(theirs.fileno()),
                    self.folder,
                    module,
                ],
                cwd=ROOT,
                env=environment(self.folder),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the grader alone
            )

    def fork(self, request, pipes):
        """Let a keeper fork that keeps a program. Raises OSError if the warm process is gone.

        request  {"arguments": [...], "limits": {...}, "folder": ..., "env": {...}}
        pipes    descriptors that the keeper reads and writes
        """
        socket.send_fds(self.control, [json.dumps(request).encode()], pipes)

    def close(self):
        """End the warm process; what has forked from it stays."""
        self.control.close()
        self.process.kill()  # it would only notice once it has loaded everything
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def serve(control, program):
    """Fork a keeper for each request until the grader is gone.

    program: main(arguments) -> exit code.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system takes the keepers' exit codes
    gc.freeze()  # forked processes share these pages as long as the collector does not touch them
    while True:
        data, pipes, _, _ = socket.recv_fds(control, MOST, 2)
        if not data:
            return
        if os.fork() == 0:
            try:
                control.close()
                _be_keeper(json.loads(data), pipes, program)
            finally:
                os._exit(0)
        for pipe in pipes:
            os.close(pipe)


def _be_keeper(request, pipes, program):
    """In a child: become what a new Python in this folder would be, and keep the program."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor, pipe in enumerate(pipes):
        os.dup2(pipe, descriptor)
        os.close(pipe)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[0] = request["folder"]
    tempfile.tempdir = None  # looked up again in the new environment
    keeper.report(request["limits"], lambda: program(request["arguments"]))


def main(descriptor, folder, module):
    """Load the program's module, then serve.

    descriptor: of the socket to the grader; folder: goes in the end.
    """
    import torch

    torch.set_num_threads(1)
    program = importlib.import_module(module).main
    serve(socket.socket(fileno=int(descriptor)), program)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
