"""An open challenge: how many virtual seconds does the answer take on this network, and who was faster?

bound  |====|                          nobody can be faster, says theory
paper  |===========|                   an algorithm from the literature
yours  |=======|                       on the same network, counted in virtual seconds: the same on every machine
"""

import random
from dataclasses import dataclass

from minidl.check.formula import Formula


@dataclass(frozen=True)
class Race:
    """One attempt: virtual seconds of the answer, of the lower bound, and of the rival, which has a name."""

    seconds: float
    bound: float
    rival_name: str
    rival: float

    def __str__(self):
        return (
            f"your {self.seconds * 1e6:,.0f} us, {self.rival_name} {self.rival * 1e6:,.0f} us, "
            f"lower bound {self.bound * 1e6:,.0f} us"
        )


@dataclass(frozen=True)
class Track:
    """Where a race is run.

    on      a network;  ranks, length: its size
    bound   seconds that no answer can beat, a number or a formula over N and n
    rival   (name, function): the algorithm from the literature, called like an answer
    device  None, or a Device: then what a rank computes takes time, too
    """

    on: object
    ranks: int
    length: int
    bound: object
    rival: tuple
    give: object
    task: str
    device: object = None

    def run(self, arena, fn, arguments):
        """Run the answer and the rival; returns a Race, or None if the answer fails here."""
        from minidl.check.arena import LocalArena

        inputs = lambda: [
            tuple(self.give(rank, self.ranks, self.length, random.Random(f"{self.task}|{rank}")))
            for rank in range(self.ranks)
        ]
        where = {"network": self.on, "device": self.device, "meter": self.device is not None}
        own = arena.run(fn, inputs(), arguments=arguments, **where)
        name, algorithm = self.rival
        rival = LocalArena().run(algorithm, inputs(), **where)
        if own.error is not None or rival.error is not None:
            return None
        return Race(
            own.trace.seconds(),
            Formula(self.bound)(N=self.ranks, n=self.length),
            name,
            rival.trace.seconds(),
        )
