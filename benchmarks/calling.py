"""What does it cost to call an empty function on 4 live ranks?

python benchmarks/calling.py          pip install ipyparallel first, to have it beside
"""

import importlib.util
import multiprocessing
import pickle
import time

import cloudpickle
from rounds import publish, ratios, rounds, spread

from minidl import World


def empty():
    """Nothing."""


def timed(call, n=50):
    """Seconds per call, over n calls."""

    def once():
        began = time.perf_counter()
        for _ in range(n):
            call()
        return (time.perf_counter() - began) / n

    return once


def answer(conn):
    """The least that a live process must do: unpickle, call, answer."""
    while True:
        data = conn.recv_bytes()
        if not data:
            return
        conn.send_bytes(cloudpickle.dumps(pickle.loads(data)()))


def bare_pipes():
    """Four processes behind pipes, with cloudpickle and nothing else; returns (call, close)."""
    context = multiprocessing.get_context("fork")
    pairs = [context.Pipe() for _ in range(4)]
    processes = [context.Process(target=answer, args=(theirs,), daemon=True) for _, theirs in pairs]
    for process in processes:
        process.start()

    def call():
        data = cloudpickle.dumps(empty)
        for conn, _ in pairs:
            conn.send_bytes(data)
        for conn, _ in pairs:
            pickle.loads(conn.recv_bytes())

    def close():
        for (conn, _), process in zip(pairs, processes):
            conn.send_bytes(b"")
            process.join()

    return call, close


def main():
    """Measure and publish."""
    pipes, close = bare_pipes()
    world = World(4)
    contestants = {
        "World.run": timed(lambda: world.run(empty)),
        "pipes and cloudpickle alone": timed(pipes),
    }
    cluster = None
    if importlib.util.find_spec("ipyparallel"):
        import ipyparallel

        cluster = ipyparallel.Cluster(n=4, log_level=40)
        view = cluster.start_and_connect_sync()[:]
        contestants["ipyparallel apply_sync"] = timed(lambda: view.apply_sync(empty))
    for contestant in contestants.values():
        contestant()  # warm up
    seconds = rounds(contestants, n=15)
    ours = seconds["World.run"]
    rows = [
        [name, spread(times, 1e-3), spread(ratios(times, ours), digits=2)]
        for name, times in seconds.items()
    ]
    publish(
        "An empty function on 4 live ranks",
        ["", "milliseconds", "times World.run"],
        rows,
        "Wanted: 2 ms.",
    )
    close()
    world.close()
    if cluster is not None:
        cluster.stop_cluster_sync()


if __name__ == "__main__":
    main()
