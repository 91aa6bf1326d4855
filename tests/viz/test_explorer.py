"""The cost explorer: its lines are the closed forms, and they cross where arithmetic says so."""

import time

import plotly.graph_objects as go
import pytest

from minidl import costs
from minidl.viz.drawing.scene import Dot, Path
from minidl.viz.pictures.explorer import CHANGES, explore_costs
from tests.viz.test_lamport import layer

PAIR = {"ring": costs.ring_all_reduce, "tree": costs.tree_all_reduce}


def crossing(N, alpha, beta):
    """2 (N - 1) (alpha + beta n / N) = 2 log2 N (alpha + beta n), solved for n."""
    steps = (N - 1).bit_length()
    return alpha * (N - 1 - steps) / (beta * (steps - (N - 1) / N))


@pytest.mark.parametrize("N, alpha, beta", [(4, 20e-6, 1e-9), (8, 1e-4, 4e-10), (32, 5e-6, 1e-8)])
def test_the_crossover_is_where_arithmetic_puts_it(N, alpha, beta):
    picture = explore_costs(PAIR, ranks=N, alpha=alpha, beta=beta)
    ((nbytes, was, now),) = picture.by_size
    assert (was, now) == ("tree", "ring") and crossing(N, alpha, beta) - 1e-6 <= nbytes <= crossing(
        N, alpha, beta
    ) + 2 * N
    (ring,) = [dot for dot in picture.scene.shapes(Dot) if dot.symbol == "ring"]
    assert (ring.x, ring.y) == (nbytes, costs.ring_all_reduce(N, nbytes, alpha, beta).seconds)
    assert (
        costs.ring_all_reduce(N, nbytes - 2 * N, alpha, beta).seconds
        > costs.tree_all_reduce(N, nbytes - 2 * N, alpha, beta).seconds
    )


def test_the_title_names_the_crossover():
    assert (
        explore_costs(PAIR, ranks=4).title
        == "From 15.6 KiB on the ring is faster than the tree, over 4 ranks"
    )
    three = explore_costs({**PAIR, "flat": lambda N, n, alpha, beta: 5e-5 + 1e-7 * n}, ranks=8)
    assert (
        three.title.startswith("Fastest over 8 ranks: the flat up to ")
        and three.title.endswith(", then the ring")
        and len(three.by_size) == 2
    )
    assert (
        explore_costs({"ring": PAIR["ring"], "naive": costs.naive_all_reduce}, ranks=8).title
        == "The ring is fastest at every size, over 8 ranks"
    )


def test_more_ranks_change_the_winner_too():
    picture = explore_costs(PAIR, n=1 << 12, ranks=6)
    assert (
        picture.by_ranks == [(4, "ring", "tree")]
        and "At 4 KiB, fastest: ring, tree from 4 ranks on." in picture.caption
    )
    (ring,) = [dot for dot in picture.scene.beside.shapes(Dot) if dot.symbol == "ring"]
    assert (ring.x, ring.y) == (4, costs.tree_all_reduce(4, 1 << 12, 20e-6, 1e-9).seconds)


def test_every_point_of_a_line_is_the_closed_form():
    picture = explore_costs(PAIR, n=3000, ranks=7, alpha=1e-5, beta=2e-9)
    for name, N, nbytes, seconds, measured in picture.table():
        assert (
            seconds == PAIR[name](N, nbytes, 1e-5, 2e-9).seconds
            and nbytes % N == 0
            and measured is None
        )
    for scene, column in ((picture.scene, "nbytes"), (picture.scene.beside, "ranks")):
        assert scene.x.log and scene.y.log
        for name in PAIR:
            (path,) = layer(scene_picture(scene), name).shapes
            assert list(zip(path.xs, path.ys)) == [
                (row[2 if column == "nbytes" else 1], row[3])
                for row in rows_of(picture, name, column)
            ]


def scene_picture(scene):
    """Something with the scene as its scene."""
    return type("", (), {"scene": scene})


def rows_of(picture, name, column):
    rows = [row for row in picture.table() if row[0] == name]
    points = len(layer(picture, name).shapes[0].xs)
    return rows[:points] if column == "nbytes" else rows[points:]


