"""Doubling and halving: right for every number of ranks, as cheap as the formula says,
the same bits everywhere.
"""

from functools import partial

import pytest
import torch

from minidl import PerRank, VirtualWorld, costs
from minidl.collectives import doubling, tree
from tests.collectives.cases import (
    COUNTED,
    SIZES,
    Case,
    bits_of_all,
    check,
    check_barrier,
    check_cost,
    check_death,
    check_disagreement,
    check_group,
    check_meta,
    check_refusals,
    variations,
    whole_nbytes,
)

ALL = {
    "doubling_all_reduce": doubling.all_reduce,
    "halving_doubling_all_reduce": doubling.halving_doubling_all_reduce,
    "doubling_reduce_scatter": doubling.reduce_scatter,
    "doubling_all_gather": doubling.all_gather,
    "doubling_barrier": doubling.barrier,
}
WITH_DATA = [name for name in ALL if name != "doubling_barrier"]
ALL_REDUCES = [doubling.all_reduce, doubling.halving_doubling_all_reduce]


def collective(name):
    return name.removeprefix("halving_").removeprefix("doubling_")


def test_who_rests():
    assert [doubling.team_of(n) for n in range(1, 9)] == [
        [0],
        [0, 1],
        [1, 2],
        [0, 1, 2, 3],
        [1, 2, 3, 4],
        [1, 3, 4, 5],
        [1, 3, 5, 6],
        [0, 1, 2, 3, 4, 5, 6, 7],
    ]


@pytest.mark.parametrize("n", SIZES)
def test_every_rank_holds_what_one_process_computes(make_world, n):
    check(
        make_world(n),
        [case for name, fn in ALL.items() for case in variations(fn, collective(name), n)],
    )


@pytest.mark.parametrize("n", SIZES)
def test_gathered_chunks_go_where_they_are_wanted(make_world, n):
    def kept(comm):
        place = torch.full((2 * n, 3), -1.0)
        given = doubling.all_gather(torch.ones(2, 3) * comm.rank, comm, into=place)
        wanted = torch.arange(float(n)).repeat_interleave(2)[:, None].expand(-1, 3)
        return (
            torch.equal(place, wanted)
            and torch.equal(given, wanted)
            and given.data_ptr() == place.data_ptr()
        )

    assert make_world(n).run(kept).results == [True] * n


@pytest.mark.parametrize("n", [*COUNTED, 6, 13])
def test_it_costs_the_formula(n):
    for name in WITH_DATA:
        near_equal = name == "halving_doubling_all_reduce"
        for count in (0, 1, 3, 16, 37) if near_equal else (5,):
            case = Case(ALL[name], collective(name), (count,))
            itemsize = {"itemsize": 4} if near_equal else {}
            formula = partial(getattr(costs, name), n, whole_nbytes(case, n), **itemsize)
            check_cost(case, n, formula)
    check_cost(
        Case(doubling.barrier, "barrier"), n, lambda alpha, beta: costs.doubling_barrier(n, alpha)
    )


@pytest.mark.parametrize("n", [*SIZES, 6])
def test_all_ranks_have_the_same_bits(n):
    for fn in ALL_REDUCES:
        found = bits_of_all(n, fn)
        assert found == [found[0]] * n
    if n & n - 1 == 0:
        assert bits_of_all(n, doubling.all_reduce) == bits_of_all(n, tree.all_reduce)


def test_the_larger_of_two_zeros_is_the_same_on_all_ranks():
    xs = [torch.tensor([0.0, -0.0]), torch.tensor([-0.0, 0.0]), torch.tensor([-0.0, 0.0])]

    def unordered(x, comm):
        return torch.maximum(x, comm.exchange(x, to=comm.right, source=comm.left))

    assert (
        len({str(found) for found in bits_of_all(2, unordered, xs)}) == 2
    )  # why in_rank_order is there
    for n in (2, 3):
        for fn in ALL_REDUCES:
            assert len({str(found) for found in bits_of_all(n, fn, xs, op="max")}) == 1


def test_the_bits_do_not_depend_on_the_place_in_the_tensor():
    xs = [torch.full((5,), value) for value in (0.1, 0.7, 1e5, -1e5, 1e-3)]
    for fn in ALL_REDUCES:
        assert len(set(bits_of_all(5, fn, xs)[0])) == 1


@pytest.mark.parametrize("name", ALL)
def test_a_dead_rank_is_told(worlds, name):
    check_death(worlds(3), ALL[name], collective(name))


@pytest.mark.parametrize("name", WITH_DATA)
def test_different_sizes_are_told(worlds, name):
    check_disagreement(worlds(3), ALL[name], collective(name))


@pytest.mark.parametrize("name", WITH_DATA)
def test_what_has_no_meaning_is_refused(name):
    check_refusals(VirtualWorld(3), ALL[name], collective(name))


@pytest.mark.parametrize("name", ALL)
def test_groups_do_it_side_by_side(worlds, name):
    check_group(worlds(4), ALL[name], collective(name))


@pytest.mark.parametrize("name", ALL)
def test_tensors_without_data(name):
    check_meta(3, ALL[name], collective(name))


def test_nobody_leaves_the_barrier_before_all_have_entered():
    for n in SIZES:
        check_barrier(n, doubling.barrier)


@pytest.mark.parametrize("name", ["all_reduce", "reduce_scatter", "all_gather"])
@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_the_textbook_sends_the_same_messages_and_returns_the_same_bits(make_world, n, name):
    def both(x, comm):
        with comm.span("textbook"):
            slow = getattr(doubling, f"textbook_{name}")(x, comm)
        with comm.span("fast"):
            fast = getattr(doubling, name)(x, comm)
        return torch.equal(slow, fast)

    xs = [torch.randn(2 * n, generator=torch.Generator().manual_seed(rank)) for rank in range(n)]
    run = make_world(n).run(both, PerRank(xs))
    assert run.results == [True] * n
    textbook, fast = (
        [(e.rank, e.peer, e.nbytes) for e in run.trace.where(kind="send", span=span)]
        for span in ("textbook", "fast")
    )
    assert textbook == fast
