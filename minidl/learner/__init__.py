"""What a learner runs beside the notebooks: check, progress, ask, doctor, and their own package."""

from minidl.learner.mine import take
from minidl.learner.notes import progress

__all__ = ["progress", "take"]
