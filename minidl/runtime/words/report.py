"""What went wrong, in words: which ranks, which of the learner's lines, what the others did, what
to do.

Reads the Facts of a run and returns the error to raise. Nothing here finds out anything.
"""

import signal
from collections import defaultdict
from typing import NamedTuple

from minidl.errors import (
    DeadlockError,
    LeftoverError,
    MismatchError,
    NotInCell,
    RankDied,
    RankError,
    RankTimeout,
)
from minidl.runtime.words.calling import is_library
from minidl.runtime.words.deadlock import cycle
from minidl.runtime.words.last_words import last_words
from minidl.runtime.words.sources import place_name, source_line
from minidl.trace import MESSAGES, Wait


def some_ranks(ranks):
    """ "rank 2", "ranks 0 and 3", "ranks 0, 1 and 3"."""
    *others, last = map(str, sorted(ranks))
    if not others:
        return f"rank {last}"
    if len(others) >= 6:
        return f"{len(others) + 1} ranks ({', '.join(others[:3])}, ...)"
    return f"ranks {', '.join(others)} and {last}"


def have(ranks):
    """The verb: one rank has, two ranks have."""
    return "has" if len(ranks) == 1 else "have"


def place_and_code(place):
    """ "In [3], line 4: comm.send(x, 1)"."""
    code = source_line(place)
    return f"{place_name(place)}: {code}" if code else place_name(place)


def frames_in_words(lines):
    """The learner's frames of a traceback, indented."""
    return [
        f"      {place_name((file, line))}, in {function}: {source_line((file, line))}".rstrip(": ")
        for file, line, function in lines
    ]


def waits(facts):
    """Every unmet wait of the run as a trace.Wait, by rank; none if it ended well."""
    found = []
    if facts.well or (facts.forgotten and not facts.stuck and facts.everyone_returned):
        return found
    for rank, failure in facts.failures.items():  # a wait that ended as the other process was gone
        if failure.blocked is not None and failure.blocked.peer >= 0:
            found.append(_wait(rank, failure.blocked, failure.place))
    for rank, threads in facts.where.items():
        for thread in threads.values():
            for peer in thread.peers():
                blocked = thread.blocked._replace(peer=peer)
                found.append(_wait(rank, blocked, thread.place))
    return sorted(found)


def _wait(rank, blocked, place):
    return Wait(
        rank,
        blocked.peer,
        blocked.awaits,
        blocked.comm,
        blocked.number,
        place_name(place),
        blocked.in_words(),
    )


def everyone(facts, but=()):
    """A line or two per rank: where it is, or how it ended; finished ranks share one."""
    lines = []
    for rank in sorted(set(facts.ranks) - set(but)):
        if rank in facts.failures:
            failure = facts.failures[rank]
            lost = failure.type == "RankDied"
            lines.append(f"  rank {rank} {failure.message if lost else 'raised ' + failure.type}")
            lines += _at(failure)
        elif rank in facts.where:
            for ident, thread in facts.where[rank].items():
                main = ident == facts.main.get(rank)
                if main or thread.blocked or thread.lines:
                    background = "" if main else ", in the background,"
                    lines.append(f"  rank {rank}{background} {_activity(thread)}")
                    lines += _at(thread)
    finished = [rank for rank in facts.results if rank not in facts.where and rank not in but]
    if finished:
        lines.append(f"  {some_ranks(finished)} {have(finished)} finished")
    return lines


def _at(found):
    """Where a Whereabouts or a Failure is, indented; an empty list if nothing is known."""
    return _places(found.own_place, found.place) if found.place else []


def _places(own, innermost):
    """The learner's line, if there is one, and the concept's line below it, if that is another."""
    if own in (None, innermost):
        return [f"      {place_and_code(innermost)}"]
    return [f"      {place_and_code(own)}", f"      in {place_and_code(innermost)}"]


def _activity(thread):
    blocked = thread.blocked
    if blocked is None:
        return "computes, or waits for something that minidl cannot see"
    peers = thread.peers()
    if len(peers) > 1:
        everybody = blocked._replace(peer=-1)
        return f"{everybody.in_words()} for {some_ranks(peers)}"
    if peers:
        blocked = blocked._replace(peer=peers[0])
    return blocked.in_words()


class Verdict(NamedTuple):
    """What went wrong: the class of the error, the ranks it is about, the lines of its message."""

    kind: type
    ranks: list
    lines: list


