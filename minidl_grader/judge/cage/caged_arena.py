"""Where checks run when a submission is graded: every rank a locked-in process, everything counted in the judge.

    arena = CagedArena("Ada", [("answer cell 1", "def double(x, comm): ...")])
    arena.run(Remote("double"), [(x,), (x,)])  ->  Outcome(results, after, trace, error)

A rank serves one case after the other as long as it behaves. After a hang or a death it is replaced, and a function that hung
gets less time from then on, so that many tasks that hang do not add up to an hour.
"""

import itertools
import time
from dataclasses import dataclass, field

import cloudpickle
import torch

from minidl.check.arena import Outcome
from minidl.errors import MinidlError, RankDied, RankError, RankTimeout
from minidl.runtime.virtual_world import VirtualWorld
from minidl.runtime.words.sources import learn_sources
from minidl.trace import Trace
from minidl_grader.judge.cage.cage_launch import Cage
from minidl_grader.judge.cage.caged_metering import ToldMeters
from minidl_grader.judge.cage.channel import Closed, Late
from minidl_grader.judge.cage.codec import CodecError, Function, Packed, encode
from minidl_grader.judge.cage.locks import RankLimits
from minidl_grader.judge.cage.relay import Account, Relay, death

KINDS = {
    "late": (RankTimeout, "RankTimeout"),
    "died": (RankDied, "RankDied"),
    "rogue": (RankError, "RankError"),
}
UNWIND = 0.1  # seconds in which a rank that behaves ends a call that is over elsewhere
BACKSTOP = 15  # seconds after its limit at which a run ends whatever happens
_runs, _numbers = {}, itertools.count()


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    case_seconds    of one run of one function;  later_seconds: once the function has not come to an end
    hangs           so many times a function is tried that does not come to an end
    seconds         of all runs together
    ranks           at once;  rank: what each of them may use
    """

    case_seconds: float = 10.0
    later_seconds: float = 2.0
    hangs: int = 3
    seconds: float = 120.0
    ranks: int = 128
    rank: RankLimits = field(default_factory=RankLimits)


class Remote:
    """An answer that only ranks have; the judge knows its name."""

    def __init__(self, name):
        self.name = self.__name__ = name

    def __call__(self, *_, **__):
        raise TypeError(f"{self.name} is an answer: it runs on caged ranks only, through a check")

    def __repr__(self):
        return f"Remote({self.name!r})"


class CagedArena:
    """An arena for check(): see grading/arena.py.

    learner  the name in the notebook
    cells    (name, source) of all setup and answer cells, in order; the names are those that errors tell
    cage     a Cage, which this arena then owns; None for a new one
    """

    watched = False

    def __init__(self, learner, cells, limits=Limits(), cage=None):
        self.learner, self.limits = learner, limits
        self.cage = Cage(limits.rank) if cage is None else cage
        self.cells = {name: [source, ""] for name, source in cells}
        learn_sources(
            {name: source.splitlines(keepends=True) for name, source in cells}
        )  # so that errors show the lines
        self.errors, self.notes, self.output, self.spent = {}, [], {}, 0.0
        self.processes, self.hung, self.tried = [], {}, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End all ranks and the cage; returns when nobody is left."""
        for process in self.processes:
            process.end()
        self.cage.close()

    # --- What checks ask -----------------------------------------------------------------------------------------

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
        """Run the answer `fn` on len(inputs) caged ranks; returns an Outcome. See LocalArena.run."""
        size, began = len(inputs), time.monotonic()
        meters = ToldMeters(device) if meter or device is not None else None
        metering = None if meters is None else [device is not None, buffered]
        seconds, refusal = self._allowance(fn.name, size, timeout)
        if refusal:
            return nothing(size, RankTimeout(refusal))
        try:
            self._try_cells()
            accounts = self._accounts(size, meters)
            calls = [
                encode(["run", rank, size, fn.name, sent(args), sent(arguments or {}), 0, metering])
                for rank, args in enumerate(inputs)
            ]
            return self._run(
                accounts,
                calls,
                seconds,
                VirtualWorld(size, network=network, buffered=buffered, device=device),
                fn.name,
                meters,
            )
        except (Closed, Late, CodecError):
            return nothing(
                size, RankDied("the cage broke down: a rank ended before it was asked anything")
            )
        finally:
            self.spent += time.monotonic() - began

    def real(self, fn, inputs, *, timeout=20, arguments=None):
        """The same: caged ranks are real processes."""
        return self.run(fn, inputs, timeout=timeout, arguments=arguments)

    def real_ranks(self):
        """How many ranks a real run has."""
        return 4

    def source(self, fn):
        """The text of all answer cells that name `fn`."""
        return "\n".join(
            source
            for name, (source, _) in self.cells.items()
            if name.startswith("answer") and fn.name in source
        )

    def after_check(self, report):
        """The judge reads reports in its book."""

    @property
    def isolation(self):
        """What locks the ranks in, in phrases."""
        for process in self.processes[:1] or self._grown(1):
            return list(process.words)

    # --- Ranks ---------------------------------------------------------------------------------------------------

    def _allowance(self, name, size, timeout):
        """(seconds for a run, "") or (0, why there is none)."""
        limits, hung = self.limits, self.hung.get(name, 0)
        left = limits.seconds - self.spent
        if size > limits.ranks:
            return 0, f"{size} ranks are more than the {limits.ranks} of a cage"
        if hung >= limits.hangs:
            return 0, f"{name} was not run again: it did not come to an end {hung} times"
        if left <= 0:
            return (
                0,
                f"{name} was not run: the {limits.seconds:g} seconds of this submission are used up",
            )
        return min(
            timeout or limits.case_seconds,
            limits.later_seconds if hung else limits.case_seconds,
            left,
        ), ""

    def _grown(self, size):
        """At least `size` ranks that behave."""
        self.processes = [process for process in self.processes if process.alive]
        while len(self.processes) < size:
            process = self.cage.start()
            self.processes.append(process)
            process.limit(time.monotonic() + 20)
            process.channel.send(
                "cells",
                self.learner,
                [[name, source, why] for name, (source, why) in self.cells.items()],
            )
        for process in self.processes[:size]:
            process.limit(time.monotonic() + 20)
            process.greet()
        return self.processes

    def _accounts(self, size, meters):
        company = []
        company += [
            Account(process, self.cells, company, meters) for process in self._grown(size)[:size]
        ]
        return list(company)

    def _try_cells(self):
        """Once, let a rank execute all cells; one that does not come to an end, or kills the rank, is left out from then on."""
        while not self.tried:
            process, name = self._grown(1)[0], None
            process.limit(time.monotonic() + self.limits.case_seconds)
            try:
                process.channel.send("try")
                while not self.tried:
                    for kind, told in process.channel.receive():
                        name = told if kind == "cell" and told in self.cells else name
                        self.errors, self.tried = (
                            (dict(told), True) if kind == "tried" else (self.errors, self.tried)
                        )
            except (Closed, Late, CodecError, ValueError, TypeError) as error:
                late = isinstance(error, Late)
                why = (
                    "the cell did not come to an end in time"
                    if late
                    else f"executing the cell, the process {death(process.end())}"
                )
                process.end()
                if name is None or self.cells[name][1]:
                    raise Closed from None
                self.cells[name][1] = self.errors[name] = why

    def _run(self, accounts, calls, seconds, world, name, meters):
        """One run; what the ranks print stays in self.output."""
        token, deadline, error = next(_numbers), time.monotonic() + seconds, None
        for account, call in zip(accounts, calls):
            account.process.limit(deadline)
            account.process.channel.send_bytes(call)
        _runs[token] = accounts
        try:
            world.run(serve, token, timeout=seconds + BACKSTOP, meter=meters)
        except MinidlError as raised:
            error = self._named(raised, accounts, name)
        finally:
            del _runs[token]
            self._settle(accounts)
        ended = [end if error is None or end is not None else None for end in world.last.results]
        self.output = {rank: end.printed for rank, end in enumerate(ended) if end is not None}
        return Outcome(
            [end and end.result for end in ended],
            [end and end.after for end in ended],
            world.last.trace,
            error,
        )

    def _named(self, error, accounts, name):
        """The error of the right kind: what ended a rank from outside is no exception of its function."""
        kind = next((account.trouble for account in accounts if account.trouble), None)
        if isinstance(error, RankTimeout) or kind == "late":
            self.hung[name] = self.hung.get(name, 0) + 1
        if kind is None:
            return error
        make, called = KINDS[kind]
        return make(str(error).replace(f" raised {called}: ", " "), error.ranks, error.run)

    def _settle(self, accounts):
        """Let ranks whose run is over elsewhere unwind; replace those that do not."""
        waiting = [account for account in accounts if not account.settled and account.process.alive]
        for account in waiting:
            account.process.limit(time.monotonic() + UNWIND)
            try:
                account.process.channel.send("over")
            except (Closed, Late):
                account.process.end()
        for account in waiting:
            if account.process.alive and not (unwound(account.process) and not account.lanes):
                account.process.end()


def serve(token, comm):
    """What each strand of the judge's world runs."""
    account = _runs[token][comm.rank]
    account.comms[0] = comm
    return Relay(account, account.process.channel).serve()


def unwound(process):
    """Does the rank tell in time that it has ended the call?"""
    try:
        return process.channel.receive()[-1] == ["over"]
    except (Closed, Late, CodecError):
        return False


def sent(value):
    """`value` with names in place of functions, which do not travel, and models and parameters packed."""
    if isinstance(value, Remote):
        return Function(value.name)
    if (
        isinstance(value, (torch.nn.Module, torch.nn.Parameter))
        or isinstance(value, torch.Tensor)
        and value.requires_grad
    ):
        return Packed(cloudpickle.dumps(value))
    if isinstance(value, (list, tuple)):
        return type(value)(sent(v) for v in value)
    if isinstance(value, dict):
        return {k: sent(v) for k, v in value.items()}
    return (
        Function(f"{value.__module__}:{value.__qualname__}")
        if callable(value) and hasattr(value, "__qualname__")
        else value
    )


def nothing(size, error):
    """The Outcome of a run that did not take place."""
    return Outcome([None] * size, [None] * size, Trace(size), error)
