"""Who ends a program that does not end by itself, with everything that it has started?

    grader --pipe--> keeper --fork--> the program --> its children --> orphans, which it adopts
       |                |  looks at time, processes and memory of all of them, five times a second
    dies --end of pipe--'  then: kill all of them, remove the folder; say how it ended, in JSON

Needs nothing but Python's own library, so as a file of its own it starts in a few hundredths of a
second. It also finds programs that leave their process group, except where the system is not Linux.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import sys
import time

LOOK = 0.2  # seconds between two looks at the processes
KILLING = (
    10.0  # seconds after which a process that is still there counts as one that cannot be killed
)


class Program:
    """A forked child that runs `main()`, with its output in a pipe.

    code: its exit code, None while it runs.
    """

    def __init__(self, main, limits):
        self.output, writing = os.pipe()
        self.code = None
        self.pid = os.fork()
        if self.pid == 0:
            finish(lambda: _run(main, limits, writing))
        os.close(writing)

    def reap(self):
        """Take its exit code, and those of orphans, if they have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.code = os.waitstatus_to_exitcode(status)


def _run(main, limits, writing):
    """In the child: no input, output into the pipe, the system's limits; then `main`."""
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, source in enumerate((null, writing, writing)):
        os.dup2(source, descriptor)
    os.closerange(3, 1 << 16)  # nothing that the grader or the keeper has open is open in it
    os.setsid()
    _limit(limits)
    return main()


def finish(main):
    """Call `main()` and end this forked process with the exit code that it returns.

    Never comes back to its parent's code.
    """
    code = 1
    try:
        code = main() or 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _limit(limits):
    """The limits that the system keeps for each process."""
    import resource  # Windows has none, and imports this file

    for name, value in (
        ("RLIMIT_CPU", limits["cpu"]),
        ("RLIMIT_AS", limits["memory"]),
        ("RLIMIT_FSIZE", limits["file_size"]),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NOFILE", limits["files"]),
    ):
        if hasattr(resource, name):
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            value = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
            resource.setrlimit(kind, (value, value))


def keep(limits, main):
    """Run `main()` in a child to its end; returns {code, why, seconds, cpu, output, left}."""
    _adopt_orphans()
    began = time.monotonic()
    cpu = sum(os.times()[:4])  # of this process and its children that have ended
    program = Program(main, limits)
    tail, why = bytearray(), ""
    with selectors.DefaultSelector() as selector:
        selector.register(program.output, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)  # the grader's pipe: readable when it ends
        looked = began
        while not why and program.code is None:
            for key, _ in selector.select(LOOK):
                data = os.read(key.fd, 65536)
                if key.fd == 0:
                    why = "told to end"
                if key.fd == 0 or not data:
                    selector.unregister(key.fd)
                else:
                    tail += data
                    del tail[: -limits["output"]]
            if time.monotonic() - looked > LOOK or not selector.get_map():
                looked = time.monotonic()
                why = why or _crossed(limits, began)
            if not why:
                program.reap()
    left = _end_all(program)
    if why == "told to end" and limits["remove"]:  # the grader may be dead and cannot do it
        shutil.rmtree(limits["remove"], ignore_errors=True)
    os.set_blocking(program.output, False)
    with contextlib.suppress(BlockingIOError):
        tail += os.read(program.output, limits["output"])
    return {
        "code": -signal.SIGKILL if program.code is None else program.code,
        "why": why,
        "seconds": round(time.monotonic() - began, 3),
        "cpu": round(sum(os.times()[:4]) - cpu, 3),
        "output": tail[-limits["output"] :].decode("utf-8", "replace"),
        "left": left,
    }


def _adopt_orphans():
    """From here on an orphan below this process becomes its child (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _crossed(limits, began):
    """Which limit of all processes together is crossed; "" if none is."""
    if time.monotonic() - began > limits["wall"]:
        return "time"
    memory = _below(os.getpid())
    if len(memory) > limits["processes"]:
        return "processes"
    if sum(memory.values()) > limits["together"]:
        # Forked processes share most of their pages. To count those once costs more, so it is done
        # only now.
        shared = sum(_proportional(pid, nbytes) for pid, nbytes in memory.items())
        if shared > limits["together"]:
            return "memory"
    return ""


def _below(ancestor):
    """{pid: bytes in memory} of all living processes that descend from this one."""
    parents, memory = {}, {}
    page = os.sysconf("SC_PAGE_SIZE")
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] not in b"ZX":
                parents[int(name)] = int(fields[1])
                memory[int(name)] = int(fields[21]) * page
    found, more = {ancestor}, {ancestor}
    while more:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
    return {pid: memory[pid] for pid in found - {ancestor}}


def _proportional(pid, nbytes):
    """Bytes of a process, where pages that N processes share count 1/N.

    `nbytes` if the system does not say.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith(b"Pss:"))
    except (OSError, StopIteration, ValueError):
        return nbytes


def _end_all(program):
    """Kill until no process is left; returns how many could not be killed in time."""
    deadline = time.monotonic() + KILLING
    while time.monotonic() < deadline:
        for kill, pid in [
            (os.killpg, program.pid),
            *((os.kill, pid) for pid in _below(os.getpid())),
        ]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return 0
        time.sleep(0.005)
    return len(_below(os.getpid()))


def report(limits, main):
    """Keep `main()`, and print one line of JSON that says how it ended."""
    print(json.dumps(keep(limits, main)), flush=True)


if __name__ == "__main__":
    given, *command = sys.argv[1:]
    report(json.loads(given), lambda: os.execvp(command[0], command))
