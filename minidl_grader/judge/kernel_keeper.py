"""Who ends a program that does not end by itself, with everything that it has started?

    grader --pipe--> keeper --starts--> the program --> its children --> orphans, which become the keeper's own
       |                |  time, processes, memory of all of them are looked at five times a second
    dies --end of pipe--'  then: nobody is left, and no folder, and one line of JSON says how it ended

Called as a file, with nothing but Python's own library, so that it starts in a few hundredths of a second. It holds
against programs that leave their process group. Where it is not Linux, orphans are found by their process group only.
"""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time

LOOK = 0.2  # seconds between two looks at the processes
KILLING = 10.0  # seconds of killing, before somebody is left who cannot be killed


def adopt_orphans():
    """From here on an orphan below this process becomes its child (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def below(ancestor):
    """{pid: bytes in memory} of all living processes that descend from this one, or that share its child's group."""
    parents, memory, page = {}, {}, os.sysconf("SC_PAGE_SIZE")
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] not in b"ZX":
                parents[int(name)], memory[int(name)] = int(fields[1]), int(fields[21]) * page
    found, grown = {ancestor}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found, grown = found | more, bool(more)
    return {pid: memory[pid] for pid in found - {ancestor}}


def limit(limits):
    """In the program, before it begins: the limits that the system keeps for each process."""
    import resource

    os.setsid()
    for name, value in (
        ("RLIMIT_CPU", limits["cpu"]),
        ("RLIMIT_AS", limits["memory"]),
        ("RLIMIT_FSIZE", limits["file_size"]),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NOFILE", limits["files"]),
    ):
        if hasattr(resource, name):
            hard = resource.getrlimit(getattr(resource, name))[1]
            value = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
            resource.setrlimit(getattr(resource, name), (value, value))


def crossed(limits, began, child):
    """Which limit of all processes together is crossed; "" if none is."""
    if time.monotonic() - began > limits["wall"]:
        return "time"
    everybody = below(os.getpid())
    if len(everybody) > limits["processes"]:
        return "processes"
    if sum(everybody.values()) <= limits["together"]:
        return ""
    return (
        "memory"
        if sum(proportional(pid, nbytes) for pid, nbytes in everybody.items()) > limits["together"]
        else ""
    )


def proportional(pid, nbytes):
    """Bytes of memory of a process, where pages that many forked processes share count once; `nbytes` where that is not told."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith(b"Pss:"))
    except (OSError, StopIteration, ValueError):
        return nbytes


def end_everybody(child):
    """Kill until nobody is left; returns how many could not be killed in time."""
    deadline = time.monotonic() + KILLING
    while time.monotonic() < deadline:
        for kill, pid in [(os.killpg, child.pid)] + [(os.kill, pid) for pid in below(os.getpid())]:
            try:
                kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return 0
        time.sleep(0.005)
    return len(below(os.getpid()))


def keep(limits, command):
    """Run the command; returns {code, why, seconds, output, left}."""
    adopt_orphans()
    began = time.monotonic()
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: limit(limits),
    )
    selector, tail, why = selectors.DefaultSelector(), bytearray(), ""
    selector.register(child.stdout, selectors.EVENT_READ)
    selector.register(0, selectors.EVENT_READ)
    looked = began
    while not why and child.returncode is None:
        for key, _ in selector.select(LOOK):
            data = os.read(key.fd, 65536)
            if key.fd == 0 or not data:
                why = "told to end" if key.fd == 0 else why
                selector.unregister(key.fileobj)
            tail += data if key.fd else b""
            del tail[: -limits["output"]]
        if time.monotonic() - looked > LOOK or not selector.get_map():
            looked, why = time.monotonic(), why or crossed(limits, began, child)
        if not why:
            reap(child)
    left = end_everybody(child)
    if why == "told to end" and limits["remove"]:  # nobody else may be there to do it
        shutil.rmtree(limits["remove"], ignore_errors=True)
    child.returncode = -9 if child.returncode is None else child.returncode
    os.set_blocking(child.stdout.fileno(), False)
    try:
        tail += os.read(child.stdout.fileno(), limits["output"])
    except BlockingIOError:
        tail += b""
    return {
        "code": child.returncode,
        "why": why,
        "seconds": round(time.monotonic() - began, 3),
        "output": tail[-limits["output"] :].decode("utf-8", "replace"),
        "left": left,
    }


def reap(child):
    """Take the exit code of the child, and those of orphans that have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    print(json.dumps(keep(json.loads(sys.argv[1]), sys.argv[2:])), flush=True)
