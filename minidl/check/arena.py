"""Where does a function that is checked run?

    LocalArena     a learner's own notebook: a VirtualWorld for everything that is counted, a World for real processes
    CagedArena     a submission that is graded: each rank a locked-in process, see cage.py

Either way an Outcome comes back: what each rank returned, what became of its inputs, the record, the error.
"""

import contextlib
import linecache
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves, tree_map

from minidl.check.book import book
from minidl.errors import MinidlError, RankError
from minidl.learner import mine
from minidl.learner import notes as progress
from minidl.runtime.processes.parcel import PerRank
from minidl.runtime.virtual_world import VirtualWorld
from minidl.runtime.words.calling import call
from minidl.runtime.world import World
from minidl.trace import Trace

REAL_RANKS = 4  # a real run needs a world; this is its size where the notebook has none


class Outcome(NamedTuple):
    """One run of one function.

    results  what each rank returned; None where it did not
    after    each rank's arguments as they were after the call; None where it did not return
    trace    the record, as far as it came
    error    what ended the run, or None
    """

    results: list
    after: list
    trace: Trace
    error: MinidlError | None

    @property
    def not_done(self):
        """Did the function say by itself that nobody has written it yet?"""
        return isinstance(self.error, RankError) and "NotImplementedError" in str(self.error)


def observed(fn, args, arguments, comm):
    """On a rank: (what `fn` returns, its arguments afterwards)."""
    return call(fn, comm, args, arguments), plain(args)


def observed_on_a_meter(fn, args, arguments, comm):
    """The same; what the rank was given counts as held."""
    show_the_meter(args, arguments)
    return observed(fn, args, arguments, comm)


def show_the_meter(*given):
    """An operation with each tensor that a rank was given, a model's too, so that the meter of this thread sees it."""
    for tensor in tensors_in(given):
        tensor.detach()


def tensors_in(value):
    """All tensors of a value: of lists, tuples and dicts, and a model's parameters and buffers."""
    for leaf in tree_leaves(value):
        yield from (
            (leaf,)
            if isinstance(leaf, torch.Tensor)
            else (*leaf.parameters(), *leaf.buffers())
            if isinstance(leaf, torch.nn.Module)
            else ()
        )


def plain(value):
    """The value with the state of each model in its place: what a caged rank can send back."""
    return tree_map(
        lambda leaf: dict(leaf.state_dict()) if isinstance(leaf, torch.nn.Module) else leaf, value
    )


class LocalArena:
    """Runs functions of the notebook that asks. Nothing is locked in: it is the learner's own machine."""

    watched = True  # somebody reads what a check says, or nbval does

    def told(self, report):
        """A check has ended: a passed answer joins the learner's own package."""
        source = self.source(report.fn)
        if report.passed:
            mine.keep(report.task, report.fn, source)
        progress.note(report, source, book().seed)

    def run(
        self,
        fn,
        inputs,
        *,
        network=None,
        buffered=False,
        timeout=20,
        arguments=None,
        device=None,
        meter=False,
    ):
        """Run `fn(*inputs[r], **arguments)` on virtual rank r; returns an Outcome. meter: count memory and FLOPs, too."""
        world = VirtualWorld(len(inputs), network=network, buffered=buffered, device=device)
        return outcome_of(world, fn, inputs, arguments, timeout, meter)

    def real(self, fn, inputs, *, timeout=20, arguments=None):
        """The same on real processes; the notebook's own World is used where it has as many ranks."""
        world = World.current
        if world is not None and not world.closed and world.world_size == len(inputs):
            return outcome_of(world, fn, inputs, arguments, timeout)
        with World(len(inputs)) as world:
            return outcome_of(world, fn, inputs, arguments, timeout)

    def real_ranks(self):
        """How many ranks a real run has."""
        return (
            World.current.world_size
            if World.current is not None and not World.current.closed
            else REAL_RANKS
        )

    def source(self, fn):
        """The text of the cell, or file, that defines `fn`; "" if it cannot be had."""
        code = getattr(fn, "__code__", None)
        return "" if code is None else "".join(linecache.getlines(code.co_filename))


def outcome_of(world, fn, inputs, arguments, timeout, meter=False):
    """Run `fn` on a world as `observed` and say how it went."""
    error = None
    try:
        world.run(
            observed_on_a_meter if meter else observed,
            fn,
            PerRank(inputs),
            arguments or {},
            timeout=timeout,
            meter=meter,
        )
    except MinidlError as raised:
        error = raised
    run = world.last
    pairs = [pair if pair is not None else (None, None) for pair in run.results]
    return Outcome([result for result, _ in pairs], [after for _, after in pairs], run.trace, error)


_current: list[Any] = [LocalArena()]


def current():
    """The arena in which checks run now."""
    return _current[-1]


@contextlib.contextmanager
def use(arena):
    """Let checks run in `arena`."""
    _current.append(arena)
    try:
        yield arena
    finally:
        _current.pop()
