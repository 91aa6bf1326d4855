"""What can be demanded of a function: right values, few messages, short time, own work?

    trial (a function on a case)  --look-->  Sight(passed, wanted, counted, guilty)

A demand is one class. It holds the word with which a check asks for it (a function marked @word),
the sentence that a learner reads (`says`), and what it finds in a trial (`look`): numbers, and the
message to blame, which the picture of the failing run marks. To add a demand, write a class.
demands_metered.py has those about memory, FLOPs and overlap.
"""

from collections import defaultdict
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils._pytree import tree_leaves

from minidl.check.answer_text import used_modules
from minidl.check.arena import with_states
from minidl.check.formula import Formula
from minidl.check.values import difference, in_few_words

# The record names a file by its base name; those of the algorithms are read from their folder.
COLLECTIVES = Path(__file__).parents[1] / "collectives"
CONCEPT_FILES = {path.name for path in COLLECTIVES.glob("*.py") if path.name != "__init__.py"}


class Sight(NamedTuple):
    """What one demand saw in one case, in words. guilty: the Event that is to blame, or None."""

    passed: bool
    wanted: str
    counted: str
    guilty: object = None


class Sentence:
    """A check in the making: its demands so far. Each demand below adds a method, its word."""

    def __init__(self):
        self.demands = []

    def demand(self, *demands):
        """Add these demands; returns the sentence, so that the next word can follow."""
        self.demands += demands
        return self


def word(method):
    """Make this function of a demand's class a method of Sentence, as in check(f).equals(...)."""
    setattr(Sentence, method.__name__, method)
    return staticmethod(method)


class Demand:
    """One demand; a dataclass of what the check says about it.

    key         its name in tables
    text        the demand in words, with the names of its fields in braces
    leaves      the part of the points that is left if it fails
    by_case     are points earned for each case that meets it, in place of `leaves`?
    needs_real  does it look at a run on real processes?
    """

    key = ""
    text = ""
    leaves = 0.5
    by_case = False
    needs_real = False

    def says(self):
        """The demand in words."""
        return self.text.format(**vars(self))

    def look(self, trial):
        """A Sight of one trial; None if there is nothing to see."""
        raise NotImplementedError


# --- What is returned ----------------------------------------------------------------------------


@dataclass(eq=False)
class Values(Demand):
    """Every rank returns what the oracle says."""

    oracle: object
    within: float
    key = "values"
    text = "every rank returns the right values"
    by_case = True

    @word
    def equals(sentence, oracle, within=0.0):
        """Every rank returns oracle(inputs, rank, N). inputs: the arguments of all ranks.

        The oracle may return `...` for any value. within: the tolerance, relative and absolute.
        """
        return sentence.demand(Values(oracle, within))

    def says(self):
        return f"{self.text}, within {self.within:g}" if self.within else self.text

    def look(self, trial):
        return self.sight_of(trial.case, trial.outcome)

    def sight_of(self, case, outcome):
        """The Sight of one Outcome."""
        if outcome.error is not None:
            return Sight(False, "a result on every rank", outcome.first_line)
        for rank in range(case.N):
            # Fresh inputs for each rank, because an oracle may train a model that it is given.
            inputs = [args[0] if len(args) == 1 else args for args in case.fresh()]
            expected = self.oracle(inputs, rank, case.N)
            wrong = difference(outcome.results[rank], expected, self.within)
            if wrong:
                return Sight(False, f"rank {rank} returns {in_few_words(expected)}", wrong)
        return Sight(True, "right on every rank", "right on every rank")


@dataclass(eq=False)
class RealProcesses(Demand):
    """The values are right on real processes, too."""

    values: Values
    key = "real"
    text = "right on real processes, too"
    leaves = 0.75
    needs_real = True

    @word
    def on_real_processes(sentence):
        """The values are right on real processes, too, as many as the notebook's World has."""
        # The same oracle as on virtual ranks: equals() comes first in the sentence.
        values = next(demand for demand in sentence.demands if isinstance(demand, Values))
        return sentence.demand(RealProcesses(values))

    def look(self, trial):
        return self.values.sight_of(trial.case, trial.real) if trial.on_real else None


