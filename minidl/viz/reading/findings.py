"""What is there to see in a run? One sentence for a title.

    0 -> 1 -> 2 -> 3 -> 0        "Every rank sends to its right neighbour"
    0 -> 1, 0 -> 2, 0 -> 3       "Rank 0 sends to every other rank"

The sentence holds for every message that was received, or it counts. If no rule fits, it says which
rank sent most. Left out: whether the finding is good or bad.
"""

from collections import defaultdict

from minidl.viz.drawing.units import count_text, percent
from minidl.viz.reading.intervals import extent, waited
from minidl.viz.reading.matching import is_lost, pair_of, unmatched_receives

NEGLIGIBLE = 0.005  # a share of the time that is called none
ALIKE = 0.05  # shares that differ by less are called equal
NO_WAIT = "No rank waited"
NAMED = 4  # ranks of a circle that are all named


def messages_finding(trace, messages):
    """The title of a picture of messages."""
    # What went wrong comes first; a pattern is worth a title only if nothing did.
    if trace.waits:
        return deadlock_finding(trace)
    lost = [message.send for message in messages if is_lost(message)]
    if len(lost) == 1:
        (send,) = lost
        return f"Rank {send.rank}'s message to rank {send.peer} was never received"
    if lost:
        return f"{count_text(len(lost), 'message')} were never received"
    unmatched = unmatched_receives(trace)
    if unmatched:
        first = unmatched[0]
        return f"Rank {first.rank}'s receive from rank {first.peer} was never met"
    if messages:
        n = trace.world_size
        return pattern(set(map(pair_of, messages)), n) or _busiest(messages, n)
    calls = sorted(trace.collectives().items())
    if calls:
        counts = ", ".join(f"{name} {count}" for name, count in calls)
        return f"Only native collectives ran: {counts} calls"
    return no_message_finding(trace)


def no_message_finding(trace):
    """The title of a picture of messages that has none."""
    if left_out(trace):
        return "No message was recorded"
    return "No rank sent a message"


def waiting_finding(trace):
    """The title of a picture of time: which rank waited most, or that all waited alike."""
    if trace.waits:
        return deadlock_finding(trace)
    start, end = extent(trace)
    # Shares of the whole run, so that ranks can be compared.
    shares = [seconds / (end - start) for seconds in waited(trace)]
    most = max(shares)
    if most < NEGLIGIBLE:
        return NO_WAIT
    if len(shares) > 1 and most - min(shares) < ALIKE:
        mean = sum(shares) / len(shares)
        return f"Every rank waited about {percent(mean, 1)} of its time"
    return f"Rank {shares.index(most)} waited {percent(most, 1)} of its time"


def deadlock_finding(trace):
    """The title of a picture of a deadlock: who waits for whom, round the circle."""
    if not trace.waits:
        return "No rank waited forever"
    # A circle is a deadlock; a chain ends at a rank that is gone.
    circle = wait_circle(trace.waits)
    if not circle:
        # 0 waits for 1, 1 for 2, and 2 is gone: the last wait of the chain is the cause.
        waiting = {wait.rank for wait in trace.waits}
        ends = [wait for wait in trace.waits if wait.peer not in waiting]
        last = ends[0]
        return f"Rank {last.rank} waits for rank {last.peer}, which will never answer"
    first, *others = map(str, circle)
    if not others:
        return f"Rank {first} waits for itself"
    if len(circle) > NAMED:
        begin = ", ".join([first, *others[:2]])
        return (
            f"{len(circle)} ranks wait in a circle: {begin}, ..., {others[-1]}, and {first} again"
        )
    # Up to four ranks can be named one by one.
    steps = ", which waits for rank ".join([*others, first])
    return f"Rank {first} waits for rank {steps}"


