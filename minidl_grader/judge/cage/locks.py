"""What locks a rank in: what every system offers, and what Linux adds; and which is in force.

    keeper  --fork-->  rank: own process group, no open files, limits, another user,
                             no capabilities, Landlock, seccomp
                       ... and only then the learner's code

Each layer guards against the failure of another. A layer that a system lacks is left out, and the
phrases say so. What this does not hold against stands in docs/grading.md.
"""

import os
import signal
import site
import sys
import sysconfig
from dataclasses import dataclass

from minidl.runtime.processes.worker import die_with_parent
from minidl.runtime.words.calling import GRADER, PACKAGE
from minidl_grader.judge.cage import landlock, rights, seccomp

DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/localtime")
FIRST_USER, USERS = 61184, 4336  # numbers that no account has


@dataclass(frozen=True)
class RankLimits:
    """What one rank may use. Bytes, seconds, numbers of things."""

    memory: int = 768 << 20  # beyond what torch takes by itself
    cpu_seconds: int = 60
    file_bytes: int = 16 << 20
    open_files: int = 64


def readable():
    """The paths that ranks may read: interpreter, libraries, this package.

    Each is the shortest that is needed.
    """
    paths = [
        *SYSTEM,
        *DEVICES,
        sys.prefix,
        sys.base_prefix,
        os.path.realpath(sys.prefix),
        os.path.realpath(sys.base_prefix),
        PACKAGE.rstrip(os.sep),
        GRADER.rstrip(os.sep),
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    ]
    if site.ENABLE_USER_SITE:
        paths.append(site.getusersitepackages())
    kept = []  # a path below another that is kept adds nothing
    for path in sorted(dict.fromkeys(map(os.path.normpath, paths)), key=len):
        if path != "/" and not any(path.startswith(shorter + os.sep) for shorter in kept):
            kept.append(path)
    return kept


def everybody_may_enter(paths):
    """May any user walk down to these paths?"""
    for path in filter(os.path.exists, paths):
        while path != "/":
            path = os.path.dirname(path)
            if not os.stat(path).st_mode & 1:
                return False
    return True


def environment(folder):
    """The environment of ranks: what the interpreter needs, and this project's own settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "LANG", "LC_ALL", "SYSTEMROOT") or name.startswith("MINIDL_")
    }
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "HOME": folder, "TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}


def lock(folder, limits, own_size, rules, keep, user):
    """Lock this process in, for good. Returns phrases that say what is in force.

    own_size  bytes that the process takes before it does anything
    keep      the descriptors that stay open
    rules     an open Landlock rule set or None;  user: a number for a user of its own, or None
    """
    os.setpgid(0, 0)  # so that the keeper can kill what the rank has started
    die_with_parent()
    _close_all_but(keep)
    os.chdir(folder)
    words = [_limit(limits, own_size)]
    if user is not None:
        words.append(rights.become(user))
    elif os.geteuid() == 0:
        words.append("no user of its own: the interpreter lies in a folder of root's")
    if sys.platform != "linux":
        return [*words, "no system calls denied: this system cannot"]
    rights.drop_capabilities()
    rights.hide_from_others()
    words.append("no capabilities, no new privileges")
    if rules is None:
        words.append("no Landlock: the kernel has none")
    else:
        landlock.restrict_files(rules)
        os.close(rules)
        words.append(f"files by allow-list (Landlock {landlock.version()})")
    # The filter is last: it denies calls that the locks before it need.
    if seccomp.restrict_calls():
        words.append("no new processes, programs, sockets, or signals to others (seccomp)")
    else:
        _bound_processes(0)
        words.append("no seccomp: processes bounded by a limit")
    return words


def address_space():
    """Bytes of address space that this process takes.

    Ranks that fork from it begin with the same.
    """
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _close_all_but(keep):
    """Close what the keeper has open, such as its socket to the judge, which could forge deaths."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    before = 2
    for descriptor in [*sorted(keep), 1 << 16]:
        os.closerange(before + 1, descriptor)
        before = descriptor


def _limit(limits, own_size):
    """Set the limits that the system keeps for a process: a rank must not starve the machine."""
    import resource  # Windows has none, and imports this file

    def bound(name, value):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))

    bound("CORE", 0)  # a crash must not fill the folder
    bound("FSIZE", limits.file_bytes)
    bound("NOFILE", limits.open_files)
    bound("CPU", limits.cpu_seconds)
    memory = ""
    if sys.platform == "linux":
        bound("AS", own_size + limits.memory)
        memory = f", {limits.memory >> 20} MB of memory"
    else:
        _bound_processes(1)
    return (
        f"a process group of its own; limits: {limits.cpu_seconds} s of CPU{memory}, "
        f"files of {limits.file_bytes >> 20} MB, {limits.open_files} open files"
    )


def _bound_processes(number):
    import resource

    resource.setrlimit(resource.RLIMIT_NPROC, (number, number))


def own_user():
    """A user number for the ranks of this process.

    Two judges at once have different ones, nearly always.
    """
    return FIRST_USER + os.getpid() % USERS


def kill(pid):
    """Kill a child that has not been waited for, and its process group."""
    kill_group(pid)
    os.kill(pid, signal.SIGKILL)


def kill_group(pid):
    """Kill what is left of a process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
