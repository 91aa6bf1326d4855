"""What went wrong, in words: which ranks, which of the learner's lines, what the others did, the remedy.

Reads the facts that attend.py gathered and returns the error to raise. Nothing here finds out anything.
"""

import pickle
import signal

from minidl.errors import (
    DeadlockError,
    LeftoverError,
    MismatchError,
    NotInCell,
    RankDied,
    RankError,
    RankTimeout,
)
from minidl.runtime.words.calling import waiting_for
from minidl.runtime.words.deadlock import cycle
from minidl.runtime.words.sources import place_name, source_line
from minidl.runtime.words.stacks import parse
from minidl.trace import Wait


def some_ranks(ranks):
    """ "rank 2", "ranks 0 and 3", "ranks 0, 1 and 3"."""
    ranks = sorted(ranks)
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if len(ranks) > 6:
        return f"{len(ranks)} ranks ({ranks[0]}, {ranks[1]}, {ranks[2]}, ...)"
    return f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]}"


def at(place):
    """ "In [3], line 4: comm.send(x, 1)"."""
    code = source_line(place)
    return f"{place_name(place)}: {code}" if code else place_name(place)


def waits(facts):
    """Every unmet wait of the run as a trace.Wait, by rank."""
    found = _lost_waits(facts)
    for rank in sorted(facts.where):
        for needs, what, lines in facts.where[rank].values():
            if needs is None or what is None:
                continue
            kind, comm, peer, number, place, _, size = what
            place = lines[-1][:2] if lines else place
            for need in facts.unmet(needs):
                if need.thread is None:
                    awaits = {"send": "recv", "recv": "send"}.get(kind, kind)
                    found.append(
                        Wait(
                            rank,
                            need.rank,
                            awaits,
                            comm,
                            number,
                            place_name(place),
                            waiting_for(kind, comm, need.rank, number, size=size),
                        )
                    )
    return sorted(found)


def _lost_waits(facts):
    """The waits that ended because the other rank's process was gone."""
    found = []
    for rank, failure in facts.failures.items():
        if failure.get("waiting"):
            kind, comm, peer, number, place, _, _ = failure["waiting"]
            place = failure["lines"][-1][:2] if failure["lines"] else place
            if peer >= 0:
                found.append(
                    Wait(
                        rank,
                        peer,
                        {"send": "recv", "recv": "send"}[kind],
                        comm,
                        number,
                        place_name(place),
                        failure["message"],
                    )
                )
    return found


def everyone(facts, but=()):
    """A line or two per rank: where it is, or how it ended; finished ranks share one."""
    told, waiting = [], {}
    for wait in waits(facts):
        waiting.setdefault(wait.rank, []).append(wait)
    for rank in sorted(set(facts.ranks) - set(but)):
        if rank in facts.where and rank not in facts.failures:
            told += _whereabouts(rank, facts, waiting.get(rank, []))
        elif rank in facts.failures:
            failure = facts.failures[rank]
            told.append(
                f"  rank {rank} {failure['message'] if failure['type'] == 'RankDied' else 'raised ' + failure['type']}"
            )
            told += [f"      {at(place)}" for place in [line[:2] for line in failure["lines"]][-1:]]
    finished = [rank for rank in facts.results if rank not in facts.where and rank not in but]
    if finished:
        told.append(f"  {some_ranks(finished)} {'has' if len(finished) == 1 else 'have'} finished")
    return told


def _whereabouts(rank, facts, own):
    told = []
    for ident, (needs, what, lines) in facts.where[rank].items():
        main = ident == facts.main.get(rank)
        if needs is None and not (main or lines):
            continue
        place = lines[-1][:2] if lines else (what[4] if what else None)
        told.append(f"  rank {rank}{'' if main else ', in the background,'} {_activity(what, own)}")
        told += [f"      {at(place)}"] if place else []
    return told


