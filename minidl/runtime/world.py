"""World: real processes that stay alive between cells and run what a cell defines.

    world = World(4)
    run = world.run(my_all_reduce, torch.arange(8.))     # comm is passed by its parameter's name
    run.results, run.output, run.trace

A World starts ranks (launch.py), gives them a board and a run to do (attend.py), turns what they
report into a Run or an error in words (report.py), and repairs itself after a failure: ranks that
were stopped keep their names, ranks that died are replaced.
"""

import os
import pickle
import shutil
import tempfile
import time
import weakref
from multiprocessing.connection import wait
from pathlib import Path

from minidl.errors import MinidlError, RankDied
from minidl.runtime.processes import parcel, worker
from minidl.runtime.processes.attend import Attendance
from minidl.runtime.processes.backend import choose, look
from minidl.runtime.processes.board import Board
from minidl.runtime.processes.interrupts import Interrupts
from minidl.runtime.processes.launch import launcher
from minidl.runtime.processes.on_death import ON_DEATH
from minidl.runtime.processes.surroundings import surroundings
from minidl.runtime.run import Run, check_options, check_size, count_of
from minidl.runtime.words.echo import Echo
from minidl.runtime.words.report import explain, waits
from minidl.runtime.words.sources import (
    cell_sources,
    in_notebook,
    learn_sources,
    trace_of,
)


