"""Numbers are written so that they can be read."""

import pytest

from minidl.viz.drawing.units import (
    axis_seconds,
    bytes_text,
    count_text,
    percent,
    power_ticks,
    round_ticks,
    seconds_text,
)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"),
        (2.1e-4, "210 us"),
        (1e-3, "1 ms"),
        (0.0123, "12.3 ms"),
        (2, "2 s"),
        (5e-10, "0.5 ns"),
        (4000, "4,000 s"),
    ],
)
def test_seconds(seconds, text):
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    "nbytes, text",
    [
        (0, "0 B"),
        (48, "48 B"),
        (1024, "1 KiB"),
        (49152, "48 KiB"),
        (3 << 20, "3 MiB"),
        (1.5 * 2**30, "1.5 GiB"),
    ],
)
def test_bytes(nbytes, text):
    assert bytes_text(nbytes) == text


def test_counts():
    assert (
        count_text(1, "message") == "1 message"
        and count_text(12_000, "message") == "12,000 messages"
    )
    assert percent(61, 100) == "61 %" and percent(1, 0) == "0 %"


@pytest.mark.parametrize(
    "width, unit", [(1e-4, "us"), (6.6e-3, "ms"), (1.2, "ms"), (3.0, "s"), (0.0, "us")]
)
def test_an_axis_holds_at_least_two_of_its_unit(width, unit):
    assert axis_seconds(width)[1] == unit


def test_ticks_are_round():
    assert round_ticks(0, 6.6) == [0, 1, 2, 3, 4, 5, 6] and round_ticks(0.1, 0.32, 5) == [
        0.1,
        0.15,
        0.2,
        0.25,
        0.3,
    ]
    assert power_ticks(3, 5000, 4, bytes_text) == [
        (4, "4 B"),
        (16, "16 B"),
        (64, "64 B"),
        (256, "256 B"),
        (1024, "1 KiB"),
        (4096, "4 KiB"),
    ]
    assert [text for _, text in power_ticks(1e-4, 2e-3, 10, seconds_text)] == [
        "100 us",
        "200 us",
        "500 us",
        "1 ms",
        "2 ms",
    ]
