"""What happens if a rank's process ends in the middle of a run: world.run(..., on_death="raise").

Both worlds (attend.py, virtual_run.py) ask an object of this module at two moments: when a rank has
died, and when they look whether the run can still end well. A policy is one more class here, and
its name.
"""


class RaiseOnDeath:
    """The run ends with RankDied."""

    def died(self, rank, survivors):
        """`rank` has died. survivors: the ranks that still run."""

    def ends_run(self, died):
        """Whether the run has failed, as these ranks have died: {rank: exit code}."""
        return bool(died)


ON_DEATH = {"raise": RaiseOnDeath}
