"""Background work in a thread, when its run has failed."""

import threading
from types import SimpleNamespace

import pytest

from minidl.runtime.comms.node import Broken
from minidl.runtime.processes.gloo import DistributedComm
from minidl.runtime.processes.lane import ThreadLane
from tests.deadlines import generous


def test_what_a_failed_run_has_begun_posts_nothing_afterwards():
    """Its thread goes on while the rank has new connections, which the next run uses."""
    lane = ThreadLane("world+1", SimpleNamespace(guard=None, gpu=None))
    may_post = threading.Event()
    raised = []

    def begun():
        may_post.wait(generous(10))
        try:
            DistributedComm._start(None, [], [], None)  # before anything else it looks who calls
        except Broken as error:
            raised.append(str(error))

    lane.queue.put(SimpleNamespace(perform=begun, over=threading.Event()))
    lane.retire()
    may_post.set()
    lane.thread.join(generous(10))
    assert raised == ["the run has ended"]


def test_a_thread_that_belongs_to_no_lane_may_post():
    with pytest.raises(AttributeError):  # it comes as far as `posting`, which is None here
        DistributedComm._start(None, [], [], None)
