"""One run of a VirtualWorld: from the strands of its ranks to the facts of how it ended.

    payloads --> a strand for each rank --> until none is ready --> look: done, stuck or left over?
                                                                    Facts, and a Run

The counterpart of processes/attend.py, which finds the same facts among processes.
"""

import math
import pickle
import sys
import threading
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout

import torch

from minidl.runtime.comms.faults import Crashed, Faults, Seconds
from minidl.runtime.comms.node import Broken
from minidl.runtime.comms.record import Room, columns_of
from minidl.runtime.metering.device import Meters, about_meta
from minidl.runtime.processes.pasted import virtual_ranks
from minidl.runtime.processes.streams import LineStream
from minidl.runtime.virtual.garbage import without_garbage_collection
from minidl.runtime.virtual.network import Fabric
from minidl.runtime.virtual.randomness import RankRandomness
from minidl.runtime.virtual.strands import Strands
from minidl.runtime.virtual.virtual_comm import VirtualComm, VirtualNode
from minidl.runtime.virtual.virtual_work import blocked_in
from minidl.runtime.words.calling import call, stack_lines
from minidl.runtime.words.deadlock import Need
from minidl.runtime.words.echo import Echo
from minidl.runtime.words.facts import Facts, Failure, Whereabouts
from minidl.runtime.words.report import waits
from minidl.runtime.words.sources import learners_argv, place_name
from minidl.runtime.words.stacks import all_stacks
from minidl.trace import Trace

STOP = 1.0  # seconds of real time for a strand to stop


