"""What can be demanded of a function, beyond right values?

    trial (a function on a case)  --look-->  Sight(passed, wanted, counted, guilty)

A demand looks at what was recorded. It says what it wanted and what it counted, in numbers, and where it can,
which message is to blame. `leaves` is the part of a task's points that a failure leaves. contract.py strings them together.
"""

import ast
from typing import NamedTuple

import torch
from torch.utils._pytree import tree_leaves

from minidl.check.arena import plain
from minidl.check.formula import Formula
from minidl.check.values import difference, spelled


class Sight(NamedTuple):
    """What one demand saw in one case. guilty: an Event of the learner's run, or None."""

    passed: bool
    wanted: str
    counted: str
    guilty: object = None


class Demand:
    """One demand. key: its name in tables; leaves: the part of the points that is left where it fails."""

    key, leaves = "", 0.5

    def says(self):
        """The demand in words."""
        raise NotImplementedError

    def look(self, trial):
        """A Sight of one case; None where there is nothing to see."""
        raise NotImplementedError


class Values(Demand):
    """Every rank returns what the oracle says. oracle(inputs, rank, N) -> a value; ... where anything may be returned."""

    key = "values"

    def __init__(self, oracle, within=0.0):
        self.oracle, self.within = oracle, within

    def says(self):
        return "every rank returns the right values" + (
            f", within {self.within:g}" if self.within else ""
        )

    def look(self, trial):
        case, outcome = trial.case, trial.outcome
        if outcome.error is not None:
            return Sight(False, "a result on every rank", str(outcome.error).split("\n")[0])
        for rank in range(case.N):
            inputs = [
                args[0] if len(args) == 1 else args for args in case.fresh()
            ]  # an oracle may train a model that it is given
            expected = self.oracle(inputs, rank, case.N)
            wrong = difference(outcome.results[rank], expected, self.within)
            if wrong:
                return Sight(False, f"rank {rank} returns {spelled(expected)}", wrong)
        return Sight(True, "right on every rank", "right on every rank")


class Counted(Demand):
    """Each rank sends so many messages, or bytes. formula: see formula.py; at_most: fewer will do."""

    def __init__(self, what, formula, at_most=False):
        self.what, self.formula, self.at_most = what, Formula(formula), at_most
        self.key = "messages" if what == "messages" else "bytes"

    def says(self):
        most = "at most " if self.at_most else ""
        return f"each rank sends {most}{self.formula} {'messages' if self.what == 'messages' else 'bytes'}"

    def look(self, trial):
        case = trial.case
        wanted = [self.formula(N=case.N, n=case.n, rank=rank) for rank in range(case.N)]
        counted = trial.outcome.trace.sent(self.what)
        wrong = [
            r
            for r in range(case.N)
            if counted[r] > wanted[r] or (counted[r] < wanted[r] and not self.at_most)
        ]
        guilty = self._guilty(trial.outcome.trace, wrong[0], wanted[wrong[0]]) if wrong else None
        return Sight(not wrong, per_rank(wanted), per_rank(counted), guilty)

    def _guilty(self, trace, rank, wanted):
        """The message with which this rank goes beyond what is wanted; None if it sends too little."""
        total = 0
        for event in trace.where(rank=rank, kind="send"):
            total += 1 if self.what == "messages" else event.nbytes
            if total > wanted:
                return event
        return None


class Peers(Demand):
    """Messages go only to the ranks that `allowed(rank, N)` names."""

    key = "peers"

    def __init__(self, allowed, words):
        self.allowed, self.words = allowed, words

    def says(self):
        return f"messages go only to {self.words}"

    def look(self, trial):
        N = trial.case.N
        for event in trial.outcome.trace.where(kind="send"):
            allowed = set(self.allowed(event.rank, N))
            if event.peer not in allowed:
                listed = " or ".join(map(str, sorted(allowed))) or "nobody"
                return Sight(
                    False,
                    f"rank {event.rank} sends to {listed}",
                    f"rank {event.rank} sends to rank {event.peer}",
                    event,
                )
        return Sight(True, self.words, self.words)


class Steps(Demand):
    """The run is over after so many steps: one after the other, each of one message."""

    key = "steps"

    def __init__(self, formula):
        self.formula = Formula(formula)

    def says(self):
        return f"all is over after at most {self.formula} steps"

    def look(self, trial):
        wanted, counted = (
            self.formula(N=trial.case.N, n=trial.case.n),
            round(trial.outcome.trace.seconds()),
        )
        late = [
            e
            for e in trial.outcome.trace.where(kind="recv")
            if e.done is not None and e.done > wanted + 1e-9
        ]
        return Sight(
            counted <= wanted,
            f"at most {wanted}",
            str(counted),
            min(late, key=lambda e: e.done, default=None),
        )


