"""Who is still there? Finds the processes, folders and ports of minidl that a test may have left
behind.

    pytest (MINIDL_CENSUS=token) -> kernel, script, ... -> zygote -> ranks -> DataLoader workers

All that descends from a test inherits a token in its environment, also when its parent is dead
and init
has adopted it. Other people's minidl on the same machine has another token, or none.
"""

import os
import sys
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from tests.deadlines import generous

TOKEN = "MINIDL_CENSUS"
OURS = (
    "minidl.runtime",
    "minidl_grader",
    "minidl_grader",
    "multiprocessing.spawn",
    "multiprocessing.resource_tracker",
)  # in a command line


class Process(NamedTuple):
    """A process that minidl started."""

    pid: int
    parent: int
    command: str

    def __str__(self):
        return f"process {self.pid}, child of {self.parent}: {self.command}"


def new_token():
    """A value for the environment variable TOKEN that nobody else has."""
    return uuid.uuid4().hex


def processes(token):
    """Zygotes, ranks and their workers that descend from where this token was set. Zombies do not
    count.
    """
    return [p for p in everybody(token) if any(word in p.command for word in OURS)]


def everybody(token):
    """Every Python process that inherited this token, this one too if it set it before it started."""
    if sys.platform != "linux":
        yield from _everybody_psutil(token)
        return
    wanted = f"{TOKEN}={token}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path("/proc", pid, "cmdline").read_bytes()
            if b"python" not in command:  # a cheap question first
                continue
            if wanted not in Path("/proc", pid, "environ").read_bytes():
                continue
            state, parent = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended, or is somebody else's
            continue
        if state not in "ZX":
            yield Process(
                int(pid), int(parent), command.replace(b"\0", b" ").decode(errors="replace").strip()
            )


def _everybody_psutil(token):
    import psutil

    for process in psutil.process_iter():
        try:
            if process.environ().get(TOKEN) == token and process.status() != psutil.STATUS_ZOMBIE:
                yield Process(process.pid, process.ppid(), " ".join(process.cmdline()))
        except psutil.Error:
            continue


def folders(where):
    """minidl's temporary folders below `where`, and the folders of worlds in them."""
    return sorted(
        str(path)
        for pattern in ("minidl-*", "minidl-*/world-*")
        for path in Path(where).glob(pattern)
    )


def ports(pids):
    """(address, port) of every TCP socket on which these processes listen."""
    import psutil

    return {
        (c.laddr.ip, c.laddr.port)
        for pid in pids
        for c in psutil.Process(pid).net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    }


def still_open(addresses):
    """Those of these (address, port) pairs on which anybody listens."""
    import psutil

    open_now = {
        (c.laddr.ip, c.laddr.port)
        for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    }
    return open_now & set(addresses)


def scene():
    """What must change before there can be other strays: pids, and the worlds of this process.

    None where the system does not list its processes in /proc. It costs a hundredth of a look.
    """
    if sys.platform != "linux":
        return None
    world = sys.modules.get("minidl.runtime.world")
    worlds = {id(one) for one in list(world.World._open)} if world else set()
    return {name for name in os.listdir("/proc") if name.isdigit()}, worlds


def strays(token):
    """What should not be there, in words: orphans, ranks of closed worlds, and their folders."""
    launch = sys.modules.get("minidl.runtime.processes.launch")
    world = sys.modules.get("minidl.runtime.world")
    found = processes(token)
    pids = {p.pid for p in found}
    descent = None
    left = []
    for process in found:
        if process.parent not in pids and process.parent != os.getpid():
            descent = descent or {p.pid for p in everybody(token)}
            if process.parent not in descent:
                left.append(f"orphan: {process}")
    if launch is None or world is None:
        return left
    launchers = [
        one for one in launch._launchers.values() if one.owner == os.getpid() and one.alive()
    ]
    worlds = [one for one in list(world.World._open) if one._owner == os.getpid()]
    ranks = {rank.pid for one in worlds for rank in one._ranks.values()}
    for zygote in {one.process.pid for one in launchers if hasattr(one, "process")}:
        left += [
            f"rank of no open world: {p}"
            for p in found
            if p.parent == zygote and p.pid not in ranks
        ]
    known = {one.folder for one in launchers} | {one._folder for one in worlds}
    left += [
        f"folder of a closed world: {path}"
        for one in launchers
        for path in folders(Path(one.folder).parent)
        if path.startswith(one.folder) and path not in known
    ]
    return left


def eventually_empty(look, seconds):
    """Call `look` until it finds nothing; return what it found last. An idle machine needs
    `seconds` at most.
    """
    deadline = time.monotonic() + generous(seconds)
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def eventually(condition, seconds, what):
    """Poll until `condition()` is true and return its value; fail in words if that does not happen
    in time.

    An idle machine needs `seconds` at most.
    """
    deadline = time.monotonic() + generous(seconds)
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {generous(seconds)} s: {what}"
        time.sleep(0.01)
    return value


def gone(token, seconds=3, where=None, addresses=()):
    """Assert that soon nothing of this token is left: no process, no folder below `where`, no open
    port.
    """

    def look():
        return [
            *map(str, processes(token)),
            *(folders(where) if where else ()),
            *map(str, still_open(addresses) if addresses else ()),
        ]

    left = eventually_empty(look, seconds)
    assert not left, "left behind:\n" + "\n".join(left)
