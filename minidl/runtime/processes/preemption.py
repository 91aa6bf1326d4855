"""Why would a message of 64 bytes take 4 ms? Because two threads of one rank meet on one core.

    main thread   lock a connection, write |..........................| go on, unlock
    gloo's loop                            | locked: look again, ...  |
                                           wakes up, takes the core   the kernel's next tick, 4 ms

gloo's loop thread reads what arrives. It never waits for a connection's lock but tries again at
once. If it wakes on the core of the very thread that holds the lock, it spins until the kernel's
clock takes the core away from it. So that thread gets the policy SCHED_BATCH: the same share of the
cores, but it does not interrupt a running thread. Linux only; elsewhere, and where the system
refuses, messages are as slow as gloo makes them.
"""

import os

LOOP = "gloo_tcp_loop"
THREADS = "/proc/self/task"


def loop_threads():
    """The system's numbers of gloo's loop threads in this process; empty if it lists no threads."""
    if not os.path.isdir(THREADS):
        return []
    found = []
    for thread in os.listdir(THREADS):
        try:
            with open(f"{THREADS}/{thread}/comm") as file:
                name = file.read().strip()
        except OSError:  # it has ended meanwhile
            continue
        if name == LOOP:
            found.append(int(thread))
    return found


def interrupt_nobody():
    """Let gloo's loop threads wait until the running thread gives up its core.

    Call it after making a process group. Returns the threads that follow this policy now.
    """
    batch = []
    for thread in loop_threads():
        try:
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
        except OSError:  # ended, or not allowed in this container
            continue
        batch.append(thread)
    return batch
