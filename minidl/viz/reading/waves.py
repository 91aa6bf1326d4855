"""Which messages belong together, so that a run can be followed step by step?

    done   1 ms   0->1  1->2  2->3  3->0     step 1     virtual clock: messages that end at one
           2 ms   0->1  1->2  2->3  3->0     step 2     moment are one step
           ...
    done   1.02, 1.05, 1.31, 1.33 ms         step 1     real clock: no two times equal; a step is
                                                        after all that its messages had to follow

A message had to follow every message that its sender or its receiver had finished before posting
it, and the one before that the sender sent, or the receiver received.
Left out: what computing a step waits for.
"""

from bisect import bisect_right
from collections import defaultdict
from operator import attrgetter

from minidl.viz.reading.intervals import done_by
from minidl.viz.reading.matching import travel_seconds

SAME = 1e-9  # of the whole run: times nearer than this are one time
ALIKE = 0.01  # of the shortest message: a chunk one element longer ends a few nanoseconds later


def waves(messages):
    """(steps, ticks): lists of received messages, in the order of their ends.

    ticks: whether the messages of a step end at one moment, as on a virtual clock.
    """
    if not messages:
        return [], True
    order = attrgetter("recv.done", "send.rank", "send.peer", "send.number")
    messages = sorted(messages, key=order)
    # Two times are equal if they differ by rounding only; how much that is depends on the run.
    began = min(message.send.posted for message in messages)
    near = SAME * (messages[-1].recv.done - began)
    # Any two messages that end at the same moment show that the clock is virtual.
    steps = _ending_together(messages, near)
    if near > 0 and len(steps) < len(messages):
        # filter() drops messages that took no time.
        shortest = min(filter(None, map(travel_seconds, messages)), default=0.0)
        return _ending_together(messages, max(near, ALIKE * shortest)), True
    steps = _rounds(messages)
    return steps, near > 0 and len(steps) == len(messages)


def _ending_together(messages, near):
    """Lists of messages that end at most `near` seconds after the first of their list."""
    steps = []
    for message in messages:
        if steps and message.recv.done - steps[-1][0].recv.done <= near:
            steps[-1].append(message)
        else:
            steps.append([message])
    return steps


class _Finished:
    """When a rank finished its messages, and the highest step among them up to then."""

    def __init__(self):
        self.ends = [0.0]  # ascending
        self.steps = [0]

    def add(self, end, step):
        self.ends.append(max(end, self.ends[-1]))
        self.steps.append(max(step, self.steps[-1]))

    def step_before(self, time):
        return self.steps[max(0, bisect_right(self.ends, time) - 1)]


def _rounds(messages):
    """Lists of messages, each as early as the messages that it had to follow allow."""
    last_sent = defaultdict(int)  # rank -> step of the last message that it sent
    last_received = defaultdict(int)
    finished = defaultdict(_Finished)
    steps = defaultdict(list)
    for message in messages:
        send, recv = message
        # one step after the last message that it had to follow
        step = 1 + max(
            last_sent[send.rank],
            last_received[recv.rank],
            finished[send.rank].step_before(send.posted),
            finished[recv.rank].step_before(recv.posted),
        )
        steps[step].append(message)
        last_sent[send.rank] = step
        last_received[recv.rank] = step
        finished[recv.rank].add(recv.done, step)
        finished[send.rank].add(done_by(send, recv.done), step)
    return [steps[step] for step in sorted(steps)]
