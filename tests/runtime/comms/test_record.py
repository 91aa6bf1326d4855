"""What the record says of a run on real ranks."""

import pytest
import torch

from minidl import (
    DeadlockError,
    RankError,
    Recv,
    Send,
)
from minidl.viz.reading.intervals import waited


def test_every_field_of_a_message(either):
    def talk(comm):
        with comm.span("outer"), comm.span("inner"):
            if comm.rank == 0:
                comm.send(torch.zeros(2, 3), to=1)
                comm.send(torch.zeros(5, dtype=torch.int16), to=1)
            else:
                comm.recv(torch.zeros(2, 3), source=0)
                comm.recv(torch.zeros(5, dtype=torch.int16), source=0)

    trace = either(2).run(talk).trace
    first, second = trace.where(kind="send")
    assert (first.rank, first.peer, first.number, first.shape, first.dtype, first.nbytes) == (
        0,
        1,
        0,
        (2, 3),
        "float32",
        24,
    )
    assert (second.number, second.shape, second.dtype, second.nbytes) == (1, (5,), "int16", 10)
    assert (
        first.span == "outer/inner"
        and first.comm == "world"
        and first.thread == 0
        and first.fate == "delivered"
    )
    assert first.line.startswith("test_record.py, line ") and first.line != second.line
    for event in trace:
        assert 0 <= event.posted <= event.waited <= event.done
    assert trace.values == {(0, first.seq): [0.0] * 6, (0, second.seq): [0] * 5}
    assert [m.recv.number for m in trace.messages()] == [0, 1]
    assert all(e.line.startswith("test_record.py") for e in trace)
    assert [e.span for e in trace.where(kind="span", rank=0)] == ["outer", "outer/inner"]


def test_clocks_of_two_ranks_agree(worlds):
    def ping(comm):
        for _ in range(20):
            comm.send(torch.ones(1), 1) if comm.rank == 0 else comm.recv(torch.ones(1), 0)

    for send, recv in worlds(2).run(ping).trace.messages():
        assert (
            send.posted < recv.done and recv.posted < send.done
        )  # neither ends before the other begins


def test_compute_and_natives_and_errors_are_recorded(worlds):
    def work(comm):
        comm.compute(0.01)
        comm.native("all_reduce", torch.ones(3)).wait()
        with comm.span("bad/name"):
            pass

    with pytest.raises(RankError, match="slash") as error:
        worlds(2).run(work)
    trace = error.value.trace
    compute, native = list(trace.where(rank=0))
    assert compute.kind == "compute" and compute.done - compute.posted >= 0.01
    assert native.kind == "all_reduce" and native.nbytes == 12 and native.peer == -1


def test_background_work_inherits_the_span(either):
    def work(comm):
        with comm.span("step"):
            job = comm.background(lambda comm: comm.exchange(torch.ones(1), comm.right, comm.left))
        job.wait()

    assert {e.span for e in either(2).run(work).trace.where(kind="send")} == {"step"}


def test_a_wait_that_never_ends_is_seen_from_its_beginning(either):
    def half(comm):
        comm.start(
            [
                Recv(torch.ones(1), comm.left),
                Send(torch.ones(1), comm.right),
                Recv(torch.ones(2), comm.left),
            ]
        ).wait()

    with pytest.raises(DeadlockError) as error:
        either(2).run(half)
    trace = error.value.trace
    assert [
        (e.kind, e.waited is not None, e.done is not None, e.fate) for e in trace.where(rank=0)
    ] == [
        ("recv", True, True, "delivered"),
        ("send", True, True, "delivered"),
        ("recv", True, False, "unfinished"),
    ]
    assert min(waited(trace)) > 0  # pictures hatch it
