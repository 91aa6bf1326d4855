"""Faults happen on the link, on the rank and at the moment asked for, in both worlds."""

import pytest
import torch

from minidl import Crash, Delay, Op, RankDied, Recv, Seconds, Send, Slow, Span


def ping(comm):
    """Three messages around the ring, each in a span."""
    for _ in range(3):
        with comm.span("step"):
            comm.exchange(torch.ones(1), comm.right, comm.left)


def test_a_delayed_link_is_slow_and_only_that_link(either):
    trace = either(3).run(ping, faults=[Delay(source=0, to=1, seconds=0.05)]).trace
    for send, recv in trace.messages():
        if (send.rank, send.peer) == (0, 1):
            assert (
                recv.done - max(send.posted, recv.posted) >= 0.05
                and recv.fate == send.fate == "delayed"
            )
        else:
            assert send.fate == "delivered"


def test_a_delay_begins_when_both_sides_have_posted_the_message(either):
    def work(comm):
        nothing = torch.zeros(1)
        if comm.rank == 0:
            comm.recv(nothing, 1)  # rank 1 has posted its receive
            comm.compute(0.02)
            sending = comm.start([Send(torch.ones(1), 1)])
            comm.send(nothing, 2)
            sending.wait()
        if comm.rank == 1:
            receiving = comm.start([Recv(nothing, 0)])
            comm.send(nothing, 0)
            comm.recv(nothing, 2)  # the message of rank 0 is there before anyone waits for it
            receiving.wait()
        if comm.rank == 2:
            comm.recv(nothing, 0)
            comm.send(nothing, 1)

    trace = either(3).run(work, faults=[Delay(source=0, to=1, seconds=0.05)]).trace
    (send,) = trace.where(kind="send", rank=0, peer=1)
    (recv,) = trace.where(kind="recv", rank=1, peer=0)
    assert send.posted - recv.posted >= 0.02
    assert recv.done - send.posted >= 0.05


def test_a_slow_rank_computes_longer(either):
    def work(comm):
        comm.compute(0.02)
        comm.barrier()

    trace = either(2).run(work, faults=[Slow(rank=1, factor=4)]).trace
    quick, slow = trace.where(kind="compute")
    assert slow.done - slow.posted >= 0.08 > quick.done - quick.posted
    assert {(e.rank, e.fate) for e in trace if e.kind in ("send", "recv")} == {
        (0, "delivered"),
        (1, "slowed"),
    }


def test_a_crash_happens_at_the_moment_asked_for(either):
    with pytest.raises(
        RankDied, match=r"Rank 1 was killed by the fault Crash, at Span\(name='step', k=2\)"
    ) as error:
        either(3).run(ping, faults=[Crash(rank=1, at=Span("step", 2))])
    assert len(error.value.trace.where(rank=1, kind="send")) == 2  # its record is kept
    with pytest.raises(RankDied, match=r"Op\(n=3\)") as error:
        either(3).run(ping, faults=[Crash(rank=2, at=Op(3))])
    assert len([e for e in error.value.trace.where(rank=2) if e.kind in ("send", "recv")]) == 2
    assert either(3).run(ping).trace.sent() == [3, 3, 3]


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        (Crash(5, Op(0)), ValueError, "0 to 1"),
        (Crash(0, 3), TypeError, "Op"),
        (Slow(0, 0.5), ValueError, "1 or more"),
        (Slow(0, float("nan")), ValueError, "1 or more"),
        (Crash(0, Seconds(-1)), ValueError, "not negative"),
        (Delay(0, 1, float("nan")), ValueError, "not negative"),
        (Delay(0, 0, 1), ValueError, "two different"),
        ("crash", TypeError, "Delay, Slow or Crash"),
    ],
)
def test_impossible_faults_are_refused(either, wrong, error, words):
    with pytest.raises(error, match=words):
        either(2).run(ping, faults=[wrong])
