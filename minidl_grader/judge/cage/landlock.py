"""Which files may a rank open? Landlock is an allow-list of Linux that a process cannot widen.

    read   /usr  the interpreter  site-packages  minidl/       write   its own folder, /dev/null
    not there: the master, the solutions, other submissions, the home folder, /proc

Needs no rights (Linux 5.13; connections since 6.7, signals since 6.12). Source: the kernel's
documentation, userspace-api/landlock.
"""

import ctypes
import os
import stat
import struct

CREATE, ADD, RESTRICT = 444, 445, 446  # system calls, the same on every processor
EXECUTE, WRITE, READ, READ_DIR, TRUNCATE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14
FILE = (
    EXECUTE | WRITE | READ | TRUNCATE | 1 << 15
)  # what can be allowed of a file that is no folder
TCP = 0b11  # bind and connect
SCOPES = 0b11  # abstract sockets, and signals, of others
libc = ctypes.CDLL(None, use_errno=True)


def version():
    """The kernel's Landlock version; 0 where there is none."""
    return max(0, libc.syscall(CREATE, None, 0, 1))


def rights(abi):
    """Every right to files that this version can take away."""
    count = 13  # bits; versions 2, 3 and 5 have brought one more each
    for version_with_more in (2, 3, 5):
        count += abi >= version_with_more
    return (1 << count) - 1


def ruleset(readable, writable):
    """An open rule set that allows these paths and nothing else.

    None where the system has no Landlock.
    """
    abi = version()
    if not abi:
        return None
    handled = rights(abi)
    # A kernel knows as many of these fields as its version has.
    fields = [handled]
    if abi >= 4:
        fields.append(TCP)
    if abi >= 6:
        fields.append(SCOPES)
    attributes = struct.pack("Q" * len(fields), *fields)
    rules = libc.syscall(CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return None
    for path in readable:
        allow(rules, path, (READ | READ_DIR | EXECUTE) & handled)
    for path in writable:
        allow(rules, path, handled & ~EXECUTE)
    return rules


def allow(rules, path, access):
    """Allow `access` to this path and all below it; a path that does not exist is left out."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= FILE
        if libc.syscall(ADD, rules, 1, struct.pack("=Qi", access, descriptor), 0):
            raise OSError(ctypes.get_errno(), f"Landlock does not take a rule for {path}")
    finally:
        os.close(descriptor)


def restrict_files(rules):
    """From here on this process and its children are bound by the rule set. Needs no_new_privs."""
    if libc.syscall(RESTRICT, rules, 0):
        raise OSError(ctypes.get_errno(), "Landlock refused")