def _activity(what, own):
    if what is None:
        return "computes, or waits for something that minidl cannot see"
    kind, comm, peer, number, *_ = what
    mine = [
        wait
        for wait in own
        if (wait.comm, wait.number) == (comm, number) and peer in (-1, wait.peer)
    ]
    if len(mine) == 1:
        return mine[0].text
    if mine:
        return (
            f"{waiting_for(kind, comm, -1, number)} for {some_ranks({wait.peer for wait in mine})}"
        )
    return waiting_for(kind, comm, peer, number, size=what[6])


def lines_of(lines):
    """The learner's frames of a traceback, indented."""
    return [
        f"      {place_name((file, line))}, in {function}: {source_line((file, line))}".rstrip(": ")
        for file, line, function in lines
    ]


def explain(facts, run):
    """The error that tells what went wrong in this run."""
    error = (
        _mismatch(facts)
        or _death(facts)
        or _raised(facts)
        or _deadlock(facts)
        or _timeout(facts)
        or _lost(facts)
    )
    kind, ranks, lines, extra = error
    if facts.replaced:
        lines.append(
            f"A new process now runs as {some_ranks(facts.replaced)}; names that %%ranks cells gave it are gone."
        )
    return kind("\n".join(lines), ranks=ranks, run=run, **extra)


def _mismatch(facts):
    if facts.mismatch is None:
        return None
    what, number, one, two = facts.mismatch
    ranks = (one[0], two[0])
    title = f"Ranks {one[0]} and {two[0]} disagree on {what} {number}" + (
        " between them." if what == "message" else "."
    )
    lines = [title] + [
        f"  rank {rank} {verb} {words}\n      {at(place)}"
        for rank, verb, words, place in (one, two)
    ]
    remedy = (
        "Give `like` the shape and dtype of what is sent."
        if what == "message"
        else "Every rank of a group must call the same collectives in the same order, with the same shapes."
    )
    return MismatchError, ranks, [*lines, f"Nothing was sent. {remedy}"], {}


def _death(facts):
    died = {r: s for r, s in facts.died.items() if r not in facts.killed}
    if not died:
        return None
    lines = []
    for rank, status in sorted(died.items()):
        if rank in facts.crashing:
            how = f"was killed by the fault Crash, at {facts.crashing[rank]}"
        elif status is not None and status < 0:
            name = signal.Signals(-status).name
            how = f"died of {name}" + (
                " (out of memory, or killed by hand)" if name == "SIGKILL" else ""
            )
        else:
            how = f"ended by itself with exit code {status}: os._exit, or a library that gave up"
        lines.append(f"Rank {rank} {how}.")
        lines += [f"  its last words: {line}" for line in _last_words(facts.lines[rank])]
    lines += everyone(facts, but=died)
    lines.append("The other ranks were stopped, and the results of this run are lost.")
    return RankDied, sorted(died), lines, {}


def _last_words(lines):
    """The last three lines that a rank wrote; after a crash in C code, where its Python stood."""
    fatal = [i for i, line in enumerate(lines) if line.startswith("Fatal Python error")]
    current = [i for i, line in enumerate(lines) if line.startswith("Current thread")]
    if fatal and current:
        [stack] = parse(lines[current[-1] :]).values()
        return [lines[fatal[-1]], *(line.strip() for line in lines_of(stack))]
    return [line for line in lines if line][-3:]


