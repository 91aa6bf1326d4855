"""Ops that were started together, without a process to talk to."""

from types import SimpleNamespace

import pytest

from minidl.runtime.comms.record import Posting
from minidl.runtime.processes.posted_op import PostedOps


def test_the_error_of_one_op_is_reported_for_all_that_were_started_with_it():
    def fail():
        raise RuntimeError("gone")

    broken = SimpleNamespace(wait=fail, reported=False)
    other = SimpleNamespace(wait=fail, reported=False)
    alone = SimpleNamespace(wait=fail, reported=False)
    together = Posting(0, 0.0, tickets=[broken, other])
    with pytest.raises(RuntimeError, match="gone"):
        PostedOps(together).wait()
    assert broken.reported and other.reported and not alone.reported
