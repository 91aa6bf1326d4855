"""Which system calls may a rank make? The system asks a filter that a process cannot take off.

    number of the call --> a short program --> go on | "not permitted" | "there is no such call"

Denied: new processes, other programs, sockets, signals to other processes, looking into them,
mounts and namespaces, keys, memory that no limit counts. Threads are allowed. Linux on x86-64 and
64-bit ARM.
"""

import ctypes
import errno
import os
import platform
import struct

#           name               x86-64  arm64
DENIED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "rt_tgsigqueueinfo": (297, 240),
    "rt_sigqueueinfo": (129, 138),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    "memfd_create": (319, 279),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "open_by_handle_at": (304, 265),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "personality": (135, 92),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
CLONE, CLONE3, KILL, TGKILL, PRLIMIT = (56, 220), (435, 435), (62, 129), (234, 131), (302, 261)
THREAD = 0x10000  # CLONE_THREAD
MACHINES = {
    "x86_64": (0, 0xC000003E),
    "aarch64": (1, 0xC00000B7),
}  # column above, what the kernel calls it
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # instructions of BPF
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in what the filter sees
ALLOW, DENY, MISSING, DIE = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x80000000


def filter_for(pid, machine=None):
    """The filter's program for the process `pid`; None for a processor that is not known."""
    column, architecture = MACHINES.get(machine or platform.machine(), (None, None))
    if column is None:
        return None
    allow = (RETURN, 0, 0, ALLOW)
    deny = (RETURN, 0, 0, DENY)
    # A step is (instruction, steps to skip if true, if false, value).
    steps = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, DIE),  # calls of another processor's numbering
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, 0x40000000),
        deny,  # the second numbering of x86-64
    ]
    for numbers in DENIED.values():
        if numbers[column] is not None:
            steps += [(EQUAL, 0, 1, numbers[column]), deny]
    # clone3 hides its flags from a filter. If it is missing, libc uses clone.
    steps += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, MISSING)]
    # Allowed with one first argument only: threads, signals to itself, its own limits.
    for number, test, value in (
        (CLONE, ANY_BIT, THREAD),
        (KILL, EQUAL, pid),
        (TGKILL, EQUAL, pid),
        (PRLIMIT, EQUAL, 0),
    ):
        steps += [
            (EQUAL, 0, 4, number[column]),
            (LOAD, 0, 0, FIRST_ARGUMENT),
            (test, 0, 1, value),
            allow,
            deny,
        ]
    return b"".join(struct.pack("HBBI", *step) for step in [*steps, allow])


class _FilterProgram(ctypes.Structure):
    """struct sock_fprog: how many instructions, and where."""

    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def restrict_calls():
    """Put the filter on this process; returns False if that cannot be done. Needs no_new_privs."""
    steps = filter_for(os.getpid())
    if steps is None:
        return False
    program = _FilterProgram(len(steps) // 8, steps)
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0  # PR_SET_SECCOMP, filter
