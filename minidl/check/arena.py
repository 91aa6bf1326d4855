"""Where does a function that is checked run?

    LocalArena   a learner's own notebook: counts on a VirtualWorld, real processes on a World
    CagedArena   a graded submission: each rank is a locked-in process, see minidl_grader/judge/cage

Both return an Outcome: what each rank returned, its inputs after the call, the record, the error.
"""

import contextlib
import linecache
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves, tree_map

from minidl.check.book import current_book
from minidl.errors import MinidlError, RankError
from minidl.learner import mine, notes
from minidl.runtime.processes.parcel import PerRank
from minidl.runtime.virtual_world import VirtualWorld
from minidl.runtime.words.calling import call
from minidl.runtime.world import World
from minidl.trace import Trace

REAL_RANKS = 4  # ranks of a real run if the notebook has no World


class Outcome(NamedTuple):
    """One run of one function.

    results  what each rank returned; None if it did not return
    after    each rank's arguments as they were after the call; None if it did not return
    trace    the record, as far as the run got
    error    what ended the run, or None
    """

    results: list
    after: list
    trace: Trace
    error: MinidlError | None

    @property
    def not_done(self):
        """Did the function raise NotImplementedError, as a stub does?"""
        return isinstance(self.error, RankError) and "NotImplementedError" in str(self.error)

    @property
    def first_line(self):
        """The first line of the error; "" if there is none."""
        return "" if self.error is None else str(self.error).split("\n")[0]


def observed(fn, args, comm):
    """On a rank: (what `fn` returns, its arguments after the call)."""
    return call(fn, comm, args, {}), with_states(args)


def observed_on_a_meter(fn, args, comm):
    """The same on a meter, which counts the arguments as held."""
    for tensor in tensors_in(args):
        tensor.detach()  # the meter knows the tensors that it sees in an operation
    return observed(fn, args, comm)


def tensors_in(value):
    """All tensors in lists, tuples and dicts, and the parameters and buffers of models."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, torch.Tensor):
            yield leaf
        elif isinstance(leaf, torch.nn.Module):
            yield from leaf.parameters()
            yield from leaf.buffers()


def with_states(value):
    """The value with each model's state in place of the model, as a caged rank can send it back."""

    def state(leaf):
        return dict(leaf.state_dict()) if isinstance(leaf, torch.nn.Module) else leaf

    return tree_map(state, value)


class LocalArena:
    """Runs the functions of this notebook, unprotected: it is the learner's own machine."""

    watched = True  # a learner reads what a check says, or nbval does

    def after_check(self, report):
        """Keep a passed answer in the learner's own package, and note the progress."""
        source = self.source(report.fn)
        if report.passed:
            mine.keep_answer(report.task, report.fn, source)
        notes.note(report, source, current_book().seed)

    def run(self, fn, inputs, *, timeout=20, meter=False, **options):
        """Run `fn(*inputs[r])` on virtual rank r; returns an Outcome.

        meter: count memory and FLOPs, too; options: network, buffered and device of a VirtualWorld.
        """
        world = VirtualWorld(len(inputs), **options)
        return _outcome_of(world, fn, inputs, timeout, meter)

    def real(self, fn, inputs, *, timeout=20):
        """The same on real processes, in the notebook's own World if it has as many ranks."""
        world = _notebook_world()
        if world is not None and world.world_size == len(inputs):
            return _outcome_of(world, fn, inputs, timeout)
        # Otherwise in a World of its own, which ends with the check.
        with World(len(inputs)) as world:
            return _outcome_of(world, fn, inputs, timeout)

    def real_ranks(self):
        """How many ranks a real run has."""
        world = _notebook_world()
        return REAL_RANKS if world is None else world.world_size

    def source(self, fn):
        """The text of the cell, or file, that defines `fn`; "" if it is unknown."""
        code = getattr(fn, "__code__", None)
        return "" if code is None else "".join(linecache.getlines(code.co_filename))


def _notebook_world():
    """The World that the notebook has open, or None."""
    world = World.current
    return None if world is None or world.closed else world


def _outcome_of(world, fn, inputs, timeout, meter=False):
    """Run `fn` on a world as `observed`; returns the Outcome."""
    function = observed_on_a_meter if meter else observed
    # A run that ends in an error still has a record, and results of the ranks that returned.
    error = None
    try:
        world.run(function, fn, PerRank(inputs), timeout=timeout, meter=meter)
    except MinidlError as raised:
        error = raised
    pairs = [pair or (None, None) for pair in world.last.results]  # None: it did not return
    results = [result for result, _ in pairs]
    after = [arguments_after for _, arguments_after in pairs]
    return Outcome(results, after, world.last.trace, error)


_arenas: list[Any] = [LocalArena()]  # the last one is in use


def current():
    """The arena in which checks run now."""
    return _arenas[-1]


@contextlib.contextmanager
def use(arena):
    """Let checks run in `arena` inside this context."""
    _arenas.append(arena)
    try:
        yield arena
    finally:
        _arenas.pop()
