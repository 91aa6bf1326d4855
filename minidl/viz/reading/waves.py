"""Which messages belong together, so that a run can be followed step by step?

    done   1 ms   0->1  1->2  2->3  3->0      step 1     a virtual clock: messages that end at the same
           2 ms   0->1  1->2  2->3  3->0      step 2     moment are one step, or as good as that: a chunk that is
                                                         one element longer ends some nanoseconds later
           ...
    done   1.02, 1.05, 1.31, 1.33 ms          step 1     a real clock never shows the same time twice: a message
                                                         stands one step after those that it had to follow

What a message had to follow: every message that its sender or its receiver had finished before posting it,
and those that the sender sent, or the receiver received, before. Left out: what computing a step waits for.
"""

from bisect import bisect_right
from collections import defaultdict

SAME = 1e-9  # of the whole run: times nearer than this are one time
ALIKE = 0.01  # of the shortest message: ends nearer than this are one step of a virtual clock


def waves(messages):
    """(steps, ticks): lists of received messages in the order of their ends; ticks says that a step is one moment."""
    messages = sorted(
        messages, key=lambda m: (m.recv.done, m.send.rank, m.send.peer, m.send.number)
    )
    if not messages:
        return [], True
    ends = [m.recv.done for m in messages]
    near = SAME * (ends[-1] - min(m.send.posted for m in messages))
    steps = together(messages, near)
    if near > 0 and len(steps) < len(messages):
        shortest = min(
            (s for m in messages if (s := m.recv.done - max(m.send.posted, m.recv.posted)) > 0),
            default=0.0,
        )
        return together(messages, max(near, ALIKE * shortest)), True
    steps = rounds(messages)
    return steps, near > 0 and len(steps) == len(messages)


def together(messages, near):
    """Messages in the order of their ends, those in one list that end at most `near` seconds after the first of it."""
    steps = []
    for message in messages:
        if steps and message.recv.done - steps[-1][0].recv.done <= near:
            steps[-1].append(message)
        else:
            steps.append([message])
    return steps


def rounds(messages):
    """Messages in the order of their ends, each as early as what it had to follow allows."""
    out, into, past, steps = (
        defaultdict(int),
        defaultdict(int),
        defaultdict(lambda: ([], [])),
        defaultdict(list),
    )
    for message in messages:
        send, recv = message
        step = 1 + max(
            out[send.rank],
            into[recv.rank],
            *(latest(past[event.rank], event.posted) for event in message),
        )
        out[send.rank] = into[recv.rank] = step
        steps[step].append(message)
        for event in message:
            ends, numbers = past[event.rank]
            ends.append(
                max(recv.done if event.done is None else event.done, ends[-1] if ends else 0.0)
            )
            numbers.append(max(step, numbers[-1] if numbers else 0))
    return [steps[step] for step in sorted(steps)]


def latest(past, posted):
    """The last step that a rank had finished when it posted."""
    ends, numbers = past
    at = bisect_right(ends, posted)
    return numbers[at - 1] if at else 0