class Seconds(Demand):
    """On `network` the run takes at most so many virtual seconds. With a Device, what a rank computes takes time, too."""

    key = "seconds"

    def __init__(self, formula, network, device=None):
        self.formula, self.network, self.device = Formula(formula), network, device

    def says(self):
        return f"takes at most {self.formula} virtual seconds on {self.network}"

    def look(self, trial):
        wanted = self.formula(N=trial.case.N, n=trial.case.n)
        run = (
            trial.on(self.network)
            if self.device is None
            else trial.computing_on(self.network, self.device)
        )
        if self.device is not None and run.error is not None:
            return Sight(False, f"at most {wanted * 1e6:.6g} us", str(run.error).split("\n")[0])
        counted = run.trace.seconds()
        return Sight(
            counted <= wanted * (1 + 1e-9),
            f"at most {wanted * 1e6:.6g} us",
            f"{counted * 1e6:.6g} us",
        )


PLAIN = (int, str, type(None))  # what else is in lists; NaN is not what it was, so no float


class Inputs(Demand):
    """Nobody changes what it was given."""

    key, leaves = "inputs", 0.75

    def says(self):
        return "the inputs are as they were"

    def look(self, trial):
        for rank, (before, after) in enumerate(zip(trial.case.inputs, trial.outcome.after)):
            if after is None:
                continue
            before, after = tree_leaves(plain(before)), tree_leaves(after)
            if len(before) != len(after):
                return Sight(
                    False,
                    f"rank {rank} still has {len(before)} values",
                    f"rank {rank} has {len(after)}",
                )
            for given, left in zip(before, after):
                if isinstance(given, torch.Tensor):
                    same = isinstance(left, torch.Tensor) and torch.equal(given, left)
                else:
                    same = (
                        not isinstance(given, PLAIN) or type(left) is type(given) and left == given
                    )
                if not same:
                    return Sight(
                        False,
                        f"rank {rank} still has {spelled(given)}",
                        f"rank {rank} has {spelled(left)}",
                    )
        return Sight(True, "unchanged", "unchanged")


class NeverDeadlocks(Demand):
    """The function ends also where a send waits until it is received."""

    key = "deadlock"

    def says(self):
        return "nobody waits for ever, also where a send waits until it is received"

    def look(self, trial):
        if trial.stuck:
            return Sight(False, "an end", str(trial.strict.error).split("\n")[0])
        return Sight(True, "an end", "an end")


class Without(Demand):
    """The answer does not use these modules, in its text or, as far as the record shows, while it runs."""

    key, leaves = "own work", 0.0

    def __init__(self, names):
        self.names = names

    def says(self):
        return f"written without {' and '.join(self.names)}"

    def look(self, trial):
        used = sorted(
            {name for name in self.names if name in imported(trial.arena.source(trial.fn))}
        )
        trace = trial.outcome.trace
        files = {line.split(",")[0] for line in trace.columns["line"]}
        if "minidl.collectives" in self.names and files & CONCEPT_FILES:
            used.append("minidl.collectives")
        if "torch.distributed" in self.names and trace.collectives():
            used.append("torch.distributed")
        return Sight(
            not used,
            "not used",
            f"uses {' and '.join(dict.fromkeys(used))}" if used else "not used",
        )


CONCEPT_FILES = {
    f"{name}.py" for name in ("naive", "ring", "tree", "doubling", "hierarchical", "native")
}


class LeavesUnequal(Demand):
    """Somewhere a rank sends another number of bytes than `formula` says: demanded of a wrong answer that fools others."""

    key = "impostor"

    def __init__(self, formula):
        self.formula = Formula(formula)

    def says(self):
        return f"the bytes are not the {self.formula} of an honest answer"

    def look(self, trial):
        case = trial.case
        if case.N < 3:
            return None
        honest = [self.formula(N=case.N, n=case.n, rank=rank) for rank in range(case.N)]
        counted = trial.outcome.trace.sent("nbytes")
        return Sight(counted != honest, f"other than {per_rank(honest)}", per_rank(counted))


class RealProcesses(Demand):
    """The values are right on real processes, too."""

    key, leaves = "real", 0.75

    def __init__(self, values):
        self.values = values

    def says(self):
        return "right on real processes, too"

    def look(self, trial):
        if not trial.real_here:
            return None
        return self.values.look(Real(trial))


class Real:
    """A trial whose outcome is that of the real run."""

    def __init__(self, trial):
        self.case, self.outcome = trial.case, trial.real


def per_rank(counts):
    """ "6" where all ranks count the same, else "rank 0: 3, rank 1: 1, ..."; the first six of many."""
    if len(set(counts)) == 1:
        return f"{counts[0]:,}"
    words = ", ".join(f"rank {rank}: {count:,}" for rank, count in enumerate(counts[:6]))
    return words + (", ..." if len(counts) > 6 else "")


def imported(source):
    """Every dotted name that the source imports or reaches, with its beginnings: {"torch", "torch.distributed", ...}."""
    names = set()
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return names
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names.add(alias.name)
                aliases[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            aliases |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    aliases.setdefault("torch", "torch")
    aliases.setdefault("minidl", "minidl")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names.add(dotted(node, aliases))
    return names | {name[:i] for name in names for i, letter in enumerate(name) if letter == "."}


def dotted(node, aliases):
    """The dotted name of an attribute, "torch.distributed.all_reduce"; "" where it begins with something else than a name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in aliases:
        return ""
    return ".".join([aliases[node.id], *reversed(parts)])
