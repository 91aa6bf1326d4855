"""How is the kernel of a submission locked in, before anything of the submission runs?

    keeper --fork--> own network,    --fork--> process 1: --fork--> another user,    --> pytest,
                     own file tree             own /proc,           no capabilities,     kernel,
                                               own /dev/shm         Landlock             ranks

They see the interpreter, libraries, minidl and a folder of 32 MB.

When process 1 ends, the system's kernel kills every process inside. What a system lacks is left
out, and said in the report.
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
from minidl_grader.judge.cage import landlock, namespaces, rights

FIRST_USER, USERS = 56000, 5000  # numbers that no account has, and no rank of a judge
NO_SUID, NO_DEVICES, NO_PROGRAMS, DETACH = 2, 4, 8, 2
libc = ctypes.CDLL(None, use_errno=True)


def raise_loopback():
    """Give the new network an address, 127.0.0.1, over which pytest talks to the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        form = "16sh14x"  # struct ifreq: name, flags
        answer = fcntl.ioctl(any_socket, 0x8913, struct.pack(form, b"lo", 0))  # SIOCGIFFLAGS
        _, flags = struct.unpack(form, answer)
        up = struct.pack(form, b"lo", flags | 1)
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS


def _own_tree(folder, readable):
    """Own process numbers, network and file tree; returns phrases. `folder` keeps its files."""
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
    """In process 1: /proc shows this world only, and /dev/shm is its own.

    A place that cannot be replaced is removed.
    """
    if any(word.startswith("no ") for word in words):
        return
    for kind, place, options in (
        (b"proc", b"/proc", None),
        (b"tmpfs", b"/dev/shm", b"size=64m,mode=1777"),
    ):
        if libc.mount(b"minidl", place, kind, NO_SUID | NO_DEVICES | NO_PROGRAMS, options):
            libc.umount2(place, DETACH)


def give_up_rights(folder, readable):
    """Become an ordinary user without rights, for good; returns phrases."""
    words = []
    if os.geteuid() == 0:
        # Two kernels at once must not be the same user: they could signal each other.
        number = FIRST_USER + int.from_bytes(os.urandom(4), "big") % USERS
        words.append(rights.become(number))
    rights.drop_capabilities()
    abi = landlock.version()
    if not abi:
        return [*words, "no Landlock: the kernel has none"]
    # Files only. Its network is its own, so it may use all ports there.
    rules = libc.syscall(landlock.CREATE, struct.pack("Q", landlock.rights(abi)), 8, 0)
    for path in [*readable, "/proc"]:
        landlock.allow(rules, path, landlock.READ | landlock.READ_DIR | landlock.EXECUTE)
    for path in (str(folder), "/dev/shm", "/dev/null"):
        landlock.allow(rules, path, landlock.rights(abi) & ~landlock.EXECUTE)
    landlock.restrict_files(rules)
    os.close(rules)
    return [*words, f"files by allow-list (Landlock {abi}), no capabilities"]


def lock_in(folder, readable, report, program):
    """Run `program()` locked in; returns its exit code.

    folder    where it may write;  readable: paths that it may read
    report    a new file, for phrases that say what is in force
    """
    report = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    words = _own_tree(Path(folder), readable)

    def first_process():
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: ends with its parent
        own_mounts(words)
        return _in_a_child(locked)

    def locked():
        phrases = words + give_up_rights(folder, readable)
        rights.show_own_files()
        os.write(report, json.dumps(phrases).encode())
        os.close(report)
        return program()

    return _in_a_child(first_process)


def _in_a_child(run):
    """Fork and call `run()` in the child.

    Returns its exit code, 128 + n for signal n. Reaps orphans meanwhile.
    """
    child = os.fork()
    if child == 0:
        keeper.finish(run)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