class World:
    """`world_size` processes that can send each other tensors.

    threads  torch threads of each rank
    start    "fork" (from a process that has torch loaded) or "spawn"; chosen by the system
    backend  "nccl" or "gloo"; None for "nccl" if every rank can have a GPU of its own, else "gloo"

    The arguments of run() arrive in each rank's memory, whatever the backend. `comm.device` is
    where the rank computes: its GPU under nccl, else the CPU. So write x.to(comm.device) and
    model.to(comm.device), which does nothing without a GPU. Tensors on GPUs then travel by NCCL
    from GPU to GPU, those in memory by gloo. Results come back in memory. Spans, and messages
    between GPUs, are timed by the GPU itself.

    In a notebook a new World closes those that the notebook made before. Use it as a context
    manager, or close() it, if that matters. Raises ValueError for fewer than 1 rank or more than
    256, and for backend="nccl" without a GPU for each.
    """

    _open = weakref.WeakSet()
    current = None

    def __init__(self, world_size, *, threads=1, start=None, backend=None):
        check_size("World", world_size, 256)
        if not isinstance(threads, int) or threads < 1:
            raise ValueError(f"threads must be 1 or more, not {threads!r}")
        self.backend = choose(world_size, look(), backend)
        if in_notebook():
            for earlier in list(World._open):
                earlier.close()
        self.world_size = world_size
        self.threads = threads
        self.last = None
        self._launcher = launcher(start or ("fork" if hasattr(os, "fork") else "spawn"))
        self._folder = tempfile.mkdtemp(prefix="world-", dir=self._launcher.folder)
        self._board = Board(os.path.join(self._folder, "board"), world_size, create=True)
        self._epoch = 0  # number of the run
        self._failures = 0  # runs that ended with an error
        self._generation = 0  # of the connections between ranks
        self._sent_sources = set()  # cells whose source lines the ranks know
        self._owner = os.getpid()
        self._busy = False
        self._ranks = {}
        self.closed = False
        World._open.add(self)
        World.current = self
        try:
            with Interrupts():
                for rank in range(world_size):
                    self._ranks[rank] = self._start(rank)
                self._connect()
        except BaseException:
            self.close()
            raise

    def run(
        self, fn, *args, timeout=30, seed=0, faults=(), on_death="raise", meter=False, **kwargs
    ):
        """Run `fn(*args, **kwargs)` on every rank; returns a Run.

        fn        gets this rank's Comm as its parameter `comm`; it may be defined in a cell
        args      copied to each rank; PerRank([a, b, ...]) gives each rank its own
        timeout   seconds until the run is stopped with RankTimeout; None for no limit
        seed      torch, numpy and random are seeded with (seed, rank)
        faults    Delay, Slow and Crash objects
        on_death  "raise": when a rank dies, the run ends with RankDied
        meter     count FLOPs and what each rank holds: run.trace.flops, run.trace.memory()

        Ranks follow this process: its folder, os.environ, sys.argv and torch's default dtype, and
        modules of your own that were edited since the last run.

        Raises RankError, DeadlockError, RankDied, MismatchError, LeftoverError or RankTimeout;
        the ranks can be used again afterwards. `world.last` is the Run, however it ended.
        """
        faults = tuple(faults)
        check_options(self.world_size, timeout, faults, on_death)
        options = {"seed": seed, "faults": faults, "meter": bool(meter)}
        return self._run(fn, args, kwargs, None, timeout, on_death, **options)

    def push(self, ranks=None, timeout=30, **names):
        """Give values to names of %%ranks cells, on all ranks or on `ranks`."""
        self._quietly(worker.set_names, names, ranks, timeout)

    def pull(self, name, ranks=None, timeout=30):
        """The values that a name has on the ranks: a list in rank order."""
        return self._quietly(worker.get_name, name, ranks, timeout).results

    def cell(self, source, ranks=None, timeout=30, file="In [cell]"):
        """Run source code among the names of the ranks, as %%ranks does; returns a Run."""
        learn_sources({file: source.splitlines(keepends=True)})
        return self._run(worker.run_cell, (source, file), {}, ranks, timeout)

    def close(self):
        """End the ranks and remove their folder. A closed World cannot run anything."""
        if self.closed or self._owner != os.getpid():
            return
        self.closed = True
        World._open.discard(self)
        if World.current is self:
            World.current = None
        for rank in self._ranks.values():
            rank.conn.close()
        deadline = time.monotonic() + 0.5
        for rank in self._ranks.values():
            while rank.ended() is None:
                if time.monotonic() > deadline:
                    rank.kill()
                wait(self._launcher.waitable(), 0.05)
        self._board.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if not getattr(self, "closed", True):
            self.close()

    def __repr__(self):
        state = "closed" if self.closed else self.backend
        return f"World({count_of(self.world_size, 'rank')}, {state})"

    def __reduce__(self):
        raise TypeError(
            "a World cannot travel to its ranks. A function that runs on ranks talks through its "
            "parameter `comm` (comm.rank, comm.world_size, comm.send ...): use `comm` there, not "
            "the world"
        )

    def _some(self, ranks):
        """The ranks, sorted; all for None."""
        ranks = range(self.world_size) if ranks is None else sorted(set(ranks))
        if not ranks or not all(0 <= rank < self.world_size for rank in ranks):
            raise ValueError(
                f"ranks must be between 0 and {self.world_size - 1}, not {list(ranks)}"
            )
        return ranks

    def _quietly(self, fn, arg, ranks, timeout):
        """Run a function of minidl's own: `last` remains the learner's run."""
        last = self.last
        try:
            return self._run(fn, (arg,), {}, ranks, timeout)
        finally:
            self.last = last

    def _run(
        self, fn, args, kwargs, ranks, timeout, on_death="raise", seed=0, faults=(), meter=False
    ):
        """Run `fn` on some ranks, or on all for None."""
        self._usable()
        ranks = self._some(ranks)
        payloads = parcel.pack(fn, args, kwargs, ranks, self.world_size)
        sources = cell_sources(self._sent_sources)
        self._epoch += 1
        self._busy = True
        try:
            with Interrupts() as interrupts:
                self._board.reset()
                attendance = Attendance(
                    {rank: self._ranks[rank] for rank in ranks},
                    self._board,
                    self._launcher,
                    timeout,
                    Echo(len(ranks)),
                    self._folder,
                    ON_DEATH[on_death](),
                )
                header = {
                    "epoch": self._epoch,
                    "failures": self._failures,
                    "began": attendance.began,
                    "surroundings": surroundings(),
                    "active": tuple(ranks) if len(ranks) < self.world_size else None,
                    "sources": sources,
                    "seed": seed,
                    "faults": faults,
                    "meter": meter,
                }
                for rank in ranks:
                    self._ranks[rank].send("run", header, payloads[rank])
                attendance.attend(interrupts)
                facts = attendance.facts
                if not facts.well:
                    self._failures += 1
                    self._repair(facts)
                self.last = run = self._gather(attendance)
        finally:
            self._busy = False
        if not facts.well:
            raise explain(facts, run)
        return run

    def _gather(self, attendance):
        facts = attendance.facts
        trace = trace_of(self.world_size, attendance.records, waits(facts))
        results = [
            pickle.loads(facts.results[rank]) if rank in facts.results else None
            for rank in facts.ranks
        ]
        return Run(facts.ranks, results, facts.lines, trace)

    def _usable(self):
        if self._owner != os.getpid():
            raise MinidlError("this World belongs to the process that made it; make a new one here")
        if self.closed:
            raise MinidlError("this World is closed: make a new one with World(n)")
        if self._busy:
            raise MinidlError("this World is busy with another run: one run at a time")

    def _start(self, rank):
        return self._launcher.start(rank, self.world_size, self._folder, self.threads)

    def _repair(self, facts):
        """Replace the ranks that are gone, then join all of them in new connections."""
        if not self._launcher.alive():
            self.close()
            raise RankDied(
                "The process that starts the ranks was killed, and all ranks with it. Make a new "
                "World."
            )
        for rank, process in self._ranks.items():
            # The end of a rank that closed its pipe may be reported late, on a busy machine.
            if rank in facts.replaced or process.ended() is not None:
                process.kill()  # one that was stopped in the middle of an import still runs
                process.conn.close()
                self._ranks[rank] = self._start(rank)
                self._sent_sources.clear()
        self._connect()

    def _connect(self, seconds=30):
        self._generation += 1
        for rank in self._ranks.values():
            rank.send("connect", self._generation, self.backend)
        missing = {process.conn: rank for rank, process in self._ranks.items()}
        deadline = time.monotonic() + seconds
        while missing:
            if time.monotonic() > deadline:
                self.close()
                raise MinidlError(
                    f"ranks {sorted(missing.values())} did not join within {seconds} seconds. "
                    "Make a new World."
                )
            for conn in wait(list(missing), 0.1):
                try:
                    kind, *args = pickle.loads(conn.recv_bytes())
                except (EOFError, OSError):
                    self._dead_on_arrival(missing[conn])
                if kind == "failed":
                    self.close()
                    remedy = "Make a new World"
                    if self.backend == "nccl":
                        remedy += f', or use no GPUs: World({self.world_size}, backend="gloo")'
                    words = args[0].message
                    raise MinidlError(f"rank {missing[conn]} could not join: {words}. {remedy}.")
                if kind == "connected":
                    del missing[conn]

    def _dead_on_arrival(self, rank):
        output = Path(self._folder, f"rank{rank}.out")
        words = ""
        if output.exists():
            words = output.read_text(errors="replace")[-1000:]
        words = f"rank {rank} ended while it started: {words or 'it left no output'}"
        raise RankDied(words, ranks=[rank])
