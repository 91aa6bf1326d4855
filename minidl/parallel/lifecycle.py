"""When does a rank hold the parameters of a unit, if it keeps only a shard of them?

                 gather                   arrived              its forward pass is over
      SHARDED -------------> GATHERING -------------> WHOLE ----------------------------> SHARDED
                                                        |
                                                        | first gradient of its output, or
                                                        | autograd needs what it saved of it
                                                        v          all its gradients are there,
                                                     BACKWARD --------------------------> SHARDED
                                                                   and all saved is used

A unit goes around once for the forward and once for the backward pass. A unit that is recomputed
runs its forward pass again while it is in BACKWARD, and stays there. A unit that is used outside of
its own forward pass, as a weight that its parent multiplies by, stays WHOLE until the model's pass
is over. After each pass and at the end of a step all are SHARDED. Prefetch: while a unit computes,
the one that was used after it in the last step is gathered.
"""

from contextlib import contextmanager
from enum import Enum, auto

from minidl.parallel.protocol import in_backward


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
        self.units = units
        self.reset()

    def reset(self):
        """All units -> SHARDED, whatever an error left under way."""
        self.passing = False  # the model's forward pass is running
        self.state = {}
        self.gathering = {}  # unit -> Work, while its state is GATHERING
        self.saved = dict.fromkeys(
            self.units, 0
        )  # how often autograd has saved and not yet used it
        self.complete = set()  # units that have all gradients of this backward pass
        self.used = []  # units in the order of their use in this step, and in the one before
        self.used_last_step = []
        for unit in self.units:
            self.free(unit)

    # --- What happens to a unit -----------------------------------------------------------------

    def forward_begins(self, unit):
        """The unit is about to compute: -> WHOLE, or it stays in BACKWARD if it is recomputed."""
        # All ranks use units in one order, so their gathers meet.
        self.used.append(unit)
        self.gather(unit)  # on demand, unless it was prefetched
        if self.state[unit] is State.GATHERING:
            unit.hold(self.gathering.pop(unit).wait())
            self.state[unit] = State.WHOLE
        # In the first step the order is unknown.
        if self.prefetch and len(self.used) < len(self.used_last_step):
            self.gather(self.used_last_step[len(self.used)])

    def forward_ends(self, unit):
        """Its output is there: -> SHARDED; a unit in BACKWARD, which is recomputed, stays there."""
        if self.state[unit] is not State.BACKWARD:
            self.free(unit)

    def backward_begins(self, unit):
        """The backward pass needs the unit: -> BACKWARD, through WHOLE unless it is there."""
        if self.state[unit] in (State.SHARDED, State.GATHERING):
            # As for a forward pass: it is used, so the next one can be prefetched.
            self.forward_begins(unit)
        self.state[unit] = State.BACKWARD

    def backward_ends(self, unit):
        """Its gradients are complete: -> SHARDED, unless something saved of it is still needed."""
        self.complete.add(unit)
        self.free_if_done(unit)

    def is_used(self, unit):
        """Something outside the unit's own forward pass uses a parameter: as a pass begins."""
        if in_backward():
            self.backward_begins(unit)
        else:
            self.forward_begins(unit)

    # --- What autograd saves ---------------------------------------------------------------------

    def is_saved(self, unit):
        """Autograd has saved some parameters of the unit, and will ask for them."""
        self.saved[unit] += 1

    def is_asked_for(self, unit):
        """Autograd needs what it has saved: the unit is there when this returns."""
        self.backward_begins(unit)
        self.saved[unit] = max(0, self.saved[unit] - 1)  # asked again, if the graph was retained

    def free_if_done(self, unit):
        """BACKWARD -> SHARDED, if its gradients are complete and all that was saved is used."""
        is_complete = unit in self.complete or not unit.trained
        if is_complete and self.is_held(unit) and self.saved[unit] == 0:
            self.free(unit)

    # --- The passes of the whole model -----------------------------------------------------------

    @contextmanager
    def forward_pass(self):
        """The model's forward pass runs: a unit used outside of its own stays until the end."""
        was_passing = self.passing
        self.passing = True
        try:
            yield
        finally:
            self.passing = was_passing
            # A model called within its own pass, or recomputed, is not yet done with its units.
            if not was_passing and not in_backward():
                for unit in self.held():
                    self.free(unit)

    def backward_pass_ends(self):
        """Units that a backward pass has used and not freed -> SHARDED."""
        self.complete.clear()
        # What was saved for a loss that no backward pass came from will not be asked for.
        self.saved = dict.fromkeys(self.units, 0)
        for unit in self.held():
            self.free(unit)

    def step_ends(self):
        """All units -> SHARDED, also one that was gathered and not used."""
        # Gathered ahead for a use that did not come; other ranks wait for this one's part.
        for work in self.gathering.values():
            work.wait()
        used = self.used
        self.reset()
        self.used_last_step = used

    def is_held(self, unit):
        """Whether its parameters are there."""
        return self.state[unit] in (State.WHOLE, State.BACKWARD)

    def held(self):
        """The units whose parameters are there."""
        return [unit for unit in self.units if self.is_held(unit)]

    # --- How it is done ---------------------------------------------------------------------------

    def gather(self, unit):
        """SHARDED -> GATHERING; nothing in any other state."""
        if self.state[unit] is State.SHARDED:
            self.gathering[unit] = self.comm.background(unit.gather, self.all_gather)
            self.state[unit] = State.GATHERING

    def free(self, unit):
        """-> SHARDED."""
        unit.free()
        self.state[unit] = State.SHARDED