def explain(facts, run):
    """The error that says what went wrong in this run."""
    kind, ranks, lines = (
        _mismatch(facts)
        or _death(facts)
        or _raised(facts)
        or _deadlock(facts)
        or _timeout(facts)
        or _lost(facts)
        or _forgotten(facts)
    )
    if facts.replaced:
        lines.append(
            f"A new process now runs as {some_ranks(facts.replaced)}; names that %%ranks cells "
            "gave it are gone."
        )
    error = kind("\n".join(lines), ranks, run)
    if kind is RankError:
        error.causes = {rank: facts.failures[rank].cause for rank in ranks}
    return error


# Each of these returns a Verdict, or None if the run did not end in this way.


def _mismatch(facts):
    if facts.mismatch is None:
        return None
    what, number, one, two = facts.mismatch
    title = f"Ranks {one.rank} and {two.rank} disagree on {what} {number}"
    if what == "message":
        lines = [f"{title} between them."]
    else:
        lines = [f"{title}."]
    if what == "message" and not any(is_library(side.place[0]) for side in (one, two)):
        remedy = "Give `like` the shape and dtype of what is sent."
    else:
        remedy = (
            "Every rank of a group must call the same collectives in the same order, with the "
            "same shapes."
        )
    for side in (one, two):
        lines += [f"  {side.in_words()}", *_places(_caller(facts, side), side.place)]
    lines.append(f"Nothing was sent. {remedy}")
    return Verdict(MismatchError, (one.rank, two.rank), lines)


def _caller(facts, side):
    """The learner's line that made this Claim, if the rank's stacks still show it, or None."""
    if side.rank in facts.failures:
        found = [facts.failures[side.rank]]
    else:
        found = list(facts.where.get(side.rank, {}).values())
    file = side.place[0]
    # A message of the background was posted in a thread where the learner has no line.
    through = [one for one in found if file in {line[0] for line in one.lines}]
    waiting = [one for one in found if one.blocked and one.blocked.kind == "background"]
    for one in through + waiting:
        if one.own_place is not None:
            return one.own_place
    return None


def _death(facts):
    died = {rank: status for rank, status in facts.died.items() if rank not in facts.killed}
    if not died:
        return None
    lines = []
    remedies = []
    for rank, status in sorted(died.items()):
        lines.append(f"Rank {rank} {_end_of_process(status, facts.crashing.get(rank))}.")
        last = last_words(facts.lines[rank])
        lines += [f"  its last words: {line}" for line in last.words]
        lines += frames_in_words(last.stack)
        remedies += last.remedy()
    lines += everyone(facts, but=died)
    lines.append("The other ranks were stopped, and the results of this run are lost.")
    lines += dict.fromkeys(remedies)
    return Verdict(RankDied, sorted(died), lines)


def _end_of_process(status, crash):
    """How a process ended. crash: the moment of its fault Crash, or None."""
    if crash is not None:
        return f"was killed by the fault Crash, at {crash}"
    if status is None or status >= 0:
        return f"ended by itself with exit code {status}: os._exit, or a library that gave up"
    name = signal.Signals(-status).name
    likely = " (out of memory, or killed by hand)" if name == "SIGKILL" else ""
    return f"died of {name}{likely}"


def _raised(facts):
    raised = {rank: f for rank, f in sorted(facts.failures.items()) if not f.link}
    if not raised:
        return None
    groups = defaultdict(list)  # ranks that raised the same kind of error on the same lines
    for rank, failure in raised.items():
        places = tuple(tuple(line[:2]) for line in failure.lines)
        groups[failure.type, places].append(rank)
    lines = []
    for ranks in groups.values():
        first = raised[ranks[0]]
        everybody = len(ranks) == len(facts.ranks) > 1
        who = "All ranks" if everybody else some_ranks(ranks).capitalize()
        messages = {raised[rank].message for rank in ranks}
        whose = f", on rank {ranks[0]}" if len(messages) > 1 else ""
        lines.append(f"{who} raised {first.type}{whose}: {first.message}")
        lines += frames_in_words(first.lines)
    others = everyone(facts, but=raised)
    if others and facts.where:
        lines += ["Meanwhile:", *others]
    outside = all(failure.type == "NotInCell" for failure in raised.values())
    return Verdict(NotInCell if outside else RankError, list(raised), lines)


