"""Stacks of other threads, read while they run."""

import sys
import threading

from minidl.runtime.words.stacks import all_stacks


def spin(stop, depth):
    """Run for ever, some frames deep, while frames come and go."""
    if depth:
        return spin(stop, depth - 1)
    while not stop.is_set():
        sum(abs(i) for i in range(50))


def test_running_threads_are_read_without_harm():
    stop = threading.Event()
    threads = [threading.Thread(target=spin, args=(stop, 3)) for _ in range(3)]
    for thread in threads:
        thread.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads take turns often: more reads in the middle of something
    try:
        for _ in range(200):
            stacks = all_stacks()
            for thread in threads:
                functions = [function for _, _, function in stacks[thread.ident]]
                assert functions[:4] == ["spin"] * 4 and all(
                    file == __file__ for file, _, _ in stacks[thread.ident]
                )
    finally:
        sys.setswitchinterval(before)
        stop.set()
        for thread in threads:
            thread.join()
    own = all_stacks()[threading.get_ident()]
    assert own[-1][2] == "test_running_threads_are_read_without_harm"
