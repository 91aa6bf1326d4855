"""Closed forms against numbers worked out by hand, against each other,
and against random virtual runs.

That every collective costs its formula is tested beside it, in tests/collectives.
"""

import ast
import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import costs
from minidl.collectives import doubling, hierarchical, ring
from tests.collectives.cases import Case, check_cost

COLLECTIVES = {
    name: fn
    for name, fn in vars(costs).items()
    if inspect.isfunction(fn)
    and fn.__module__.startswith(costs.__name__)
    and not name.startswith("_")
    and name not in ("lower_bound", "hierarchical_all_reduce")
}
NINE = {
    "all_reduce",
    "reduce_scatter",
    "all_gather",
    "all_to_all",
    "broadcast",
    "reduce",
    "scatter",
    "gather",
    "barrier",
}


def price(name, N, n, alpha=0.0, beta=0.0):
    return (
        COLLECTIVES[name](N, alpha)
        if name.endswith("barrier")
        else COLLECTIVES[name](N, n, alpha, beta)
    )


def collective_of(name):
    return max((c for c in NINE if name.endswith(c)), key=len)


def table(N, n):
    """Steps, and per busiest rank messages and bytes, of every formula."""
    rows = [(name, *price(name, N, n)[:3]) for name in sorted(COLLECTIVES)]
    return "\n".join(
        f"{name:28} {steps:2} {messages:2} {nbytes:4}" for name, steps, messages, nbytes in rows
    )


def test_eight_ranks_and_eighty_bytes():
    assert (
        table(8, 80)
        == """\
doubling_all_gather           3  3   70
doubling_all_reduce           3  3  240
doubling_barrier              3  3    0
doubling_reduce_scatter       3  3   70
halving_doubling_all_reduce   6  6  140
naive_all_gather             14  7  560
naive_all_reduce             14  7  560
naive_all_to_all              7  7   70
naive_barrier                14  7    0
naive_broadcast               7  7  560
naive_gather                  7  1   10
naive_reduce                  7  1   80
naive_reduce_scatter         14  7   80
naive_scatter                 7  7   70
ring_all_gather               7  7   70
ring_all_reduce              14 14  140
ring_reduce_scatter           7  7   70
tree_all_reduce               6  3  240
tree_barrier                  6  3    0
tree_broadcast                3  3  240
tree_gather                   3  1   40
tree_reduce                   3  1   80
tree_scatter                  3  3   70"""
    )


def test_chunks_that_differ_by_an_element():
    # 10 floats over 4 ranks: chunks of 12, 12, 8, 8 bytes. Rank 2 sends chunks 2 and 3 once, all
    # others twice.
    cost = costs.ring_all_reduce(4, 40, alpha=1.0, beta=1.0, itemsize=4)
    assert cost == costs.Cost(
        steps=6,
        messages=6,
        nbytes=2 * 40 - 8 - 8,
        seconds=6 * (1 + 12),
        total_messages=24,
        total_nbytes=240,
    )
    # Halving gives 20 and 8 or 12 away, doubling 12 or 8 and 24 or 16: in the first ranks' way
    # lie 24 and 12, twice.
    assert costs.halving_doubling_all_reduce(4, 40, 1.0, 1.0, itemsize=4).seconds == 4 + 2 * (
        24 + 12
    )


@pytest.mark.parametrize("name", sorted(COLLECTIVES))
def test_no_formula_beats_the_lower_bound_and_one_rank_pays_nothing(name):
    assert price(name, 1, 840, 1.0, 1.0) == (0, 0, 0, 0.0, 0, 0)
    for N in (2, 3, 4, 5, 6, 7, 8, 12):
        for alpha, beta in ((1, 0), (0, 1), (3, 0.5)):
            cost, bound = (
                price(name, N, 840, alpha, beta),
                costs.lower_bound(collective_of(name), N, 840, alpha, beta),
            )
            assert cost.seconds >= bound * (1 - 1e-12), (N, alpha, beta)
            assert (
                N * cost.messages >= cost.total_messages >= cost.messages
                and N * cost.nbytes >= cost.total_nbytes >= cost.nbytes
            )


def test_what_reaches_the_bound():
    assert costs.ring_all_reduce(8, 80, beta=1.0).seconds == costs.lower_bound(
        "all_reduce", 8, 80, beta=1.0
    )
    assert costs.halving_doubling_all_reduce(8, 80, beta=1.0).seconds == costs.lower_bound(
        "all_reduce", 8, 80, beta=1.0
    )
    assert costs.doubling_all_reduce(8, 80, alpha=1.0).seconds == costs.lower_bound(
        "all_reduce", 8, 80, alpha=1.0
    )
    assert costs.tree_scatter(7, 70, 1.0, 1.0).seconds == costs.lower_bound(
        "scatter", 7, 70, 1.0, 1.0
    )


def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match="10 bytes do not split over 4 ranks"):
        costs.ring_all_gather(4, 10)
    with pytest.raises(ValueError, match="10 bytes is not a multiple of the element size, 4 bytes"):
        costs.ring_all_reduce(2, 10, itemsize=4)
    with pytest.raises(ValueError, match="no bound for 'sum'; there is one for broadcast"):
        costs.lower_bound("sum", 4, 10)


def test_links_between_islands_may_be_slower():
    inside, across = (1.0, 0.0), (100.0, 0.0)
    assert costs.hierarchical_all_reduce([4, 4], 8, *inside).seconds == 4 + 2
    assert costs.hierarchical_all_reduce([4, 4], 8, *inside, between=across).seconds == 4 + 200


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 12), count=st.integers(0, 60))
def test_random_sizes_cost_the_formula(n, count):
    def cost_of(name, *sizes):
        return lambda alpha, beta: getattr(costs, name)(
            *(sizes or [n]), 4 * count, alpha, beta, itemsize=4
        )

    check_cost(Case(ring.all_reduce, "all_reduce", (count,)), n, cost_of("ring_all_reduce"))
    check_cost(
        Case(doubling.halving_doubling_all_reduce, "all_reduce", (count,)),
        n,
        cost_of("halving_doubling_all_reduce"),
    )
    islands = [[2 * i, 2 * i + 1] for i in range(n)]

    def two_a_piece(x, comm, op):
        return hierarchical.all_reduce(x, comm, op=op, islands=islands)

    check_cost(
        Case(two_a_piece, "all_reduce", (count,)),
        2 * n,
        cost_of("hierarchical_all_reduce", [2] * n),
    )


@pytest.mark.parametrize("N", [1, 2, 3, 5, 8, 13, 64, 1000])
def test_no_list_of_ranks_is_needed(N):
    """The closed forms against chunks and branches listed one by one."""
    for count in (0, 1, N - 1, N, 2 * N + 1, 3 * N - 1):
        chunks = [count // N + (i < count % N) for i in range(N)]
        sent = [2 * count - chunks[i] - chunks[(i + 1) % N] for i in range(N)]
        assert costs.ring_all_reduce(N, 4 * count, itemsize=4).nbytes == 4 * max(sent)
        assert costs.hierarchical_all_reduce([1] * N, 4 * count, itemsize=4).nbytes == 4 * max(sent)
    branches = [
        min(place & -place, N - place) for place in range(1, N)
    ]  # how many ranks hang on each
    assert costs.tree_scatter(N, N).total_nbytes == sum(branches) and costs.tree_gather(
        N, N
    ).nbytes == max(branches, default=0)


def test_the_formulas_need_no_tensor():
    imported = set()
    for node in ast.walk(ast.parse(inspect.getsource(costs.collectives))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported == {"typing"}
