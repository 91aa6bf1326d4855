"""How does the grader run a program that it does not trust to end?

    with Limits: wall time, CPU time, memory, processes, file size, output in a folder of its own,
    in a session of its own, with an environment that holds nothing of the grader's

Each program has a keeper (keeper.py), which ends it and all that it has started: at a limit, when
the grader says so, and when the grader has died. Isolation beyond that is the cage's:
kernel_cage.py, cage/.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from typing import NamedTuple

from minidl_grader.judge import keeper
from minidl_grader.judge.warm import Warm

PROGRAMS = {
    "judge": "minidl_grader.judge.judge",
    "notebook": "minidl_grader.judge.caged_notebook",
}
PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "SYSTEMROOT",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "MINIDL_CENSUS",
)


@dataclass(frozen=True)
class Limits:
    """What a program may use: seconds, bytes, numbers.

    wall, cpu    seconds in all; CPU seconds of each process
    memory       address space of each process;  together: memory of all processes
    processes    at once;  file_size: bytes of a file;  files: open at once
    output       bytes of output that are kept
    """

    wall: float = 120
    cpu: int = 120
    memory: int = 8_000_000_000
    together: int = 6_000_000_000
    processes: int = 64
    file_size: int = 1_000_000_000
    files: int = 1024
    output: int = 200_000


class Ended(NamedTuple):
    """How a program ended.

    code     its exit code, negative for a signal
    why      the limit that it crossed, "" if it ended by itself
    seconds  on the clock;  cpu: of processor time, of all its processes
    output   the last of it;  left: processes that could not be killed
    """

    code: int
    why: str
    seconds: float
    output: str
    left: int = 0
    cpu: float = 0

    def words(self):
        """Why it was ended, as a sentence; "" if it was not."""
        return SENTENCES.get(self.why, f"It was ended: {self.why}." if self.why else "")


SENTENCES = {
    "time": "It was ended because it took too long.",
    "memory": "It was ended because it took too much memory.",
    "processes": "It was ended because it started too many processes.",
    "told to end": "Grading was interrupted.",
}


class Keepers:
    """The programs that run now. `stop()` ends them all, and none starts after it.

    A command is a program and its arguments, or a name in PROGRAMS and arguments. The latter fork
    from a process that has loaded the program's code already, where the system can do that; see
    warm.py.
    """

    def __init__(self):
        self._lock = threading.RLock()
        self._pipes = set()  # one to each keeper that runs: closing it ends the keeper
        self._warm = {}
        self._stopped = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def load(self, name):
        """Begin to load the code of a program in PROGRAMS, which takes seconds; returns at once."""
        with self._lock:
            known = name not in PROGRAMS or name in self._warm
            if sys.platform == "linux" and not known and not self._stopped:
                self._warm[name] = Warm(PROGRAMS[name], clean_environment)

    def run(self, command, folder, limits, env, remove=None):
        """Run a program to its end; returns Ended. No process that it started is left then.

        remove  a folder that the keeper removes if the grader dies
        """
        command = [str(word) for word in command]
        given = asdict(limits) | {"remove": str(remove or "")}
        reading, asking = os.pipe()
        answer, writing = os.pipe()
        with self._lock:
            if self._stopped:
                for descriptor in (reading, asking, answer, writing):
                    os.close(descriptor)
                return Ended(-1, "told to end", 0, "")
            self.load(command[0])
            started = self._start(command, folder, given, env, (reading, writing))
            self._pipes.add(asking)
        os.close(reading)
        os.close(writing)
        with open(answer, "rb") as file:
            ended = file.read()
        with self._lock:
            if asking in self._pipes:
                self._pipes.remove(asking)
                os.close(asking)
        if started is not None:
            started.wait()
        try:
            return Ended(**json.loads(ended))
        except (ValueError, TypeError):
            return Ended(-signal.SIGKILL, "its keeper was killed", 0, "")

    def stop(self):
        """End everything that runs."""
        with self._lock:
            self._stopped = True
            while self._pipes:
                os.close(self._pipes.pop())  # its keeper reads the end of the pipe
            for warm in self._warm.values():
                warm.close()
            self._warm.clear()

    def _start(self, command, folder, limits, env, pipes):
        """Start the keeper of a command.

        It reads and writes these pipes. Returns its Popen if it is a child of this process.
        """
        name, *arguments = command
        if name in self._warm:
            request = {"arguments": arguments, "limits": limits, "folder": str(folder), "env": env}
            try:
                self._warm[name].fork(request, pipes)
            except OSError:  # it was killed
                self._warm.pop(name).close()
                self.load(name)
                self._warm[name].fork(request, pipes)
            return None
        if name in PROGRAMS:
            command = [sys.executable, "-m", PROGRAMS[name], *arguments]
        return subprocess.Popen(
            [sys.executable, "-I", keeper.__file__, json.dumps(limits), *command],
            cwd=folder,
            env=env,
            stdin=pipes[0],
            stdout=pipes[1],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def clean_environment(folder):
    """The environment of a program whose home is `folder`: none of the grader's own words in it."""
    given = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    places = {
        name: str(folder)
        for name in (
            "HOME",
            "TMPDIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "IPYTHONDIR",
            "MPLCONFIGDIR",
            "XDG_CACHE_HOME",
        )
    }
    return (
        given
        | places
        | {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "MINIDL_OUTPUT": "sorted",
            "OMP_NUM_THREADS": "1",
            "USER": "learner",
            "LOGNAME": "learner",
        }
    )
