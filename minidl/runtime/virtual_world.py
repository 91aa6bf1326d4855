"""VirtualWorld: up to thousands of ranks in one process, on a virtual clock; the same run every time.

    world = VirtualWorld(1024, network=Islands(8))
    run = world.run(my_all_reduce, torch.arange(1024.))        # same function, same Run, same pictures, same errors

It is the strictest world: a send is over when it has been received, so what passes here cannot deadlock
elsewhere for want of room; VirtualWorld(n, buffered=True) shows what works by buffering only.
"""

import gc
import pickle
import sys
import threading
from contextlib import contextmanager

import cloudpickle
import torch

from minidl.errors import MismatchError
from minidl.runtime.comms.faults import Crashed, Damage, Delay, check_faults
from minidl.runtime.metering.device import Device, Meters, about_meta
from minidl.runtime.processes import parcel
from minidl.runtime.processes.guard import Broken
from minidl.runtime.processes.streams import LineStream
from minidl.runtime.virtual.network import Fabric, Uniform
from minidl.runtime.virtual.randomness import RankRandomness
from minidl.runtime.virtual.recording import Record
from minidl.runtime.virtual.strands import Strands
from minidl.runtime.virtual.virtual_comm import VirtualComm, VirtualNode
from minidl.runtime.virtual.virtual_work import size_of
from minidl.runtime.words.calling import call, stack_lines, traceback_lines
from minidl.runtime.words.deadlock import Need
from minidl.runtime.words.echo import Echo
from minidl.runtime.words.report import explain, waits
from minidl.runtime.words.stacks import all_stacks
from minidl.runtime.world import Run

STOP = 1.0  # seconds of real time for a strand to stop


