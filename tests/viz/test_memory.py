"""Bands of memory stand on each other; the finding tells the fullest moment."""

import pytest

from minidl.trace import Event, Trace
from minidl.viz.drawing.scene import Box
from minidl.viz.pictures.memory import memory

KIB = 1024


def trace(seconds=(0.0, 1.0, 2.0, 3.0)):
    made = Trace(1)
    a, b, c, d = seconds
    made.held = {
        0: [
            (1, a, 0, 4 * KIB),
            (2, b, 3, 8 * KIB),
            (3, c, 1, 4 * KIB),
            (3, c, 3, -6 * KIB),
            (4, d, 3, -2 * KIB),
        ]
    }
    made.flops = [1234]
    return made


def test_what_is_held_adds_up_over_time():
    moments, kinds = trace().memory_over_time(0)
    assert moments == [(1, 0.0), (2, 1.0), (3, 2.0), (4, 3.0)]
    assert kinds["activations"] == [0, 8 * KIB, 2 * KIB, 0] and kinds["gradients"] == [
        0,
        0,
        4 * KIB,
        4 * KIB,
    ]
    assert trace().memory_kinds(0) == {
        "parameters": 4 * KIB,
        "gradients": 4 * KIB,
        "optimizer state": 0,
        "activations": 8 * KIB,
    }


def spanned(begin, end):
    event = Event(
        0, 0, 0, "span", "world", -1, 0, (), "", 0, begin, begin, end, "run/step", "", "delivered"
    )
    made = Trace(1, [event])
    made.held = trace().held
    return made


def test_a_span_shows_its_own_time_and_what_was_held_when_it_began():
    moments, kinds = spanned(1.5, 2.5).memory_over_time(0, "step")
    assert moments == [(2, 1.5), (3, 2.0)]
    assert kinds["activations"] == [8 * KIB, 2 * KIB] and kinds["parameters"] == [4 * KIB] * 2
    assert spanned(2.5, 9.0).memory_kinds(0, "step")["activations"] == 2 * KIB
    assert spanned(4.0, 5.0).memory_over_time(0, "step")[0] == [(4, 4.0)]  # nothing changes in it
    assert "10 KiB" in spanned(2.5, 9.0).memory(0, span="step").title
    with pytest.raises(ValueError, match="rank 0 has no span 'stop'"):
        spanned(1.0, 2.0).memory(0, span="stop")


def test_the_title_tells_the_fullest_moment():
    picture = memory(trace())
    assert picture.title == "Rank 0 holds at most 12 KiB: 67 % activations, 33 % parameters"
    assert "1,234 floating-point operations" in picture.caption and len(picture.table()) == 4


def test_bands_stand_on_each_other():
    boxes = memory(trace()).scene.shapes(Box)
    below = [box for box in boxes if box.color == boxes[0].color]
    assert all(box.y - box.height / 2 == 0 for box in below)
    on_top = max(box.y + box.height / 2 for box in boxes)
    assert on_top == pytest.approx(12) and "<svg" in memory(trace()).svg()


def test_where_no_time_passes_operations_are_counted():
    picture = memory(trace((0.0, 0.0, 0.0, 0.0)))
    assert picture.scene.x.title == "operations" and "No virtual time" in picture.caption


def test_memory_that_was_not_metered_is_an_error_in_words():
    with pytest.raises(ValueError, match="meter=True"):
        Trace(2).memory()
