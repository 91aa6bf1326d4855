"""What a learner runs: check, progress, ask and doctor, and the package that grows from passed answers."""

from minidl.learner.mine import take
from minidl.learner.notes import progress

__all__ = ["progress", "take"]