def _deadlock(facts):
    if not facts.stuck:
        return None
    blocked = [(rank, facts.where[rank][thread].blocked) for rank, thread in sorted(facts.stuck)]
    if all(what is not None and what.leftover for _, what in blocked):
        return _leftover(blocked)
    ranks = sorted({rank for rank, _ in facts.stuck})
    stuck_waits = [wait for wait in waits(facts) if wait.rank in ranks]
    edges = defaultdict(set)
    for wait in stuck_waits:
        edges[wait.rank].add(wait.peer)
    ring = cycle(edges)
    finished = {wait.peer for wait in stuck_waits if wait.peer in facts.results}
    title = f"Deadlock: {_who_waits(ranks, ring, finished)}."
    remedy = _remedy(facts, ring or ranks, stuck_waits, finished)
    return Verdict(DeadlockError, ranks, [title, *everyone(facts), remedy])


def _who_waits(ranks, ring, finished):
    """ "rank 0 waits for rank 1, which waits for rank 0", or what is true without a ring."""
    if ring:
        others = [f"rank {rank}" for rank in [*ring[1:], ring[0]]]
        return f"rank {ring[0]} waits for " + ", which waits for ".join(others)
    who = f"{some_ranks(ranks)} {'waits' if len(ranks) == 1 else 'wait'} for"
    if finished:
        return f"{who} {some_ranks(finished)}, which {have(finished)} finished"
    return f"{who} each other"


def _remedy(facts, ranks, stuck_waits, finished):
    """What to do about a deadlock of these ranks, which wait for each other or the finished."""
    places = [facts.where[rank][thread].place for rank, thread in facts.stuck if rank in ranks]
    awaits = {wait.awaits for wait in stuck_waits}
    in_library = any(is_library(file) for file, _ in filter(None, places))
    if in_library or not awaits <= set(MESSAGES):
        rule = "every rank of the group must make the same calls, in the same order"
        if finished:
            return (
                f"{some_ranks(finished).capitalize()} {have(finished)} made one call fewer: {rule}."
                " In a training loop, every rank needs the same number of batches."
            )
        return f"The ranks are not in the same call: {rule}."
    if "recv" in awaits:
        return (
            "A send returns only when the other side receives. Let one side receive first, or use "
            "comm.exchange, which posts both at once."
        )
    return (
        "A receive needs a matching send: same communicator, same order. Compare the lines above."
    )


def _leftover(blocked):
    lines = ["The run ended with messages that were never received:"]
    for rank, what in blocked:
        message = f"message {what.number}, {what.size}"
        words = f"started {what.kind} number {what.number}, which not all ranks joined"
        if what.kind == "send":
            words = f"sent {message}, to rank {what.peer}, which never received it"
        elif what.kind == "recv":
            words = f"asked rank {what.peer} for {message}, which it never sent"
        group = "" if what.comm == "world" else f" (on group {what.comm})"
        lines.append(f"  rank {rank} {words}{group}")
    lines.append(
        "Each send needs a receive on the other side. Wait for the Work that start() returns to "
        "see where it hangs."
    )
    return Verdict(LeftoverError, sorted({rank for rank, _ in blocked}), lines)


def _timeout(facts):
    if not facts.timed_out:
        return None
    lines = [
        f"The run did not end within {facts.timeout:g} seconds.",
        *everyone(facts),
        "If it needs longer, say so: world.run(..., timeout=120). timeout=None waits without "
        "limit.",
    ]
    return Verdict(RankTimeout, sorted(facts.where), lines)


def _lost(facts):
    ranks = sorted(facts.failures)
    if not ranks:
        return None
    lines = [f"The connections of {some_ranks(ranks)} broke, and no rank died:"]
    for rank in ranks:
        failure = facts.failures[rank]
        lines += [f"  rank {rank}: {failure.message}", *frames_in_words(failure.lines)]
    return Verdict(RankError, ranks, lines)


def _forgotten(facts):
    starters = defaultdict(list)  # a line -> the ranks that did not wait for what it started
    for rank, places in sorted(facts.forgotten.items()):
        for place in places:
            starters[place].append(rank)
    lines = ["The run ended, and some of what was started was never waited for:"]
    for place, ranks in starters.items():
        lines.append(f"  {some_ranks(ranks)} started it here")
        lines.append(f"      {place_and_code(place)}")
    lines.append(
        "Call wait() on the Work that start() returns. Before that, what is received need not be "
        "there yet, and what is sent must not change."
    )
    return Verdict(LeftoverError, sorted(facts.forgotten), lines)
