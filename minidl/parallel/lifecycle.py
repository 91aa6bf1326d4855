"""When does a rank hold the parameters of a unit, if it keeps only a shard of them?

                 gather                   arrived              its forward pass is over
      SHARDED -------------> GATHERING -------------> WHOLE ----------------------------> SHARDED
                                                        |
                                                        | first gradient of its output
                                                        v          all its gradients
                                                     BACKWARD --------------------------> SHARDED

A unit goes around once for the forward and once for the backward pass. A unit that is recomputed
runs its forward pass again while it is in BACKWARD, and stays there. At the end of a step all are
SHARDED. Prefetch: while a unit computes, the one that was used after it in the last step is
gathered.
"""

from enum import Enum, auto


class State(Enum):
    """What this rank has of a unit's parameters; see the picture above."""

    SHARDED = auto()
    GATHERING = auto()
    WHOLE = auto()
    BACKWARD = auto()


class Lifecycle:
    """Owns the state of every unit; each method is something that happens to one of them.

        life = Lifecycle(units, comm, ring.all_gather, prefetch=True)
        life.forward_begins(unit)                    # its parameters are whole: compute
        life.forward_ends(unit)                      # and freed

    units: ShardedUnits; at the end of a step all of them are SHARDED.
    """

    def __init__(self, units, comm, all_gather, prefetch):
        self.comm = comm
        self.all_gather = all_gather
        self.prefetch = prefetch
        self.state = {}
        self.gathering = {}  # unit -> Work, while its state is GATHERING
        self.used = []  # units in the order of their use in this step, and in the one before
        self.used_last_step = []
        for unit in units:
            self.free(unit)

    def forward_begins(self, unit):
        """The unit is about to compute: -> WHOLE, or it stays in BACKWARD if it is recomputed."""
        self.used.append(unit)
        self.gather(unit)  # on demand, unless it was prefetched
        if self.state[unit] is State.GATHERING:
            self.gathering.pop(unit).wait()
            self.state[unit] = State.WHOLE
        # In the first step the order is unknown.
        if self.prefetch and len(self.used) < len(self.used_last_step):
            self.gather(self.used_last_step[len(self.used)])

    def forward_ends(self, unit):
        """Its output is there: -> SHARDED; a unit in BACKWARD, which is recomputed, stays there."""
        if self.state[unit] is not State.BACKWARD:
            self.free(unit)

    def backward_begins(self, unit):
        """A gradient of its output is there: -> BACKWARD, through WHOLE unless it is there."""
        if self.state[unit] in (State.SHARDED, State.GATHERING):
            # As for a forward pass: it is used, so the next one can be prefetched.
            self.forward_begins(unit)
        self.state[unit] = State.BACKWARD

    def backward_ends(self, unit):
        """Its gradients are complete: -> SHARDED, unless it is being gathered for its next use."""
        if self.state[unit] is not State.GATHERING:
            self.free(unit)

    def step_ends(self):
        """All units -> SHARDED: frozen ones, and what was gathered and not used."""
        for work in self.gathering.values():
            work.wait()
        self.gathering = {}
        for unit in self.state:
            self.free(unit)
        self.used_last_step = self.used
        self.used = []

    def gather(self, unit):
        """SHARDED -> GATHERING; nothing in any other state."""
        if self.state[unit] is State.SHARDED:
            self.gathering[unit] = self.comm.background(unit.gather, self.all_gather)
            self.state[unit] = State.GATHERING

    def free(self, unit):
        """-> SHARDED."""
        unit.free()
        self.state[unit] = State.SHARDED