class VirtualRun:
    """One run, as the kernel sees it. `facts` says how it ended."""

    def __init__(self, world, payloads, faults, timeout, on_death, meter=False):
        self.size = world.world_size
        self.ranks = tuple(range(self.size))
        self.payloads = payloads
        self.facts = Facts(self.ranks, timeout)
        self.facts.main = {rank: rank << 20 for rank in self.ranks}
        self.on_death = on_death
        self.meters = meter or None
        if meter is True or (world.device and not meter):
            self.meters = Meters(world.device)
        self.faults = [Faults(faults, rank, _die) for rank in self.ranks]
        delay = self.faults[0].delay if faults else None
        self.fabric = Fabric(world.network, world.buffered, delay)
        self.room = Room(world.record)
        self.echo = Echo(self.size)
        self.nodes = []

    def perform(self, seed):
        """Run all ranks to their end, or as far as they get."""
        randomness = RankRandomness(seed)
        self.strands = Strands(randomness.enter)
        self.nodes = [VirtualNode(self, rank) for rank in self.ranks]
        with ExitStack() as contexts:
            contexts.enter_context(without_garbage_collection())
            contexts.enter_context(randomness)
            contexts.enter_context(self._output())
            contexts.enter_context(one_torch_thread())
            contexts.enter_context(virtual_ranks(self._rank_of_thread))
            contexts.enter_context(arguments(learners_argv()))
            self._spawn()
            try:
                self.facts.timed_out = not self.strands.go(self.facts.timeout)
                self._look()
            finally:
                self.strands.stop("the run has ended", STOP)
        self.echo.finish(self.facts.lines)

    def _rank_of_thread(self):
        """The rank to which the calling thread belongs; None if it belongs to none."""
        ident = threading.get_ident()
        for strand in self.strands.all:
            if strand.ident == ident and not strand.ended:
                return strand.rank
        return None

    def _spawn(self):
        for rank in self.ranks:
            self.strands.spawn(rank, rank << 20, self._rank)
        for rank in self.ranks:
            deadline = self.faults[rank].deadline
            if deadline < math.inf:
                # An order below 0: at the same second it comes before every rank.
                self.strands.spawn(rank, rank - self.size, self._crash_in_time, deadline)

    def trace(self):
        """The Trace, as far as the run came."""
        facts = self.facts
        limit = self.strands.limit
        clocks = [strand.clock for strand in self.strands.all if strand.order >= 0]
        records = [node.record for node in self.nodes]
        trace = Trace(
            self.size,
            waits=waits(facts),
            unrecorded=[record.unrecorded for record in records],
            ended=min(max(clocks, default=0.0), limit),
            later=lambda: _columns(records, limit),
        )
        trace.whole = not self.room.full
        if self.meters is not None:
            trace.metered(self.meters.read())
            trace.computing = self.meters.computing
        return trace

    def disagree(self, disagreement):
        """Two ranks post sides of one message that do not fit."""
        self.facts.mismatch = self.facts.mismatch or disagreement
        self._limit()

    def crashed(self, rank, moment):
        """The fault Crash has happened to this rank, at this moment."""
        died = self.facts.died
        died[rank] = None
        self.facts.crashing[rank] = str(moment)
        self.on_death.died(rank, set(self.ranks) - set(died))
        if self.on_death.ends_run(died):
            self._limit()

    def _rank(self, strand):
        rank = strand.rank
        node = self.nodes[rank]
        try:
            fn, args, kwargs = pickle.loads(self.payloads[rank])
            with node.metered():
                result = call(fn, VirtualComm(node, self.ranks), args, kwargs)
                node.finish()
            if node.forgotten:
                self.facts.forgotten[rank] = node.forgotten
            if self.meters is not None:
                self.meters.over(rank)  # what is freed from now on, the runtime frees
            if rank not in self.facts.died:  # it may have died at the very moment of its end
                self.facts.results[rank] = result
        except Broken:
            pass
        except Crashed as crash:
            self.crashed(rank, crash)
        except BaseException as error:
            self.facts.failures[rank] = Failure.of(about_meta(error))
            self._limit()

    def _crash_in_time(self, strand):
        """Crash this strand's rank at Seconds(t), whatever it waits for.

        Nothing happens if the run has ended by then: all ranks have ended, can never go on, or are
        stopped at an earlier moment.
        """
        rank = strand.rank
        facts = self.facts
        goes_on = any(order >= 0 for _, order, _ in self.strands.heap)
        ended = rank in {**facts.results, **facts.failures, **facts.died}
        if goes_on and not ended and strand.clock <= self.strands.limit:
            self.crashed(rank, Seconds(self.faults[rank].deadline))

    def _limit(self):
        """A rank failed: the others go on to the same moment of virtual time and no further."""
        self.strands.limit = min(self.strands.limit, self.strands.running.clock)

    def _look(self):
        """No strand is ready, or time is up: where is each of them, and can it ever go on?"""
        facts = self.facts
        left = [
            strand
            for strand in self.strands.all
            if not strand.ended and not strand.idle and strand.rank not in facts.died
        ]
        frames = sys._current_frames()
        for strand in left:
            if strand is self.strands.running:
                lines = all_stacks().get(strand.ident, [])
            else:
                lines = stack_lines(frames[strand.ident])
            work = strand.waiting
            needs = work and work.needs()
            where = Whereabouts(needs, needs and work.blocked(), lines)
            facts.where.setdefault(strand.rank, {})[strand.order] = where
        dead = self.on_death.ends_run(facts.died)
        if not (facts.timed_out or facts.failures or dead or facts.mismatch):
            facts.stuck = {(strand.rank, strand.order) for strand in left}
            if not left:
                self._look_for_leftovers()

    def _look_for_leftovers(self):
        """Every function has returned: which messages have never been taken?"""
        for ticket in self.fabric.leftovers():
            rank = ticket.posting.rank
            threads = self.facts.where.setdefault(rank, {})
            number = len(threads)
            blocked = blocked_in(ticket, ticket.comm, leftover=True)
            threads[number] = Whereabouts([Need((ticket.peer,))], blocked, [])
            self.facts.stuck.add((rank, number))

    @contextmanager
    def _output(self):
        """What a rank prints is its own."""
        router = Router(self)
        with redirect_stdout(router), redirect_stderr(router):
            try:
                yield
            finally:
                router.end()

    def printed(self, rank, text):
        """Rank `rank` printed these lines."""
        lines = text.split("\n")
        self.facts.lines[rank] += lines
        self.echo.lines(rank, lines)


def _columns(records, limit):
    """The columns of a Trace, made when they are first read; the records are empty afterwards."""
    columns = columns_of(records, place_name, limit)
    for record in records:
        record.entries = []
    return columns


def _die(moment):
    raise Crashed(repr(moment))


@contextmanager
def arguments(argv):
    """Meanwhile argparse reads these arguments."""
    before = sys.argv[:]
    sys.argv[:] = argv
    try:
        yield
    finally:
        sys.argv[:] = before


@contextmanager
def one_torch_thread():
    """A rank has one thread, and torch must not start its own on the core where strands stay."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Router(LineStream):
    """A stream that gives each rank's text to that rank, and other text to where it went before."""

    def __init__(self, run):
        super().__init__(lambda text: None)
        self.run = run
        self.streams = {}
        self.before = sys.stdout

    def write(self, text):
        strand = self.run.strands.running
        if strand is None or strand.ident != threading.get_ident():
            return self.before.write(text)
        rank = strand.rank
        if rank not in self.streams:
            self.streams[rank] = LineStream(lambda lines: self.run.printed(rank, lines))
        return self.streams[rank].write(text)

    def end(self):
        """Pass on the lines that no newline has ended."""
        for stream in self.streams.values():
            stream.end()
