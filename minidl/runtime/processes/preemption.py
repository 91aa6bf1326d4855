"""Why would a message of 64 bytes take 4 ms? Because two threads of one rank meet on one core.

    main thread   lock a connection, write |..................................| go on, unlock
    gloo's loop                            | locked: look again, and again ...|
                                           wakes up, takes the core           the kernel's next tick, 4 ms later

gloo's loop thread reads what arrives. It never waits for a connection's lock but asks again at once. If it wakes
on the core of the very thread that holds the lock, it spins until the kernel's clock takes the core away from it.
So that thread is told not to interrupt others: SCHED_BATCH, the same share of the cores, but a running thread goes
on until it waits. Linux only; elsewhere, and where the system refuses, messages are as slow as gloo makes them.
"""

import os

LOOP = "gloo_tcp_loop"


def loop_threads():
    """The kernel's numbers of gloo's loop threads in this process; empty where the system does not list threads."""
    found = []
    for thread in os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else ():
        try:
            with open(f"/proc/self/task/{thread}/comm") as file:
                name = file.read().strip()
        except OSError:  # it has ended meanwhile
            continue
        if name == LOOP:
            found.append(int(thread))
    return found


def interrupt_nobody():
    """Make gloo's loop threads wait for a core until the running thread gives it up. After every new process group.

    Returns the threads for which it holds.
    """
    calm = []
    for thread in loop_threads():
        try:
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
        except OSError:  # ended, or not allowed in this container
            continue
        calm.append(thread)
    return calm
