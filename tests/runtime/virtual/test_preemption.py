"""gloo's loop threads interrupt nobody, whichever process group they belong to."""

import os
import sys
import threading

import pytest
import torch

from minidl.runtime.processes.preemption import interrupt_nobody, loop_threads

LINUX = sys.platform == "linux"


def policies(comm):
    """(the main thread's scheduling policy, those of the loop threads)"""
    return os.sched_getscheduler(threading.main_thread().native_id), [
        os.sched_getscheduler(t) for t in loop_threads()
    ]


def policies_with_a_group(comm):
    """The same, once a sub-group has a process group of its own."""
    pair = comm.group([comm.rank // 2 * 2, comm.rank // 2 * 2 + 1])
    pair.native("all_reduce", torch.ones(2)).wait()
    return policies(comm)


@pytest.mark.skipif(not LINUX, reason="only Linux has SCHED_BATCH")
def test_loop_threads_of_the_world_interrupt_nobody(worlds):
    for main, loops in worlds(2).run(policies).results:
        assert main == os.SCHED_OTHER
        assert loops and set(loops) == {os.SCHED_BATCH}


@pytest.mark.skipif(not LINUX, reason="only Linux has SCHED_BATCH")
def test_loop_threads_of_a_group_made_later_do_not_either(worlds):
    for main, loops in worlds(4).run(policies_with_a_group).results:
        assert main == os.SCHED_OTHER
        assert len(loops) >= 2 and set(loops) == {os.SCHED_BATCH}


def test_a_process_without_gloo_is_left_as_it_is():
    assert loop_threads() == [] and interrupt_nobody() == []


@pytest.mark.skipif(not LINUX, reason="only Linux has SCHED_BATCH")
def test_a_system_that_refuses_is_no_error(monkeypatch):
    def refuse(*args):
        raise PermissionError

    monkeypatch.setattr("minidl.runtime.processes.preemption.loop_threads", lambda: [1])
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert interrupt_nobody() == []
