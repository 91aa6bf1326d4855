"""Where checks run when a submission is graded: ranks are locked-in processes, the judge counts.

    arena = CagedArena("Ada", [("answer cell 1", "def double(x, comm): ...")])
    arena.run(Remote("double"), [(x,), (x,)])  ->  Outcome(results, after, trace, error)

A rank serves one case after the other as long as it behaves. After a hang or a death it is
replaced, and a function that hung gets less time from then on, so that many tasks that hang do not
add up to an hour.
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
from minidl_grader.judge.cage.account import Account
from minidl_grader.judge.cage.cage_launch import Cage
from minidl_grader.judge.cage.caged_metering import ToldMeters
from minidl_grader.judge.cage.channel import Closed, Late
from minidl_grader.judge.cage.codec import CodecError, Function, Packed, encode
from minidl_grader.judge.cage.locks import RankLimits
from minidl_grader.judge.cage.relay import Relay, death

KINDS = {"late": RankTimeout, "died": RankDied, "rogue": RankError}
UNWIND = 0.1  # seconds in which a rank that behaves ends a call that is over elsewhere
BACKSTOP = 15  # seconds after its limit at which a run ends whatever happens
FRESH = 20  # seconds in which a new rank must have said which locks are in force
_runs = {}  # token: the accounts of a run. The strands of its VirtualWorld find them here
_tokens = itertools.count()


@dataclass(frozen=True)
class CaseLimits:
    """What one submission may use.

    case_seconds    of one run of one function
    later_seconds   the same, after a run of this function has not come to an end
    hangs           runs of a function that do not come to an end, before it is given up
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
    """An arena for check(): see minidl/check/arena.py.

    learner  the name in the notebook
    cells    (name, source) of all setup and answer cells, in order; errors show the names
    cage     a Cage, which this arena then owns; None for a new one
    """

    watched = False

    def __init__(self, learner, cells, limits=CaseLimits(), cage=None):
        self.learner = learner
        self.limits = limits
        self.cage = Cage(limits.rank) if cage is None else cage
        self.sources = dict(cells)
        learn_sources(  # so that errors show the lines
            {name: source.splitlines(keepends=True) for name, source in cells}
        )
        self.refused = dict.fromkeys(self.sources, "")  # why ranks must not execute a cell
        self.errors = {}  # why executing a cell failed
        self.notes = []
        self.output = {}  # what the ranks of the last run printed
        self.spent = 0.0  # seconds of all runs
        self.hung = {}  # how often a function did not come to its end
        self.processes = []
        self.tried = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End all ranks and the cage; returns when nobody is left."""
        for process in self.processes:
            process.end()
        self.cage.close()

    # --- What checks ask ----------------------------------------------------------------------

    def run(
        self,
        fn,
        inputs,
        *,
        network=None,
        buffered=False,
        timeout=20,
        device=None,
        meter=False,
    ):
        """Run the answer `fn` on len(inputs) caged ranks.

        Returns an Outcome. See LocalArena.run.
        """
        began = time.monotonic()
        size = len(inputs)
        meters = ToldMeters(device) if meter or device is not None else None
        metering = None if meters is None else [device is not None, buffered]
        seconds, refusal = self._allowance(fn.name, size, timeout)
        if refusal:
            return nothing(size, RankTimeout(refusal))
        world = VirtualWorld(size, network=network, buffered=buffered, device=device)
        try:
            self._try_cells()
            accounts = self._accounts(size, meters)
            calls = [  # all encoded before the first is sent: one may hold what cannot travel
                encode(["run", rank, size, fn.name, sent(args), 0, metering])
                for rank, args in enumerate(inputs)
            ]
            deadline = time.monotonic() + seconds
            for account, call in zip(accounts, calls):
                account.process.limit(deadline)
                account.process.channel.send_bytes(call)
            return self._served(world, accounts, seconds, fn.name, meters)
        except (Closed, Late, CodecError):
            broken = "the cage broke down: a rank ended before it was called"
            return nothing(size, RankDied(broken))
        finally:
            self.spent += time.monotonic() - began

    def real(self, fn, inputs, *, timeout=20):
        """The same: caged ranks are real processes."""
        return self.run(fn, inputs, timeout=timeout)

    def real_ranks(self):
        """How many ranks a real run has."""
        return 4

    def source(self, fn):
        """The text of all answer cells that name `fn`."""
        return "\n".join(
            source
            for name, source in self.sources.items()
            if name.startswith("answer") and fn.name in source
        )

    def after_check(self, report):
        """The judge reads reports in its book."""

    @property
    def isolation(self):
        """What locks the ranks in, in phrases."""
        for process in self.processes[:1] or self._grown(1):
            return list(process.words)

    # --- Ranks --------------------------------------------------------------------------------

    def _allowance(self, name, size, timeout):
        """(seconds for a run, "") or (0, why there is none)."""
        limits = self.limits
        hung = self.hung.get(name, 0)
        left = limits.seconds - self.spent
        if size > limits.ranks:
            return 0, f"{size} ranks are more than the {limits.ranks} of a cage"
        if hung >= limits.hangs:
            return 0, f"{name} was not run again: it did not come to an end {hung} times"
        if left <= 0:
            total = f"{limits.seconds:g} seconds"
            return 0, f"{name} was not run: the {total} of this submission are used up"
        case = limits.later_seconds if hung else limits.case_seconds
        return min(timeout or limits.case_seconds, case, left), ""

    def _grown(self, size):
        """At least `size` ranks that behave."""
        self.processes = [process for process in self.processes if process.alive]
        cells = [[name, source, self.refused[name]] for name, source in self.sources.items()]
        while len(self.processes) < size:
            process = self.cage.start()
            self.processes.append(process)
            process.limit(time.monotonic() + FRESH)
            process.channel.send("cells", self.learner, cells)
        for process in self.processes[:size]:
            process.limit(time.monotonic() + FRESH)
            process.greet()
        return self.processes

    def _accounts(self, size, meters):
        accounts = []
        company = []  # a list of its own: grace() empties it
        for process in self._grown(size)[:size]:
            accounts.append(Account(process, self.sources, company, meters))
        company += accounts
        return accounts

    def _try_cells(self):
        """Once, let a rank execute all cells.

        A cell that hangs, or kills the rank, is left out from then on.
        """
        while not self.tried:
            process = self._grown(1)[0]
            process.limit(time.monotonic() + self.limits.case_seconds)
            name = None  # of the cell that the rank executes now
            try:
                process.channel.send("try")
                while not self.tried:
                    for kind, value in process.channel.receive():
                        if kind == "cell" and value in self.sources:
                            name = value
                        elif kind == "tried":
                            self.errors = dict(value)
                            self.tried = True
            except Late:
                self._refuse(process, name, "the cell did not come to an end in time")
            except (Closed, CodecError, ValueError, TypeError):
                ended = death(process.end())
                self._refuse(process, name, f"executing the cell, the process {ended}")

    def _refuse(self, process, name, why):
        """Leave a cell out from now on, and go on with another rank."""
        process.end()
        if name is None or self.refused[name]:
            raise Closed
        self.refused[name] = self.errors[name] = why

    def _served(self, world, accounts, seconds, name, meters):
        """Serve ranks that have been called until all have ended; returns an Outcome."""
        token = next(_tokens)
        error = None
        _runs[token] = accounts
        try:
            world.run(_serve_rank, token, timeout=seconds + BACKSTOP, meter=meters)
        except MinidlError as raised:
            error = self._named(raised, accounts, name)
        finally:
            del _runs[token]
            self._settle(accounts)
        ends = world.last.results  # a CallEnd each, None for a rank that did not return
        self.output = {rank: end.printed for rank, end in enumerate(ends) if end is not None}
        results = [end and end.result for end in ends]
        after = [end and end.after for end in ends]
        return Outcome(results, after, world.last.trace, error)

    def _named(self, error, accounts, name):
        """The error of the right kind: a rank that was ended from outside has raised nothing."""
        kind = next((account.trouble for account in accounts if account.trouble), None)
        if isinstance(error, RankTimeout) or kind == "late":
            self.hung[name] = self.hung.get(name, 0) + 1
        if kind is None:
            return error
        words = str(error).replace(f" raised {KINDS[kind].__name__}: ", " ")
        return KINDS[kind](words, error.ranks, error.run)

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
            process = account.process
            if process.alive and not (unwound(process) and not account.lanes):
                process.end()


def _serve_rank(token, comm):
    """What each strand of the judge's world runs."""
    account = _runs[token][comm.rank]
    account.comms[0] = comm
    return Relay(account, account.process.channel).serve()


def unwound(process):
    """Does the rank say in time that it has ended the call?"""
    try:
        return process.channel.receive()[-1] == ["over"]
    except (Closed, Late, CodecError):
        return False


def sent(value):
    """`value` as it travels: names in place of functions, models and parameters packed."""
    if isinstance(value, Remote):
        return Function(value.name)
    needs_grad = isinstance(value, torch.Tensor) and value.requires_grad
    if needs_grad or isinstance(value, (torch.nn.Module, torch.nn.Parameter)):
        return Packed(cloudpickle.dumps(value))
    if isinstance(value, (list, tuple)):
        return type(value)(sent(item) for item in value)
    if isinstance(value, dict):
        return {key: sent(item) for key, item in value.items()}
    if callable(value) and hasattr(value, "__qualname__"):
        return Function(f"{value.__module__}:{value.__qualname__}")
    return value


def nothing(size, error):
    """The Outcome of a run that did not take place."""
    return Outcome([None] * size, [None] * size, Trace(size), error)
