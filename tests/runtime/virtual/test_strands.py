"""On which core strands run, and how often the garbage collector looks at their record."""

import gc
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from minidl import VirtualWorld
from minidl.runtime.virtual import garbage
from minidl.runtime.virtual import strands as strands_module
from minidl.runtime.virtual.strands import Strands, core_of_this_thread
from minidl.runtime.words.modules import imports
from tests.deadlines import generous


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs a choice of cores",
)
def test_strands_stay_where_the_system_has_put_this_thread(monkeypatch):
    allowed = os.sched_getaffinity(0)
    try:
        for core in sorted(allowed)[:2]:
            os.sched_setaffinity(0, {core})
            with monkeypatch.context() as patch:
                patch.setattr(os, "sched_getaffinity", lambda pid: allowed)
                assert core_of_this_thread() == core
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_core_that_is_not_allowed_is_not_chosen(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {10_001, 10_002}, raising=False)
    assert core_of_this_thread() == 10_001


def test_the_record_of_a_run_is_never_looked_through_as_young_garbage(monkeypatch):
    monkeypatch.setattr(garbage.unseen, "count", 0)

    def chat(x, comm):
        for _ in range(200):
            comm.exchange(x, to=comm.right, source=comm.left)

    gc.collect()
    seen = []

    def count(phase, info):
        if phase == "start":
            seen.append(len(gc.get_objects(info["generation"])))

    gc.callbacks.append(count)
    try:
        run = VirtualWorld(8).run(chat, torch.ones(1))
        [[] for _ in range(2000)]  # enough for a collection of the youngest
    finally:
        gc.callbacks.remove(count)
    assert len(run.trace) == 3200 and seen and max(seen) < 3200


class Circle:
    """Garbage that only a collection finds."""

    def __init__(self):
        self.itself = self


def test_what_earlier_runs_left_is_collected(monkeypatch):
    monkeypatch.setattr(garbage.unseen, "fewest", 1000)
    for counted in ("count", "survivors"):
        monkeypatch.setattr(garbage.unseen, counted, 0)

    def leaves_circles(comm):
        [Circle() for _ in range(1000)]

    for _ in range(2):
        VirtualWorld(1).run(leaves_circles)
    circles = [one for one in gc.get_objects() if type(one).__name__ == "Circle"]
    assert len(circles) == 1000, "those of the first run are gone"


THREADS = """
import ctypes, sys
from minidl import VirtualWorld

def threads():
    return ctypes.CDLL(sys.argv[1]).omp_get_max_threads()

print(threads(), *VirtualWorld(2).run(threads).results)
"""


def test_a_strand_computes_in_one_thread_as_it_has_one_core():
    maps = Path("/proc/self/maps")
    found = re.search(r"/\S*/libgomp\S*", maps.read_text()) if maps.exists() else None
    if found is None:
        pytest.skip("torch's OpenMP library is not found here")
    done = subprocess.run(
        [sys.executable, "-c", THREADS, found[0]],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=generous(60),
    )
    assert done.stdout.split() == ["2", "1", "1"], done.stderr


def test_a_strand_that_imports_is_stopped_after_the_import(tmp_path, monkeypatch):
    (tmp_path / "long_import.py").write_text("import threading\nthreading.looked_at.wait(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(threading, "looked_at", threading.Event(), raising=False)
    found = []

    def look(frame):
        found.append(imports(frame))
        threading.looked_at.set()
        return found[-1]

    def body(strand):
        import long_import  # noqa: F401

        while True:
            pass

    monkeypatch.setattr(strands_module, "imports", look)
    strands = Strands(lambda rank: None)
    strands.spawn(0, 0, body)
    strands.go(0.01)
    deadline = time.monotonic() + generous(10)
    while "long_import" not in sys.modules and time.monotonic() < deadline:
        time.sleep(0.01)
    assert strands.stop("enough", 5) == []
    assert found[0] and not found[-1] and sys.modules.pop("long_import").threading
