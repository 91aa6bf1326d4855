"""A world of its own for a cage: process numbers, network, files.

    outside   the judge, the master, other submissions
    inside    process 1 is the keeper; no network; a file tree of interpreter and libraries only

When process 1 ends, the system kills every process inside. Works for root, and for other users if
the system lets them make user namespaces. If it does not, a phrase says what is missing.
"""

import ctypes
import os
import sys

NEW_FILES = 0x20000  # flags of unshare
NEW_IPC = 0x08000000
NEW_USER = 0x10000000
NEW_PIDS = 0x20000000
NEW_NET = 0x40000000
READ_ONLY, NO_SUID, NO_DEVICES, REMOUNT = 1, 2, 4, 32  # flags of mount
BIND, RECURSIVE, PRIVATE = 1 << 12, 1 << 14, 1 << 18
KEPT = {  # flags of statvfs: of mount. A remount must not drop what a mount outside has.
    "ST_RDONLY": 1,
    "ST_NOSUID": 2,
    "ST_NODEV": 4,
    "ST_NOEXEC": 8,
    "ST_NOATIME": 1 << 10,
    "ST_NODIRATIME": 1 << 11,
    "ST_RELATIME": 1 << 21,
}
DETACH = 2
ROOM = "size=32m,nr_inodes=2000,mode=1777"  # of the own folder, which lives in memory
libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    """Raise OSError if a call into libc failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def separate():
    """Enter new namespaces for processes (from the next child on), network and System V memory.

    Returns phrases.
    """
    if sys.platform != "linux":
        return ["no namespaces: this system has none"]
    flags = NEW_PIDS | NEW_NET | NEW_IPC
    user, group = os.geteuid(), os.getegid()
    words = ["process numbers, network and shared memory of their own (namespaces)"]
    if user == 0 and libc.unshare(flags) == 0:
        return words
    if libc.unshare(flags | NEW_USER):
        return [f"no namespaces: {os.strerror(ctypes.get_errno())}"]
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    return [*words, "users of their own (namespace)"]


def change_root(folder, readable):
    """Enter a file tree of `readable`, read-only, and `folder`, empty, in memory; returns phrases.

    The tree is built on `folder` itself, so nothing of it remains outside.
    """
    try:
        checked(libc.unshare(NEW_FILES))
        checked(libc.mount(None, b"/", None, RECURSIVE | PRIVATE, None))
        checked(libc.mount(b"minidl", folder.encode(), b"tmpfs", NO_SUID, b"size=1m,mode=755"))
        for path in readable:
            _show(path, folder + path)
        own = folder + folder
        os.makedirs(own, exist_ok=True)
        checked(libc.mount(b"minidl", own.encode(), b"tmpfs", NO_SUID | NO_DEVICES, ROOM.encode()))
        checked(libc.mount(None, folder.encode(), None, REMOUNT | BIND | READ_ONLY | NO_SUID, None))
        os.chdir(folder)
        checked(
            libc.syscall({"x86_64": 155, "aarch64": 41}[os.uname().machine], b".", b".")
        )  # pivot_root onto itself
        checked(libc.umount2(b".", DETACH))
        os.chdir(folder)
    except (OSError, AttributeError, KeyError) as error:
        return [f"no file tree of their own: {error}"]
    return [
        "a file tree with the interpreter and libraries only, read-only, "
        "and a folder of 32 MB in memory (mount namespace)"
    ]


def _show(path, at):
    """Bind `path` to `at`, read-only; what is a symbolic link outside is one inside."""
    if os.path.islink(path):
        os.makedirs(os.path.dirname(at), exist_ok=True)
        if not os.path.lexists(at):
            os.symlink(os.readlink(path), at)
        return
    if not os.path.exists(path):
        return
    if os.path.isdir(path):
        os.makedirs(at, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(at), exist_ok=True)
        open(at, "ab").close()
    checked(libc.mount(path.encode(), at.encode(), None, BIND | RECURSIVE, None))
    if not path.startswith("/dev/"):
        flags = os.statvfs(at).f_flag
        kept = sum(flag for name, flag in KEPT.items() if flags & getattr(os, name, 0))
        checked(libc.mount(None, at.encode(), None, REMOUNT | BIND | READ_ONLY | kept, None))
