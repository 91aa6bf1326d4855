"""No second counts twice, and what is made coarse keeps what fills half of a slice."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from minidl import Device, VirtualWorld
from minidl.viz.reading.intervals import coarse, legible, stretches, total, union

STRETCHES = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 10)).map(
        lambda pair: (pair[0], pair[0] + pair[1])
    ),
    max_size=20,
)


@given(STRETCHES)
def test_union_covers_the_same_seconds_once(stretches):
    joined = union(stretches)
    assert {s for a, b in joined for s in range(a, b)} == {
        s for a, b in stretches for s in range(a, b)
    }
    assert all(b < c for (_, b), (c, _) in zip(joined, joined[1:]))
    assert total(joined) == len({s for a, b in stretches for s in range(a, b)})


@given(STRETCHES)
def test_coarse_keeps_slices_that_are_half_full(stretches):
    seconds = {s for a, b in stretches for s in range(a, b)}
    kept = {s for a, b in coarse(union(stretches), 0, 60, 15) for s in range(round(a), round(b))}
    assert kept == {
        s
        for i in range(15)
        for s in range(4 * i, 4 * i + 4)
        if len(seconds & set(range(4 * i, 4 * i + 4))) >= 2
    }


def test_few_stretches_stay_as_they_are():
    lanes = {0: [(0.0, 1.0), (2.0, 3.0)]}
    assert legible(lanes, 0.0, 4.0, 2) == (lanes, None)
    assert legible(lanes, 0.0, 4.0, 1)[1] == 20


def test_what_a_device_charged_is_computing_within_the_picture():
    def work(comm):
        torch.ones(10, 10) @ torch.ones(10, 10)  # 2 s
        with comm.span("step"):
            torch.ones(10, 10) @ torch.ones(10, 10)
            comm.barrier()

    trace = VirtualWorld(2, device=Device(1000.0)).run(work).trace
    assert stretches(trace.where(span="step"), "computing", 9.0) == {
        (0, 0): [(2.0, 4.0)],
        (1, 0): [(2.0, 4.0)],
    }
    assert stretches(trace, "computing", 9.0) == {(0, 0): [(2.0, 4.0)], (1, 0): [(2.0, 4.0)]}