@dataclass(eq=False)
class Inputs(Demand):
    """No rank changes its inputs."""

    key = "inputs"
    text = "the inputs are as they were"
    leaves = 0.75
    plain = (int, str, type(None))  # what is compared beside tensors; no float, because NaN != NaN

    @word
    def leaves_inputs_alone(sentence):
        """No rank changes what it was given."""
        return sentence.demand(Inputs())

    def look(self, trial):
        for rank, (given, after) in enumerate(zip(trial.case.inputs, trial.outcome.after)):
            if after is None:  # the rank did not return
                continue
            change = self._change(tree_leaves(with_states(given)), tree_leaves(after))
            if change is not None:
                had, has = change
                return Sight(False, f"rank {rank} still has {had}", f"rank {rank} has {has}")
        return Sight(True, "unchanged", "unchanged")

    def _change(self, before, after):
        """What the inputs were and what they are, in words; None if they are the same."""
        if len(before) != len(after):
            return f"{len(before)} values", str(len(after))
        for value, left in zip(before, after):
            if isinstance(value, torch.Tensor):
                same = isinstance(left, torch.Tensor) and torch.equal(value, left)
            else:
                same = not isinstance(value, self.plain) or (
                    type(left) is type(value) and left == value
                )
            if not same:
                return in_few_words(value), in_few_words(left)
        return None


# --- What is sent --------------------------------------------------------------------------------


@dataclass(eq=False)
class Counted(Demand):
    """Each rank sends this many messages, or bytes."""

    formula: Formula
    most: str  # "at most ", or "" for exactly
    key: str  # "messages" or "bytes"
    text = "each rank sends {most}{formula} {key}"

    @word
    def sends(sentence, messages=None, nbytes=None, most=""):
        """Each rank sends exactly this. Formulas over N, n and rank, as strings or functions."""
        if messages is not None:
            sentence.demand(Counted(Formula(messages), most, "messages"))
        if nbytes is not None:
            sentence.demand(Counted(Formula(nbytes), most, "bytes"))
        return sentence

    @word
    def sends_at_most(sentence, messages=None, nbytes=None):
        """Each rank sends no more than this."""
        return sentence.sends(messages, nbytes, most="at most ")

    def look(self, trial):
        trace = trial.outcome.trace
        wanted = self.formula.for_each_rank(trial.case)
        # The record counts messages that it had no room for, too.
        counted = trace.sent("messages" if self.key == "messages" else "nbytes")
        words = per_rank(wanted), per_rank(counted)
        for rank, (count, limit) in enumerate(zip(counted, wanted)):
            if count > limit or (count < limit and not self.most):
                return Sight(False, *words, self._first_too_many(trace, rank, limit))
        return Sight(True, *words)

    def _first_too_many(self, trace, rank, wanted):
        """The first message of this rank beyond what is wanted; None if it sends too little."""
        # Count along the record until the limit is passed: that message is to blame.
        total = 0
        for event in trace.where(rank=rank, kind="send"):
            total += 1 if self.key == "messages" else event.nbytes
            if total > wanted:
                return event
        return None


@dataclass(eq=False)
class Peers(Demand):
    """Messages go only to certain ranks."""

    allowed: object
    words: str
    key = "peers"
    text = "messages go only to {words}"

    @word
    def only_to(sentence, allowed, words):
        """Messages go only to the ranks in allowed(rank, N), a set. words: what they are."""
        return sentence.demand(Peers(allowed, words))

    @word
    def only_to_neighbours(sentence):
        """Messages go only to the left and the right neighbour on the ring."""
        return sentence.only_to(
            lambda rank, N: {(rank - 1) % N, (rank + 1) % N}, "the neighbours on the ring"
        )

    def look(self, trial):
        for event in trial.outcome.trace.where(kind="send"):
            allowed = self.allowed(event.rank, trial.case.N)
            if event.peer not in allowed:
                sends = f"rank {event.rank} sends to"
                ranks = " or ".join(map(str, sorted(allowed)))
                wanted = f"{sends} {ranks or 'no rank'}"
                return Sight(False, wanted, f"{sends} rank {event.peer}", event)
        return Sight(True, self.words, self.words)


@dataclass(eq=False)
class LinkBytes(Demand):
    """No link carries more bytes than this, all ranks together.

    island 0 1 2 =====one cable===== 3 4 5 island      link(1, 4, N) -> "cable"
                                                       link(1, 2, N) -> None: not counted
    Counting per rank misses this: a ring all-reduce sends few bytes from each rank, and still
    almost twice as many over the cable as two islands need.
    """

    formula: Formula
    link: object
    words: str
    key = "link"
    text = "{words} carries at most {formula} bytes"

    @word
    def carries_at_most(sentence, nbytes, link, words):
        """No link carries more bytes. link(source, to, N): the name of the link, or None."""
        return sentence.demand(LinkBytes(Formula(nbytes), link, words))

    def look(self, trial):
        N = trial.case.N
        wanted = self.formula.for_all(trial.case)
        carried = defaultdict(int)
        guilty = None
        # All ranks share a link, so their messages are taken in the order of time.
        sends = trial.outcome.trace.where(kind="send")
        for event in sorted(sends, key=attrgetter("posted")):
            name = self.link(event.rank, event.peer, N)
            if name is not None:
                carried[name] += event.nbytes
                if guilty is None and carried[name] > wanted:
                    guilty = event
        most = max(carried.values(), default=0)
        return Sight(guilty is None, f"at most {wanted:,}", f"{most:,}", guilty)


