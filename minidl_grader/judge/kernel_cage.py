"""How is the kernel of a submission locked in?  Between its keeper and pytest, before anything of it runs.

    keeper --fork--> own network,    --fork--> process 1: --fork--> another user,      --> pytest --> kernel --> ranks
                     own file tree             own /proc            no capabilities,       sees: interpreter, libraries,
                                               own /dev/shm         Landlock               minidl, a folder of 32 MB

When process 1 ends, the system's kernel kills every process inside. What a system lacks is left out, and said in the report.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
from pathlib import Path

from minidl_grader.judge import keeper
from minidl_grader.judge.cage import landlock, namespaces

FIRST_USER, USERS = 56000, 5000  # numbers that no account has, and no rank of a judge
NO_SUID, NO_DEVICES, NO_PROGRAMS, DETACH = 2, 4, 8, 2
libc = ctypes.CDLL(None, use_errno=True)


def raise_loopback():
    """Let the new network have an address of its own, 127.0.0.1: kernels are talked to over it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, 0x8913, request))[1]
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))


def separate(folder, readable):
    """Own network and file tree for what follows; returns phrases. What lies in `folder` is there afterwards, too."""
    inside = {path.name: path.read_bytes() for path in folder.iterdir()}
    words = namespaces.separate()
    if words[0].startswith("no "):
        return words
    raise_loopback()
    words += namespaces.change_root(str(folder), [*readable, "/proc", "/dev/shm"])
    for name, data in inside.items():
        (folder / name).write_bytes(data)
    return words


def own_mounts(words):
    """In process 1: /proc shows this world only, and /dev/shm is its own; neither is there where that cannot be had."""
    if any(word.startswith("no ") for word in words):
        return
    for kind, place, options in (
        (b"proc", b"/proc", None),
        (b"tmpfs", b"/dev/shm", b"size=64m,mode=1777"),
    ):
        if libc.mount(b"minidl", place, kind, NO_SUID | NO_DEVICES | NO_PROGRAMS, options):
            libc.umount2(place, DETACH)


def give_up_rights(folder, readable):
    """Become nobody in particular, for good; returns phrases."""
    words = []
    user = FIRST_USER + int.from_bytes(os.urandom(4), "big") % USERS
    if os.geteuid() == 0:
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            words.append("an unprivileged user")
        except OSError:
            words.append("no user of its own: this process may not change it")
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    abi = landlock.version()
    if not abi:
        return [*words, "no Landlock: the kernel has none"]
    rules = libc.syscall(
        landlock.CREATE, struct.pack("Q", landlock.rights(abi)), 8, 0
    )  # files only: its ports are its own
    for path in [*readable, "/proc"]:
        landlock.allow(rules, path, landlock.READ | landlock.READ_DIR | landlock.EXECUTE)
    for path in (str(folder), "/dev/shm", "/dev/null"):
        landlock.allow(rules, path, landlock.rights(abi) & ~landlock.EXECUTE)
    landlock.restrict(rules)
    return [*words, f"files by allow-list (Landlock {abi}), no capabilities"]


def wait_for(pid):
    """Wait until this child ends, taking orphans on the way; returns its exit code."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def lock_in(folder, readable, report, program):
    """Run `program()` locked in; returns its exit code.

    folder    where it may write;  readable: paths that it may read
    report    a file that does not exist yet, for phrases that say what is in force
    """
    report = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    words = separate(Path(folder), readable)

    def first_process():
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        own_mounts(words)
        return in_a_child(locked)

    def locked():
        phrases = words + give_up_rights(folder, readable)
        libc.prctl(
            4, 1, 0, 0, 0
        )  # PR_SET_DUMPABLE: its own /proc/self is its own again, as after exec
        os.write(report, json.dumps(phrases).encode())
        os.close(report)
        return program()

    return in_a_child(first_process)


def in_a_child(run):
    """Fork and call `run()` in the child; returns its exit code, 128 + n for signal n. Reaps orphans on the way."""
    child = os.fork()
    if child == 0:
        keeper.finish(run)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