def test_measured_times_stand_beside_their_predictions():
    points = [(4096, 3e-4), (1 << 20, 2e-3)]
    picture = explore_costs(PAIR, ranks=4, measured={"ring": points})
    dots = layer(picture, "ring, measured").shapes
    assert [(dot.x, dot.y) for dot in dots] == points
    rows = [row for row in picture.table() if row[4] is not None]
    assert [row[2:] for row in rows] == [
        (size, costs.ring_all_reduce(4, size, 20e-6, 1e-9).seconds, t) for size, t in points
    ]
    ratios = [row[4] / row[3] for row in rows]
    assert f"{min(ratios):.3g} to {max(ratios):.3g} times the predicted ones" in picture.caption
    assert picture.scene.x.low < 4096 and picture.scene.x.high > 1 << 20


def test_a_line_is_told_by_its_dashes_and_a_mark_by_its_shape():
    picture = explore_costs(
        {**PAIR, "naive": costs.naive_all_reduce}, measured={name: [(1024, 1e-3)] for name in PAIR}
    )
    lines = [
        layer
        for layer in picture.scene.layers
        if isinstance(layer.shapes[0], Path) and layer.legend
    ]
    assert (
        len({line.style for line in lines}) == 3
        and len({line.shapes[0].color for line in lines}) == 3
    )
    assert [layer(picture, f"{name}, measured").shapes[0].symbol for name in PAIR] == [
        "circle",
        "square",
    ]
    assert picture.svg().count("stroke-dasharray") >= 4 and '"dash"' in str(
        picture.plotly()
    ).replace("'", '"')


def test_both_plots_are_in_both_forms():
    picture = explore_costs(PAIR, ranks=8)
    figure = picture.plotly()
    figure.pop("config")
    go.Figure(figure)
    assert sum(trace.get("xaxis") == "x2" for trace in figure["data"]) == len(
        picture.scene.beside.layers
    )
    assert figure["layout"]["xaxis"]["domain"][1] < figure["layout"]["xaxis2"]["domain"][0]
    assert (
        picture.svg().count('<g class="ring">') == 2
        and picture.svg().count(">1 MiB<") + picture.svg().count("ranks, at 1 MiB") >= 1
    )
    assert repr(picture) == "Picture(explore_costs: 2 algorithms, 8 ranks)"
    assert figure == {
        key: value
        for key, value in explore_costs(PAIR, ranks=8).plotly().items()
        if key != "config"
    }


def test_it_follows_a_slider():
    names = ("ring", "tree", "naive", "doubling", "halving_doubling")
    many = {name: getattr(costs, f"{name}_all_reduce") for name in names}
    start = time.process_time()
    for ranks in (4, 8, 16, 64):
        explore_costs(many, ranks=ranks)._repr_mimebundle_()
    assert time.process_time() - start < 4 * 0.05  # about 5 ms each


def test_a_winner_that_changes_often_is_counted_and_not_marked():
    names = {
        "ring": costs.ring_all_reduce,
        "halving": costs.halving_doubling_all_reduce,
    }  # powers of two suit the second
    picture = explore_costs(names)
    assert (
        len(picture.by_ranks) > CHANGES
        and f"the fastest changes {len(picture.by_ranks)} times" in picture.caption
    )
    assert not [dot for dot in picture.scene.beside.shapes(Dot) if dot.symbol == "ring"]


def test_an_algorithm_may_refuse_some_ranks():
    def powers_only(N, n, alpha, beta):
        if N & (N - 1):
            raise ValueError("a power of two")
        return alpha * N.bit_length()

    picture = explore_costs({"powers": powers_only, "ring": costs.ring_all_reduce}, ranks=8)
    (path,) = layer(scene_picture(picture.scene.beside), "powers").shapes
    assert list(path.xs) == [2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize(
    "wrong, says",
    [
        (dict(algorithms={}), "1 to 8 algorithms"),
        (dict(measured={"rnig": []}), "rnig; the algorithms are ring, tree"),
        (dict(ranks=1), "2 ranks or more"),
        (dict(alpha=0, beta=0), "not both 0"),
        (dict(beta=-1), "not negative"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(wrong, says):
    with pytest.raises(ValueError, match=says):
        explore_costs(**{"algorithms": PAIR, **wrong})