class VirtualWorld:
    """`world_size` virtual ranks, threads that take turns: 1,024 ranks of a ring need a minute or two.

    network   who is how far from whom: Uniform(alpha, beta), Islands(size, fast, slow), OneSlowLink(a, b)
    buffered  False: a send is over when it has been received. True: at once
    device    Device(flops_per_second): what a rank computes takes virtual time, by its counted FLOPs; None: it takes none
    record    how many events are kept; messages and bytes beyond are counted only

    Raises ValueError for fewer than 1 rank or more than 4096.
    """

    def __init__(self, world_size, *, network=None, buffered=False, device=None, record=400_000):
        if (
            isinstance(world_size, bool)
            or not isinstance(world_size, int)
            or not 1 <= world_size <= 4096
        ):
            raise ValueError(f"a VirtualWorld has 1 to 4096 ranks, not {world_size!r}")
        self.world_size, self.network = world_size, Uniform() if network is None else network
        if isinstance(self.network, type) or not callable(getattr(self.network, "between", None)):
            raise TypeError(
                f"a network has a method between(source, to), as Uniform() does; {self.network!r} has none"
            )
        if device is not None and not isinstance(device, Device):
            raise TypeError(f"a device is Device(flops_per_second), not {device!r}")
        if not isinstance(record, int) or record < 0:
            raise ValueError(f"record is how many events are kept, 0 or more, not {record!r}")
        self.buffered, self.device, self.record, self.last = buffered, device, record, None

    def run(
        self, fn, *args, timeout=120, seed=0, faults=(), on_death="raise", meter=False, **kwargs
    ):
        """Run `fn(*args, **kwargs)` on every rank; returns a Run. See World.run; timeout is in real seconds.

        Tensors on the device "meta" have shapes and sizes and no memory: a model may be far larger than this machine. What
        depends on their values is an error.
        """
        if on_death != "raise":
            raise ValueError(f'on_death must be "raise", not {on_death!r}')
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout is a positive number of seconds or None, not {timeout!r}")
        faults = tuple(faults)
        check_faults(faults, self.world_size, virtual=True)
        payloads = parcel.pack(fn, args, kwargs, range(self.world_size), self.world_size)
        facts = VirtualFacts(self, payloads, faults, timeout, meter)
        with without_garbage_collection():
            try:
                facts.attend(seed)
            finally:
                self.last = run = facts.gather()
        if not facts.well:
            raise explain(facts, run)
        return run

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Nothing is open between runs; here so that a VirtualWorld can stand where a World does."""

    def __repr__(self):
        return f"VirtualWorld({self.world_size} rank{'s' * (self.world_size != 1)}, {self.network}{', buffered' * self.buffered})"

    def __reduce__(self):
        raise TypeError(
            "a VirtualWorld cannot travel to its ranks. A function that runs on ranks talks through its "
            "parameter `comm`: use `comm` there, not the world"
        )


class VirtualFacts:
    """One run and what is known of it: the same facts that attend.Attendance gathers from processes."""

    def __init__(self, world, payloads, faults, timeout, meter=False):
        self.meters = (
            meter
            if isinstance(meter, Meters)
            else Meters(world.device)
            if meter or world.device
            else None
        )
        self.size, self.payloads, self.timeout = world.world_size, payloads, timeout
        self.ranks = tuple(range(self.size))
        self.fabric = Fabric(
            world.network,
            self.size,
            world.buffered,
            {(f.source, f.to): f.seconds for f in faults if isinstance(f, Delay)},
        )
        self.damage = [Damage(faults, rank, self._die) for rank in self.ranks]
        self.echo = Echo(self.size)
        slow = {rank for rank in self.ranks if self.damage[rank].factor > 1}
        self.record = Record(self.size, world.record, self.fabric.delays, slow)
        self.lines = {rank: [] for rank in self.ranks}
        self.results, self.failures, self.died, self.crashing = {}, {}, {}, {}
        self.mismatch, self.stuck, self.timed_out, self.killed, self.replaced = (
            None,
            set(),
            False,
            [],
            [],
        )
        self.where, self.main = {}, {rank: rank << 20 for rank in self.ranks}
        self.nodes = []

    @property
    def well(self):
        """Did every rank return, with nothing left over and in agreement on every message?"""
        return len(self.results) == self.size and not self.stuck and self.mismatch is None

    def attend(self, seed):
        """Run all ranks to their end, or as far as they come."""
        randomness = RankRandomness(seed)
        self.strands = Strands(randomness.enter)
        self.nodes = [VirtualNode(self, rank) for rank in self.ranks]
        with randomness, self._output(), one_torch_thread():
            for rank in self.ranks:
                self.strands.spawn(
                    rank, rank << 20, lambda strand, rank=rank: self._rank(strand, rank)
                )
            for rank in self.ranks:
                if self.damage[rank].deadline is not None:
                    self.strands.spawn(
                        rank, rank - self.size, self._crash_in_time, self.damage[rank].deadline.t
                    )
            try:
                self.timed_out = not self.strands.go(self.timeout)
                self._look()
            finally:
                self.strands.stop("the run is over", STOP)
        self.echo.finish(self.lines)

    def gather(self):
        """The Run, as far as it came."""
        ended = max((strand.clock for strand in self.strands.all if strand.order >= 0), default=0.0)
        trace = self.record.trace(
            () if self.well else waits(self), min(ended, self.strands.limit), self.strands.limit
        )
        trace.metered(self.meters.read() if self.meters else {})
        trace.computing = self.meters.computing if self.meters else {}
        return Run(self.ranks, [self.results.get(rank) for rank in self.ranks], self.lines, trace)

    def unmet(self, needs):
        """Needs are kept only as long as they are not met."""
        return needs

    def disagree(self, number, source, to):
        """Two ranks post different sides of one message."""
        self.mismatch = self.mismatch or ("message", number, source, to)
        self._limit()

    def _rank(self, strand, rank):
        try:
            fn, args, kwargs = pickle.loads(self.payloads[rank])
            with self.nodes[rank].metered():
                result = call(fn, VirtualComm(self.nodes[rank], self.ranks), args, kwargs)
                self.nodes[rank].finish()
            if self.meters is not None:
                self.meters.over(rank)  # what is let go from now on is let go by us
            if rank not in self.died:  # a message may have come at the very moment of its death
                self.results[rank] = result
        except Broken:
            pass
        except Crashed as crash:
            self.crashed(rank, crash)
        except BaseException as error:
            self.failures[rank] = self._describe(about_meta(error))
            self._limit()

    def _crash_in_time(self, strand):
        """Crash this strand's rank at Seconds(t), whatever it waits for; its order is below 0, so at t it comes first.

        Nothing happens where the run is over by then: all have ended, wait for ever, or are stopped at an earlier moment.
        """
        rank, goes_on = strand.rank, any(order >= 0 for _, order, _ in self.strands.heap)
        if (
            goes_on
            and strand.clock <= self.strands.limit
            and not {rank} & (self.results.keys() | self.failures.keys() | self.died.keys())
        ):
            self.crashed(rank, Crashed(repr(self.damage[rank].deadline)))

    def crashed(self, rank, crash):
        """The fault Crash has happened to this rank."""
        self.died[rank], self.crashing[rank] = None, str(crash)
        self._limit()

    def _limit(self):
        """Somebody failed: the others go on to the same moment of virtual time and no further."""
        self.strands.limit = min(self.strands.limit, self.strands.running.clock)

    def _describe(self, error):
        try:
            travelling = cloudpickle.dumps(error)
        except Exception:
            travelling = None
        return {
            "kind": "mismatch" if isinstance(error, MismatchError) else "error",
            "type": type(error).__name__,
            "message": str(error),
            "pickle": travelling,
            "lines": traceback_lines(error.__traceback__),
        }

    def _die(self, moment):
        raise Crashed(repr(moment))

    def _look(self):
        """Nobody is ready, or time is out: where is everybody, and can they never go on?"""
        left = [
            s for s in self.strands.all if not s.ended and not s.idle and s.rank not in self.died
        ]
        frames, running = sys._current_frames(), self.strands.running
        for strand in left:
            lines = (
                all_stacks().get(strand.ident, [])
                if strand is running
                else stack_lines(frames[strand.ident])
            )
            waiting = strand.waiting
            needs = words = None
            if waiting is not None and not waiting.met():
                words = waiting.in_words()
                needs = (
                    [Need(-1, thread=waiting.lane.strand.order)]
                    if words[0] == "background"
                    else [Need(words[2])]
                )
            self.where.setdefault(strand.rank, {})[strand.order] = (needs, words, lines)
        if not (self.timed_out or self.failures or self.died or self.mismatch):
            self.stuck = {(s.rank, s.order) for s in left}
            if not left:
                self._look_for_leftovers()

    def _look_for_leftovers(self):
        for ticket in self.fabric.leftovers():
            rank, place = ticket.posting.rank, ticket.posting.place
            words = (
                ticket.kind,
                ticket.comm,
                ticket.peer,
                ticket.number,
                place,
                True,
                size_of(ticket),
            )
            order = len(self.where.setdefault(rank, {}))
            self.where[rank][order] = ([Need(ticket.peer)], words, [])
            self.stuck.add((rank, order))

    @contextmanager
    def _output(self):
        """What a rank prints is its own."""
        router = Router(self)
        saved = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = router
        try:
            yield
        finally:
            router.end()
            sys.stdout, sys.stderr = saved

    def tell(self, rank, lines):
        """Rank `rank` printed these lines."""
        self.lines[rank] += lines.split("\n")
        self.echo.lines(rank, lines.split("\n"))


class Unseen:
    """The objects that runs left in the oldest generation, where no collection was due to see them."""

    fewest = 100_000  # a full collection is not worth its time for fewer
    count = 0
    survivors = 0  # of the last full collection

    def collect_if_due(self):
        """Collect all garbage if a quarter of all objects is unseen: Python's rule, for runs."""
        if self.count > max(self.fewest, self.survivors / 4):
            gc.collect()
            self.survivors = len(gc.get_objects())
            self.count = 0


unseen = Unseen()


@contextmanager
def without_garbage_collection():
    """Run the block without a look at its objects: a record grows by millions, none of them garbage.

    Earlier records that nothing refers to any more are collected before the block, if they are many.
    """
    enabled = gc.isenabled()
    if enabled:
        unseen.collect_if_due()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            unseen.count += gc.get_count()[0]
            gc.freeze()  # all of it is old now: no look at what is young goes through it
            gc.unfreeze()
            gc.enable()


@contextmanager
def one_torch_thread():
    """A rank has one thread; and torch's own threads must not be born on the core where the strands stay."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Router(LineStream):
    """A stream that gives every rank's text to that rank, and all other text to where it went before."""

    def __init__(self, facts):
        super().__init__(lambda text: None)
        self.facts, self.streams, self.before = facts, {}, sys.stdout

    def write(self, text):
        strand = self.facts.strands.running
        if strand is None or strand.ident != threading.get_ident():
            return self.before.write(text)
        if strand.rank not in self.streams:
            self.streams[strand.rank] = LineStream(
                lambda lines, rank=strand.rank: self.facts.tell(rank, lines)
            )
        return self.streams[strand.rank].write(text)

    def end(self):
        for stream in self.streams.values():
            stream.end()