@dataclass(eq=False)
class LeavesUnequal(Demand):
    """Some rank sends another number of bytes than an honest answer."""

    formula: Formula
    key = "impostor"
    text = "the bytes are not the {formula} of an honest answer"

    @word
    def differs_from_honest(sentence, nbytes):
        """For a task that asks for a wrong answer: from 3 ranks on, the bytes tell it apart."""
        return sentence.demand(LeavesUnequal(Formula(nbytes)))

    def look(self, trial):
        # On one or two ranks the bytes may well be those of an honest answer.
        if trial.case.N < 3:
            return None
        honest = self.formula.for_each_rank(trial.case)
        counted = trial.outcome.trace.sent("nbytes")
        return Sight(counted != honest, f"other than {per_rank(honest)}", per_rank(counted))


# --- When it ends --------------------------------------------------------------------------------


@dataclass(eq=False)
class Steps(Demand):
    """The run ends after this many steps: one after the other, each of one message."""

    formula: Formula
    key = "steps"
    text = "the run ends after at most {formula} steps"

    def look(self, trial):
        trace = trial.outcome.trace
        wanted = self.formula.for_all(trial.case)
        counted = round(trace.seconds())
        limit = wanted + 1e-9  # a hair more is rounding
        late = [event for event in trace.where(kind="recv") if event.done and event.done > limit]
        first_late = min(late, key=attrgetter("done"), default=None)
        return Sight(counted <= wanted, f"at most {wanted}", str(counted), first_late)


@dataclass(eq=False)
class VirtualSeconds(Demand):
    """The run takes at most this many virtual seconds on a network, and on a Device if given."""

    formula: Formula
    network: object
    device: object
    key = "seconds"
    text = "takes at most {formula} virtual seconds on {network}"

    @word
    def takes(sentence, steps=None, seconds=None, on=None, device=None):
        """At most `steps` steps, or `seconds` virtual seconds on the network `on`.

        device: None, or a Device on which computing takes time, too.
        """
        if steps is not None:
            sentence.demand(Steps(Formula(steps)))
        if seconds is not None:
            sentence.demand(VirtualSeconds(Formula(seconds), on, device))
        return sentence

    def look(self, trial):
        seconds = self.formula.for_all(trial.case)
        wanted = f"at most {seconds * 1e6:.6g} us"
        on_device = self.device is not None
        run = trial.on(self.network, self.device, meter=on_device)
        if on_device and run.error:
            return Sight(False, wanted, run.first_line)
        counted = run.trace.seconds()
        in_time = counted <= seconds * (1 + 1e-9)
        return Sight(in_time, wanted, f"{counted * 1e6:.6g} us")


@dataclass(eq=False)
class NeverDeadlocks(Demand):
    """The run ends even if a send blocks until it is received."""

    key = "deadlock"
    text = "never deadlocks, even if a send blocks until it is received"

    @word
    def never_deadlocks(sentence):
        """The run ends even if each send blocks until it is received."""
        return sentence.demand(NeverDeadlocks())

    def look(self, trial):
        counted = trial.strict.first_line if trial.stuck else "an end"
        return Sight(not trial.stuck, "an end", counted)


# --- Whose work it is ----------------------------------------------------------------------------


@dataclass(eq=False)
class Without(Demand):
    """The answer uses none of these modules: not in its text, and not in the record of its run."""

    modules: tuple
    key = "own work"
    leaves = 0.0

    @word
    def without(sentence, *modules):
        """The answer uses none of these modules."""
        return sentence.demand(Without(modules))

    def says(self):
        return f"written without {' and '.join(self.modules)}"

    def look(self, trial):
        used = used_modules(trial.arena.source(trial.fn))
        trace = trial.outcome.trace
        # An answer may hide an import from its text; the record names the file that sent a message.
        files = {event.place[0] for event in trace}
        if files & CONCEPT_FILES:
            used.add("minidl.collectives")
        if trace.collectives():
            used.add("torch.distributed")
        used = sorted(used & set(self.modules))
        found = f"uses {' and '.join(used)}" if used else "not used"
        return Sight(not used, "not used", found)


def per_rank(counts):
    """ "6" if all counts are equal, else "rank 0: 3, rank 1: 1, ...", at most six of them."""
    if len(set(counts)) == 1:
        return f"{counts[0]:,}"
    words = [f"rank {rank}: {count:,}" for rank, count in enumerate(counts[:6])]
    if len(counts) > 6:
        words.append("...")
    return ", ".join(words)
