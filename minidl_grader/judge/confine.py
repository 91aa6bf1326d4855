"""How does the grader run a program that it does not trust to end?

    with Limits: wall time, CPU time, memory, processes, file size, output
    in a folder of its own, in a session of its own, with an environment that holds nothing of the grader's

Each program has a keeper (keeper.py), which ends it and all that it has started: in time, when the grader says so,
and when the grader has died. Isolation beyond that is sandbox.py's.
"""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

KEEPER = Path(__file__).with_name("kernel_keeper.py")
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
    processes    at once;  file_size: bytes of a file;  files: open at once;  output: bytes of output that are kept
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
    """How a program ended. why: the limit that it crossed, "" if it ended by itself; left: processes that could not be killed."""

    code: int
    why: str
    seconds: float
    output: str
    left: int = 0

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
    """The programs that run now. `stop()` ends them all, and none starts after it."""

    def __init__(self):
        self._running, self._stopped, self._lock = set(), False, threading.Lock()

    def run(self, command, folder, limits, env, remove=None):
        """Run a program to its end; returns Ended. Nobody whom it started is left then. remove: a folder that goes if the grader dies."""
        words = [
            sys.executable,
            "-I",
            str(KEEPER),
            json.dumps(asdict(limits) | {"remove": str(remove or "")}),
            *map(str, command),
        ]
        with self._lock:
            if self._stopped:
                return Ended(-1, "told to end", 0, "")
            keeper = subprocess.Popen(
                words,
                cwd=folder,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._running.add(keeper)
        try:
            told = keeper.stdout.read()
        finally:
            with self._lock:
                self._running.discard(keeper)
            keeper.stdin.close()
            keeper.stdout.close()
            code = keeper.wait()
        try:
            return Ended(**json.loads(told))
        except (ValueError, TypeError):
            return Ended(code, "its keeper was killed", 0, "")

    def stop(self):
        """End everything that runs."""
        with self._lock:
            self._stopped = True
            for keeper in self._running:
                keeper.stdin.close()  # the keeper reads the end of the pipe


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
