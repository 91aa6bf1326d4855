"""Curves stand where their numbers are; those that coincide all stay visible, and the title says
what the numbers say.
"""

import plotly.graph_objects as go
import pytest

from minidl.viz.drawing.scene import Dot, Path
from minidl.viz.pictures.curves import curves
from tests.viz.test_lamport import layer

TWO = {"mean": [3.0, 2.0, 1.0], "sum": [3.0, 1.0, 0.5]}


def test_a_list_is_one_value_a_step_and_pairs_stand_where_they_say():
    (path,) = layer(curves(TWO), "sum").shapes
    assert list(zip(path.xs, path.ys)) == [(0, 3.0), (1, 1.0), (2, 0.5)]
    (path,) = layer(curves({"time": [(16, 2.0), (64, 3.0)]}, x="bytes", y="ms"), "time").shapes
    assert list(zip(path.xs, path.ys)) == [(16, 2.0), (64, 3.0)]


def test_the_title_names_the_lowest_and_the_highest_end():
    assert curves(TWO).title == "Lowest loss at the end: sum, 0.5; highest: mean, 1"
    assert curves({"mean": TWO["mean"]}).title == "mean: loss goes from 3 to 1"
    assert curves(TWO, title="The sum is twice as fast").title == "The sum is twice as fast"


def test_curves_that_coincide_are_bands_within_each_other():
    picture = curves({"1": [3.0, 1.0], "2": [3.0, 1.0 + 1e-6], "3": [3.0, 1.0]})
    widths = [path.width for path in picture.scene.shapes(Path)]
    assert (
        picture.title == "The 3 curves coincide: they differ by 1e-06 at most"
        and "a band within the one before" in picture.caption
    )
    assert widths == sorted(widths, reverse=True) and len(set(widths)) == 3
    assert curves({"1": [3.0, 1.0], "2": [3.0, 1.0]}).title == "The 2 curves are the same"
    other_places = curves({"1": [(0, 3.0), (1, 1.0)], "2": [(0, 3.0), (2, 1.0)]})
    assert other_places.title.startswith("Lowest loss at the end")


def test_lines_differ_by_more_than_their_colour():
    layers = [
        layer
        for layer in curves({str(i): [i, 2 * i] for i in range(6)}).scene.layers
        if layer.kind is Path
    ]
    assert len({layer.style for layer in layers}) == 6


def test_what_cannot_be_drawn_is_left_out_and_counted_so():
    picture = curves(
        {"a": [1.0, float("nan"), float("inf"), 2.0], "b": [0.0, 1.0, 2.0, 4.0]}, log="y"
    )
    assert repr(picture) == "Picture(curves: 2 lines, 5 points)" and len(picture.table()) == 5
    assert picture.scene.y.log and not picture.scene.x.log and len(picture.scene.shapes(Dot)) == 5
    with pytest.raises(ValueError, match="no curve has a point"):
        curves({"a": [float("nan")]})
    for number in (0, 9):
        with pytest.raises(ValueError, match=f"1 to 8 curves can be told apart, not {number}"):
            curves({str(i): [1.0] for i in range(number)})


@pytest.mark.parametrize(
    "lines, log", [(TWO, ""), (TWO, "y"), ({"a": [(1, 5.0), (100, 5.0)]}, "x"), ({"a": [1.0]}, "")]
)
def test_both_drawings_are_made_of_it(lines, log):
    picture = curves(lines, log=log)
    go.Figure({key: value for key, value in picture.plotly().items() if key in ("data", "layout")})
    assert picture.svg().startswith("<svg") and all(name in picture.svg() for name in lines)
