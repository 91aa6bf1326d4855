"""Who is this process, and what may it do because of that?

Both are given up for good before learner's code runs.
"""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def become(user):
    """As root: become a user who owns nothing, so that file permissions hold. Returns a phrase."""
    for number in (user, 65534):  # a system may know only some numbers
        try:
            os.setgroups([])
            os.setresgid(number, number, number)
            os.setresuid(number, number, number)
            return f"an unprivileged user (number {number})"
        except OSError:
            continue
    return "no user of its own: this process may not change it"


def drop_capabilities():
    """Drop every right of root, and with no_new_privs every way to get one, as setuid programs."""
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; fails harmlessly beyond the last one
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    nothing = (ctypes.c_uint32 * 6)()
    libc.capset(header, nothing)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS


def hide_from_others():
    """Processes of the same user may not look into this one."""
    libc.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def show_own_files():
    """Undo what a change of user has done to /proc/self, as starting a program would."""
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE
