"""What is there to see in a run? One sentence for a title.

    0 -> 1 -> 2 -> 3 -> 0        "Every rank sends to its right neighbour"
    0 -> 1, 0 -> 2, 0 -> 3       "Rank 0 sends to every other rank"

The sentence holds for every message that was received, or it counts. Where no rule fits, it says which
rank sent most. Left out: whether the finding is good or bad.
"""

from collections import Counter

from minidl.viz.drawing.units import count_text, percent
from minidl.viz.reading.intervals import extent, waited


def is_lost(message):
    """True for a message that nobody took, or that never came to its end."""
    return message.recv is None or message.recv.done is None


def left_out(trace):
    """What a caption says of a run whose record was full, with a space before it; "" where all is here."""
    missing = sum(messages for messages, _ in trace.unrecorded)
    counted = f"the last {missing:,} of {sum(trace.sent()):,} messages are counted only, and not in this picture"
    return f" The record was full: {counted}." if missing else ""


def unmet(trace):
    """The receives that no send ever met."""
    sent = {(e.comm, e.rank, e.peer, e.number) for e in trace if e.kind == "send"}
    return [
        e
        for e in trace
        if e.kind == "recv" and e.done is None and (e.comm, e.peer, e.rank, e.number) not in sent
    ]


def cycle(waits):
    """The ranks of a circle of waits, from the lowest on, or [] if there is none."""
    peers = {}
    for wait in waits:
        peers.setdefault(wait.rank, []).append(wait.peer)
    for start in sorted(peers):
        trail, stack, seen = [], [(start, 0)], set()
        while stack:
            rank, depth = stack.pop()
            trail = trail[:depth] + [rank]
            for peer in sorted(peers.get(rank, ()), reverse=True):
                if peer == start:
                    return trail
                if peer not in seen:
                    seen.add(peer)
                    stack.append((peer, depth + 1))
    return []


def deadlock(trace):
    """Who waits for whom, round the circle, in words."""
    if not trace.waits:
        return "No rank waited for ever"
    ring = cycle(trace.waits)
    if not ring:
        waiting = {wait.rank for wait in trace.waits}
        last = next((wait for wait in trace.waits if wait.peer not in waiting), trace.waits[0])
        return f"Rank {last.rank} waits for rank {last.peer}, which will never answer"
    if ring == [ring[0]]:
        return f"Rank {ring[0]} waits for itself"
    if len(ring) > 4:
        return f"{len(ring)} ranks wait in a circle: {', '.join(map(str, ring[:3]))}, ..., {ring[-1]}, and {ring[0]} again"
    return f"Rank {ring[0]} waits for rank " + ", which waits for rank ".join(
        map(str, [*ring[1:], ring[0]])
    )


def pattern(pairs, n):
    """What all (source, destination) pairs of n ranks have in common, or "" if no rule fits."""
    everyone, sources, targets = set(range(n)), {s for s, _ in pairs}, {d for _, d in pairs}
    steps, partners = {(d - s) % n for s, d in pairs}, {s ^ d for s, d in pairs}
    spread = {hub for hub in sources if pairs == {(hub, r) for r in everyone - {hub}}}
    gather = {hub for hub in targets if pairs == {(r, hub) for r in everyone - {hub}}}
    if len({frozenset(pair) for pair in pairs}) == 1:
        (s, d), *back = sorted(pairs)
        return f"Ranks {s} and {d} send to each other" if back else f"Rank {s} sends to rank {d}"
    if steps == {1}:
        return (
            "Every rank sends to its right neighbour"
            if sources == everyone
            else along_chain(pairs, sources, targets)
        )
    if steps == {n - 1}:
        return "Every rank sends to its left neighbour" if sources == everyone else ""
    if spread:
        return f"Rank {spread.pop()} sends to every other rank"
    if gather:
        return f"Every other rank sends to rank {gather.pop()}"
    if pairs == {(s, d) for s in everyone for d in everyone if s != d}:
        return (
            "Every rank sends to every other rank" if n > 3 else "Every rank sends to both others"
        )
    if steps == {1, n - 1} and len(pairs) == 2 * n:
        return "Every rank sends to both its neighbours"
    for hub in sorted(sources & targets):
        if all(hub in pair for pair in pairs):
            return f"Every message goes to rank {hub} or comes from it"
    if all(p & (p - 1) == 0 for p in partners) and pairs == {
        (r, r ^ p) for r in everyone for p in partners
    }:
        return (
            f"Each rank exchanges with partners at distance {', '.join(map(str, sorted(partners)))}"
        )
    return ""


def along_chain(pairs, sources, targets):
    """The sentence for one chain without gaps, or "" where there are several."""
    heads, tails = sources - targets, targets - sources
    return (
        f"Messages pass down a chain from rank {heads.pop()} to rank {tails.pop()}"
        if len(heads) == len(tails) == 1
        else ""
    )


def messages_finding(trace, messages):
    """The title of a picture of messages."""
    lost = [message for message in messages if is_lost(message)]
    if trace.waits:
        return deadlock(trace)
    if len(lost) == 1:
        return f"Rank {lost[0].send.rank}'s message to rank {lost[0].send.peer} was never received"
    if lost:
        return f"{count_text(len(lost), 'message')} were never received"
    alone = unmet(trace)
    if alone:
        first = alone[0]
        others = f", and {len(alone) - 1} more" if len(alone) > 1 else ""
        return f"Rank {first.rank}'s receive from rank {first.peer} was never met{others}"
    if not messages:
        called = ", ".join(f"{name} {count}" for name, count in sorted(trace.collectives().items()))
        nobody = "No message was recorded" if left_out(trace) else "No rank sent a message"
        return f"Only native collectives ran: {called} calls" if called else nobody
    return pattern({(m.send.rank, m.send.peer) for m in messages}, trace.world_size) or busiest(
        messages, trace.world_size
    )


def busiest(messages, n):
    """Which rank sent most, or that all sent alike."""
    sent = Counter(message.send.rank for message in messages)
    rank, most = min(sent.items(), key=lambda item: (-item[1], item[0]))
    if list(sent.values()) == [most] * n:
        return f"Every rank sends {count_text(most, 'message')}"
    return f"Rank {rank} sends most: {most:,} of {len(messages):,} messages"


def waiting_finding(trace):
    """Which rank waited most, or that all waited alike; the title of a picture of time."""
    if trace.waits:
        return deadlock(trace)
    start, end = extent(trace)
    shares = [seconds / (end - start) for seconds in waited(trace)]
    if max(shares, default=0) < 0.005:
        return "No rank waited"
    if len(shares) > 1 and max(shares) - min(shares) < 0.05:
        return f"Every rank waited about {percent(sum(shares) / len(shares), 1)} of its time"
    return f"Rank {shares.index(max(shares))} waited {percent(max(shares), 1)} of its time"
