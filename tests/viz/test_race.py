"""A challenge as bars: the bound, the paper, this run, and the best before it."""

import pytest

from minidl.viz.drawing.scene import Box, Path
from minidl.viz.pictures.race import race


def test_faster_than_the_paper_and_how_far_from_the_bound():
    picture = race(3e-4, 1e-4, "binomial tree", 3.6e-4, earlier=[3e-4, 3.2e-4, 5e-4])
    assert picture.title == "Faster than binomial tree: 3 times the lower bound"
    assert picture.table()["who"] == [
        "lower bound",
        "binomial tree",
        "yours, now",
        "your best",
        "your second best",
    ]
    assert [box.x1 for box in picture.scene.shapes(Box)][:3] == pytest.approx([100, 360, 300])
    assert picture.scene.shapes(Path)[0].xs == pytest.approx((100, 100)) and "<svg" in picture.svg()


def test_slower_and_as_fast():
    assert race(5.0, 1.0, "a tree", 4.0).title.startswith("Slower than a tree: 5 times")
    assert race(4.0, 1.0, "a tree", 4.0).title.startswith("As fast as a tree")