def _raised(facts):
    raised = {r: f for r, f in facts.failures.items() if f["kind"] != "link"}
    if not raised:
        return None
    groups = {}
    for rank, f in sorted(raised.items()):
        groups.setdefault((f["kind"], f["type"], tuple(l[:2] for l in f["lines"])), []).append(rank)
    lines = []
    for (_, name, _), ranks in groups.items():
        everybody, messages = (
            len(ranks) == len(facts.ranks) > 1,
            {raised[rank]["message"] for rank in ranks},
        )
        who = "All ranks" if everybody else some_ranks(ranks).capitalize()
        whose = f", on rank {ranks[0]}" if len(messages) > 1 else ""
        lines.append(f"{who} raised {name}{whose}: {raised[ranks[0]]['message']}")
        lines += lines_of(raised[ranks[0]]["lines"])
    told = everyone(facts, but=raised)
    if told and any(r in facts.where for r in facts.ranks):
        lines += ["Meanwhile:", *told]
    only_cell = all(f["kind"] == "not in cell" for f in raised.values())
    causes = {r: _unpickle(f["pickle"]) for r, f in raised.items()}
    return (
        (NotInCell, sorted(raised), lines, {})
        if only_cell
        else (RankError, sorted(raised), lines, {"causes": causes})
    )


def _unpickle(data):
    try:
        return pickle.loads(data) if data else None
    except Exception:  # a class that exists on the rank only
        return None


def _deadlock(facts):
    if not facts.stuck:
        return None
    ranks = sorted({rank for rank, _ in facts.stuck})
    stuck_waits = [w for w in waits(facts) if w.rank in ranks]
    left = [(rank, facts.where[rank][t][1]) for rank, t in sorted(facts.stuck)]
    if all(what is not None and what[5] for _, what in left):
        return _leftover(left)
    edges = {}
    for wait in stuck_waits:
        edges.setdefault(wait.rank, set()).add(wait.peer)
    ring = cycle(edges)
    if ring:
        title = (
            f"Deadlock: rank {ring[0]} waits for "
            + ", which waits for ".join(f"rank {r}" for r in [*ring[1:], ring[0]])
            + "."
        )
    else:
        ended = sorted({w.peer for w in stuck_waits if w.peer in facts.results})
        title = (
            f"Deadlock: {some_ranks(ranks)} {'waits' if len(ranks) == 1 else 'wait'} for "
            f"{some_ranks(ended) if ended else 'each other'}"
            + (", which has finished." if ended else ".")
        )
    sends = any(w.awaits == "recv" for w in stuck_waits)
    remedy = (
        "A send returns only when the other side receives. Let one side receive first, or use comm.exchange, which posts both at once."
        if sends
        else "A receive needs a matching send: same communicator, same order. Compare the lines above."
    )
    if any(w.awaits not in ("send", "recv") for w in stuck_waits):
        remedy = "Every rank of the group must call the same collectives in the same order."
    return DeadlockError, ranks, [title, *everyone(facts), remedy], {}


def _leftover(left):
    lines = ["The run ended with messages that nobody took:"]
    for rank, (kind, comm, peer, number, place, _, size) in left:
        verb = {
            "send": f"sent message {number}, {size}, to rank {peer}, which never received it",
            "recv": f"asked rank {peer} for message {number}, {size}, which it never sent",
        }.get(kind, f"started {kind} number {number}, which not all ranks joined")
        lines.append(f"  rank {rank} {verb}" + (f" (on group {comm})" if comm != "world" else ""))
    lines.append(
        "Each send needs a receive on the other side. Wait for the Work that start() returns to see where it hangs."
    )
    return LeftoverError, sorted({rank for rank, _ in left}), lines, {}


def _timeout(facts):
    if not facts.timed_out:
        return None
    ranks = sorted(facts.where)
    lines = [
        f"The run did not end within {facts.timeout:g} seconds.",
        *everyone(facts),
        "If it needs longer, say so: world.run(..., timeout=120). timeout=None waits without limit.",
    ]
    return RankTimeout, ranks, lines, {}


def _lost(facts):
    ranks = sorted(facts.failures)
    lines = [f"The connections of {some_ranks(ranks)} broke, and no rank died:"]
    for rank in ranks:
        lines += [
            f"  rank {rank}: {facts.failures[rank]['message']}",
            *lines_of(facts.failures[rank]["lines"]),
        ]
    return (
        RankError,
        ranks,
        lines,
        {"causes": {r: _unpickle(facts.failures[r]["pickle"]) for r in ranks}},
    )
