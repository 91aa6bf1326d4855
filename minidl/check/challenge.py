"""An open challenge: how many virtual seconds does the answer take, and who was faster?

bound  |====|                      no answer can be faster
paper  |===========|               an algorithm from the literature
yours  |=======|                   on the same network; virtual seconds are the same everywhere
"""

import random
from dataclasses import dataclass

from minidl.check.arena import LocalArena
from minidl.check.formula import Formula


@dataclass(frozen=True)
class Race:
    """One attempt: virtual seconds of the answer, of the lower bound, and of the rival."""

    seconds: float
    bound: float
    rival_name: str
    rival: float

    def __str__(self):
        yours = in_microseconds(self.seconds)
        rival = in_microseconds(self.rival)
        bound = in_microseconds(self.bound)
        return f"your {yours}, {self.rival_name} {rival}, lower bound {bound}"


def in_microseconds(seconds):
    """ "1,234 us"."""
    return f"{seconds * 1e6:,.0f} us"


@dataclass(frozen=True)
class Track:
    """Where a race is run.

    on      a network;  ranks, length: its size
    bound   seconds that no answer can beat, a number or a formula over N and n
    rival   (name, function): the algorithm from the literature, called like an answer
    device  None, or a Device: then computing takes time, too
    """

    on: object
    ranks: int
    length: int
    bound: object
    rival: tuple
    give: object
    task: str
    device: object = None

    def run(self, arena, fn):
        """Run the answer and the rival; returns a Race, or None if one of them fails here."""
        on_meter = self.device is not None
        where = {"network": self.on, "device": self.device, "meter": on_meter}
        # The rival is the course's own code, so it may run outside of a cage.
        name, algorithm = self.rival
        own = arena.run(fn, self._inputs(), **where)
        rival = LocalArena().run(algorithm, self._inputs(), **where)
        if own.error or rival.error:
            return None
        bound = Formula(self.bound)(N=self.ranks, n=self.length)
        return Race(own.trace.seconds(), bound, name, rival.trace.seconds())

    def _inputs(self):
        """Each rank's arguments, the same for everybody."""
        inputs = []
        for rank in range(self.ranks):
            # Not the student's seed: a race is the same for everybody.
            draws = random.Random(f"{self.task}|{rank}")
            inputs.append(tuple(self.give(rank, self.ranks, self.length, draws)))
        return inputs