def wait_circle(waits):
    """The ranks of a circle of waits, from the lowest on, or [] if there is none."""
    peers = defaultdict(set)
    for wait in waits:
        peers[wait.rank].add(wait.peer)
    for start in sorted(peers):
        # Depth first, lowest peer first; a path is the ranks from `start` to the one to look at.
        paths = [[start]]
        seen = set()
        while paths:
            path = paths.pop()
            awaited = peers.get(path[-1], ())
            for peer in sorted(awaited, reverse=True):
                if peer == start:
                    return path
                if peer not in seen:
                    seen.add(peer)
                    paths.append([*path, peer])
    return []


def pattern(pairs, n):
    """What all (source, destination) pairs of n ranks have in common, or "" if no rule fits."""
    everyone = set(range(n))
    sources = {source for source, _ in pairs}
    targets = {to for _, to in pairs}
    if len({frozenset(pair) for pair in pairs}) == 1:
        source, to = min(pairs)
        if len(pairs) == 2:
            return f"Ranks {source} and {to} send to each other"
        return f"Rank {source} sends to rank {to}"
    side = neighbour(pairs, n)
    if side and sources == everyone:
        return f"Every rank sends to its {side}"
    # A chain has one rank that only sends and one that only receives.
    heads = sources - targets
    tails = targets - sources
    if side and len(heads) == len(tails) == 1:
        return f"Messages pass down a chain from rank {min(heads)} to rank {min(tails)}"
    # A star: 0 -> 1, 0 -> 2, 0 -> 3, or the same with all arrows turned round.
    if len(sources) == 1 and targets == everyone - sources:
        return f"Rank {min(sources)} sends to every other rank"
    if len(targets) == 1 and sources == everyone - targets:
        return f"Every other rank sends to rank {min(targets)}"
    if len(pairs) == n * (n - 1):
        return "Every rank sends to every other rank"
    both_sides = distances_of(pairs, n) == {1, n - 1}
    if both_sides and len(pairs) == 2 * n:
        return "Every rank sends to both its neighbours"
    # A parameter server: workers send to the hub, and it answers.
    for hub in sorted(sources & targets):
        if all(hub in pair for pair in pairs):
            return f"Every message goes to rank {hub} or comes from it"
    # A hypercube: 0 ^ 2 = 2 and 5 ^ 4 = 1 are distances in it.
    partners = sorted({source ^ to for source, to in pairs})
    powers_of_two = all(partner.bit_count() == 1 for partner in partners)
    if powers_of_two and len(pairs) == n * len(partners):
        distances = ", ".join(map(str, partners))
        return f"Each rank exchanges with partners at distance {distances}"
    return ""


def distances_of(pairs, n):
    """How many ranks to the right each message goes: a set."""
    return {(to - source) % n for source, to in pairs}


def neighbour(pairs, n):
    """ "right neighbour" or "left neighbour" if every message goes there, else ""."""
    distances = distances_of(pairs, n)
    if distances == {1}:
        return "right neighbour"
    if distances == {n - 1}:
        return "left neighbour"
    return ""


def _busiest(messages, n):
    """Which rank sent most, or that all sent alike."""
    # No pattern was found, so the title counts messages.
    sent = [0] * n
    for message in messages:
        sent[message.send.rank] += 1
    most = max(sent)
    if min(sent) == most:
        return f"Every rank sends {count_text(most, 'message')}"
    rank = sent.index(most)
    return f"Rank {rank} sends most: {most:,} of {len(messages):,} messages"


def left_out(trace):
    """The end of a caption if the record was full, with a space before it; "" if all is here."""
    missing = sum(messages for messages, _ in trace.unrecorded)
    if not missing:
        return ""
    return (
        f" The record was full: the last {missing:,} of {sum(trace.sent()):,} messages are counted "
        "only, and not in this picture."
    )


def named(subject):
    """What a reader called a run or an algorithm, within a sentence: "the ring", "Bruck's"."""
    if subject[:1].islower():
        return f"the {subject}"
    return subject


def capitalized(sentence):
    """The same sentence with a capital letter at its beginning."""
    return sentence[0].upper() + sentence[1:]
