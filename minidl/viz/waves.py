"""Which messages belong together, so that a run can be followed step by step?

    done   1 ms   0->1  1->2  2->3  3->0      step 1     a virtual clock: messages that end at the same
           2 ms   0->1  1->2  2->3  3->0      step 2     moment are one step
           ...
    done   1.02, 1.05, 1.31, 1.33 ms          step 1     a real clock never shows the same time twice: a message
                                                         stands one step after those that it had to follow

What a message had to follow: every message that its sender or its receiver had finished before posting it,
and those that the sender sent, or the receiver received, before. Left out: what computing a step waits for.
"""

from bisect import bisect_right
from collections import defaultdict

SAME = 1e-9                             # of the whole run: times nearer than this are one time


def waves(messages):
    """(steps, ticks): lists of received messages in the order of their ends; ticks says that a step is one moment."""
    messages = sorted(messages, key=lambda m: (m.recv.done, m.send.rank, m.send.peer, m.send.number))
    if not messages:
        return [], True
    ends = [m.recv.done for m in messages]
    near = SAME * (ends[-1] - min(m.send.posted for m in messages))
    steps = [[messages[0]]]
    for before, message in zip(messages, messages[1:]):
        if message.recv.done - before.recv.done <= near:
            steps[-1].append(message)
        else:
            steps.append([message])
    if near > 0 and len(steps) < len(messages):
        return steps, True
    steps = rounds(messages)
    return steps, near > 0 and len(steps) == len(messages)


def rounds(messages):
    """Messages in the order of their ends, each as early as what it had to follow allows."""
    out, into, past, steps = defaultdict(int), defaultdict(int), defaultdict(lambda: ([], [])), defaultdict(list)
    for message in messages:
        send, recv = message
        step = 1 + max(out[send.rank], into[recv.rank], *(latest(past[event.rank], event.posted) for event in message))
        out[send.rank] = into[recv.rank] = step
        steps[step].append(message)
        for event in message:
            ends, numbers = past[event.rank]
            ends.append(max(recv.done if event.done is None else event.done, ends[-1] if ends else 0.0))
            numbers.append(max(step, numbers[-1] if numbers else 0))
    return [steps[step] for step in sorted(steps)]


def latest(past, posted):
    """The last step that a rank had finished when it posted."""
    ends, numbers = past
    at = bisect_right(ends, posted)
    return numbers[at - 1] if at else 0
