"""How do gradients reach their shards during the backward pass, without a rank holding them all?

    unit 2   missing 4 3 2 1 0 | leaves ~~~~~> shard       units leave in one order on every rank,
    unit 1             missing 4 3 2 1 0 | leaves ~~~~>    the last unit first, beside the
    unit 0                       missing 4 3 2 1 0 | ...   computation; at most three at a time

A hook on each parameter counts. If one rank sent unit 1 where another sends unit 2, the two would
be added to each other; so a unit that is complete too early waits for its turn. If the network is
slow, the backward pass waits: otherwise whole gradients would pile up here.
"""

from collections import deque

import torch

from minidl.parallel.protocol import Hook, in_backward

MOST_IN_FLIGHT = 3


class GradientQueue:
    """Reduces the gradients of each unit as soon as it has all of them, and frees them.

        queue = GradientQueue(units, comm, ring.reduce_scatter)
        loss.backward()                                  # units leave one by one
        queue.finish()                                   # every shard has its mean gradient

    when_complete(unit) is called when the unit has all gradients of this backward pass,
    when_over() when the backward pass is over.
    """

    def __init__(self, units, comm, reduce_scatter, when_complete=None, when_over=None):
        self.comm = comm
        self.reduce_scatter = reduce_scatter
        self.when_complete = when_complete
        self.when_over = when_over
        # In the order in which backward passes usually complete them.
        self.units = [unit for unit in reversed(units) if unit.trained]
        self.in_flight = deque()
        self.begin_pass()
        self.hooks = []
        for unit in self.units:
            for part in unit.trained_parts:
                hook = Hook(self.arrived, unit)
                self.hooks.append(part.register_post_accumulate_grad_hook(hook))

    def begin_pass(self):
        """No unit has left, and all gradients are missing."""
        self.is_passing = False
        self.waiting = deque(self.units)  # for their turn
        self.missing = {unit: len(unit.trained_parts) for unit in self.units}

    def arrived(self, unit, part):
        """One of the unit's gradients is there."""
        if not self.is_passing:
            self.is_passing = True
            # torch calls end_pass() at the end of this backward pass.
            torch.autograd.Variable._execution_engine.queue_callback(self.end_pass)
        self.missing[unit] -= 1
        if self.missing[unit] == 0:
            self.complete(unit)

    def complete(self, unit):
        """The unit has all its gradients: the units whose turn it is leave."""
        while self.waiting and self.missing[self.waiting[0]] == 0:
            self.send(self.waiting.popleft())
        if self.when_complete is not None:
            self.when_complete(unit)

    def send(self, unit):
        """The unit's gradients leave, when fewer than MOST_IN_FLIGHT are under way."""
        # The backward pass stands still here.
        while len(self.in_flight) >= MOST_IN_FLIGHT:
            self.receive()
        for flat in unit.trained:
            gradient = flat.take_gradient()  # the whole one lives until it has been sent
            work = self.comm.background(flat.reduce, gradient, self.reduce_scatter)
            self.in_flight.append((flat, work))

    def receive(self):
        """Wait for the oldest gradient under way; its shard has it then."""
        # In the order of sending. This thread writes gradients, and not the one that sends.
        flat, work = self.in_flight.popleft()
        flat.accumulate(work.wait())

    def end_pass(self):
        """The backward pass is over: units in which a parameter got no gradient leave, too."""
        for unit in list(self.waiting):
            self.missing[unit] = 0
            self.complete(unit)
        self.begin_pass()
        if self.when_over is not None:
            self.when_over()

    def pass_failed(self):
        """Whether an error has ended the backward pass, so that torch has not called end_pass()."""
        return self.is_passing and not in_backward()

    def reset(self):
        """An error has ended a step: nothing is under way, and nothing has arrived."""
        self.in_flight.clear()
        self.begin_pass()

    def finish(self):
        """Wait until every shard has its part of the mean gradient."""
        # An error may have ended the backward pass before torch called end_pass().
        if self.is_passing:
            self.end_pass()
        while self.in_flight:
            self.receive()
