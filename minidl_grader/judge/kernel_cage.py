"""How is the kernel of a submission locked in?  Between its keeper and pytest, before anything of it runs.

    keeper --> this file --fork--> process 1 --fork--> another user, no capabilities, Landlock --exec--> pytest --> kernel --> ranks
               own network,        own /proc                                                        sees: interpreter, libraries,
               own file tree       own /dev/shm                                                     minidl, its own folder of 32 MB

Called as a file, with nothing but Python's library and two files of cage/, so that it costs no time. When process 1
ends, the kernel of the system kills everybody inside. What a system lacks is left out, and told in the report.
"""

import ctypes
import fcntl
import importlib.util
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path

FIRST_USER, USERS = 56000, 5000  # numbers that no account has, and no rank of a judge
NO_SUID, NO_DEVICES, NO_PROGRAMS, DETACH = 2, 4, 8, 2
libc = ctypes.CDLL(None, use_errno=True)


def part(name):
    """A module of cage/, without minidl, whose import would cost a second."""
    spec = importlib.util.spec_from_file_location(
        name, Path(__file__).parent / "cage" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def raise_loopback():
    """Let the new network have an address of its own, 127.0.0.1: kernels are talked to over it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, 0x8913, request))[1]
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))


def separate(folder, readable):
    """Own network and file tree for what follows; returns phrases. What lies in `folder` is there afterwards, too."""
    namespaces = part("namespaces")
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
    words, landlock = [], part("landlock")
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
    rules = landlock.libc.syscall(
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
            return os.waitstatus_to_exitcode(status)


def first_process(folder, readable, words, report, command):
    """Process 1 of the new world: runs the command as somebody else and ends with it."""
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    own_mounts(words)
    child = os.fork()
    if child:
        os.close(report)
        return wait_for(child)
    words += give_up_rights(folder, readable)
    os.write(report, json.dumps(words).encode())
    os.close(report)
    os.execv(command[0], command)


def main(given, command):
    """given: JSON with folder, readable and report. Returns the command's exit code."""
    folder, readable = Path(given["folder"]), given["readable"]
    report = os.open(given["report"], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    words = separate(folder, readable)
    child = os.fork()
    if child:
        os.close(report)
        code = wait_for(child)
        return code if code >= 0 else 128 - code
    code = 1
    try:
        code = first_process(folder, readable, words, report, command)
    finally:
        os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
