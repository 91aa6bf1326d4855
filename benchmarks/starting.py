"""How soon is a World ready? From a fresh interpreter to the first all-reduce, cold and again.

python benchmarks/starting.py
"""

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rounds import publish, ratios, rounds, spread

SECOND = """
import time, torch
from minidl import World
def first(comm):
    comm.native("all_reduce", torch.ones(1)).wait()
times = []
for _ in range(2):
    began = time.perf_counter()
    world = World(4)
    world.run(first)
    times.append(time.perf_counter() - began)
print(*times)
"""
SPAWN = """
import os, tempfile, time
def rank_main(rank, path):
    import torch, torch.distributed as dist
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method="file://" + path, rank=rank, world_size=4)
    dist.all_reduce(torch.ones(1))
    dist.destroy_process_group()
if __name__ == "__main__":
    import torch.multiprocessing as mp
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        mp.spawn(rank_main, (folder + "/store",), nprocs=4)
        print(time.perf_counter() - began)
"""
TORCHRUN = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
dist.all_reduce(torch.ones(1))
dist.destroy_process_group()
"""
IPYPARALLEL = """
import time, ipyparallel
began = time.perf_counter()
cluster = ipyparallel.Cluster(n=4, log_level=40)
view = cluster.start_and_connect_sync()[:]
def first(rank, path):
    import torch, torch.distributed as dist
    dist.init_process_group("gloo", init_method="file://" + path, rank=rank, world_size=4)
    dist.all_reduce(torch.ones(1))
import tempfile
path = tempfile.mkdtemp() + "/store"
view.map_sync(first, range(4), [path] * 4)
print(time.perf_counter() - began)
cluster.stop_cluster_sync()
"""


def script(source, folder, name, prefix=()):
    """A function that runs the script once and returns what it printed last, or its own seconds."""
    path = Path(folder) / f"{name}.py"
    path.write_text(source)

    def once():
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *prefix, str(path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        words = done.stdout.split()
        return [float(word) for word in words[-2:]] if words else time.perf_counter() - began

    return once


def main():
    """Measure and publish."""
    with tempfile.TemporaryDirectory() as folder:
        torchrun = (
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--local-addr",
            "127.0.0.1",
            "--nproc-per-node",
            "4",
        )
        contestants = {
            "World(4)": script(SECOND, folder, "world"),
            "mp.spawn": script(SPAWN, folder, "spawn"),
            "torchrun": script(TORCHRUN, folder, "torchrun_script", torchrun),
        }
        if importlib.util.find_spec("ipyparallel"):
            contestants["ipyparallel"] = script(IPYPARALLEL, folder, "ipyparallel_script")
        seconds = rounds(contestants)
    cold, second = zip(*seconds.pop("World(4)"))
    rows = [
        ["World(4), cold", spread(cold), "1"],
        ["World(4), second", spread(second), spread(ratios(second, cold), digits=2)],
    ]
    for name, times in seconds.items():
        times = [t[0] if isinstance(t, list) else t for t in times]
        rows.append([name, spread(times), spread(ratios(times, cold), digits=2)])
    publish(
        "To the first all-reduce on 4 ranks",
        ["", "seconds", "times World(4), cold"],
        rows,
        "torch is loaded in the caller before the clock starts, except for torchrun, which is "
        "timed as a command. Wanted: 1.3 s cold, 0.1 s for a second World. Measured medians: "
        f"{statistics.median(cold):.2f} and {statistics.median(second):.3f} s.",
    )


if __name__ == "__main__":
    main()
