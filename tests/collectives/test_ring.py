"""The ring: right, as cheap as the formula says, and the fast version equal to the textbook's."""

from functools import partial

import pytest
import torch

from minidl import MismatchError, PerRank, RankError, VirtualWorld, costs
from minidl.collectives import naive, ring
from tests.collectives.cases import (
    COUNTED,
    SIZES,
    Case,
    bits_of_all,
    check,
    check_cost,
    check_death,
    check_disagreement,
    check_group,
    check_meta,
    check_refusals,
    variations,
    whole_nbytes,
)
from tests.deadlines import generous

ALL = {
    "all_reduce": ring.all_reduce,
    "reduce_scatter": ring.reduce_scatter,
    "all_gather": ring.all_gather,
}
TEXTBOOK = {
    "all_reduce": ring.textbook_all_reduce,
    "reduce_scatter": ring.textbook_reduce_scatter,
    "all_gather": ring.textbook_all_gather,
}


@pytest.mark.parametrize("n", SIZES)
def test_every_rank_holds_what_one_process_computes(make_world, n):
    check(make_world(n), [case for name, fn in ALL.items() for case in variations(fn, name, n)])


@pytest.mark.parametrize("n", COUNTED)
def test_it_costs_the_formula(n):
    for name in ("reduce_scatter", "all_gather"):
        case = Case(ALL[name], name, (5,))
        check_cost(case, n, partial(getattr(costs, f"ring_{name}"), n, whole_nbytes(case, n)))
    for count in (0, 1, 3, 16, 37):  # chunks of different sizes, empty ones among them
        case = Case(ring.all_reduce, "all_reduce", (count,))
        check_cost(case, n, partial(costs.ring_all_reduce, n, 4 * count, itemsize=4))


@pytest.mark.parametrize("n", SIZES)
def test_the_fast_version_sends_what_the_textbook_sends_and_returns_its_bits(make_world, n):
    def both(name, x, comm):
        with comm.span("textbook"):
            slow = TEXTBOOK[name](x, comm)
        with comm.span("fast"):
            fast = ALL[name](x, comm)
        return torch.equal(slow, fast)

    for name in ALL:
        xs = [
            torch.randn(3 * n, generator=torch.Generator().manual_seed(rank)) for rank in range(n)
        ]
        run = make_world(n).run(both, name, PerRank(xs))
        assert run.results == [True] * n
        sent = {
            span: [(e.rank, e.peer, e.nbytes) for e in run.trace.where(kind="send", span=span)]
            for span in ("textbook", "fast")
        }
        assert sent["textbook"] == sent["fast"]


@pytest.mark.parametrize("n", SIZES)
def test_memory_that_is_kept_is_used_again(make_world, n):
    def kept(comm):
        x, part = torch.arange(4 * n).float() + comm.rank, torch.ones(2, 3) * comm.rank
        places = torch.full((4 * n,), -1.0), torch.full((4,), -1.0), torch.full((2 * n, 3), -1.0)
        alike = True
        for _ in range(2):
            given = (
                ring.all_reduce(x, comm, into=places[0]),
                ring.reduce_scatter(x, comm, into=places[1]),
                ring.all_gather(part, comm, into=places[2]),
            )
            wanted = (
                naive.all_reduce(x, comm),
                naive.reduce_scatter(x, comm),
                naive.all_gather(part, comm),
            )
            alike &= all(map(torch.equal, given, wanted)) and all(map(torch.equal, places, wanted))
            alike &= all(a.data_ptr() == b.data_ptr() for a, b in zip(given, places))
        return alike

    assert make_world(n).run(kept).results == [True] * n


@pytest.mark.parametrize(
    "into, words",
    [
        (torch.ones(3), "of shape .4,. and torch.float32, not .3,."),
        (torch.ones(4, dtype=torch.float64), "not .4,. and torch.float64"),
        (torch.ones(8)[::2], "contiguous"),
        ("x", "into must not be x"),
    ],
)
def test_a_wrong_place_is_refused(into, words):
    def part(comm):
        x = torch.ones(4)
        ring.all_reduce(x, comm, into=x if isinstance(into, str) else into)

    with pytest.raises(RankError, match=words):
        VirtualWorld(2).run(part)


@pytest.mark.parametrize("n", SIZES)
def test_all_ranks_have_the_same_bits(n):
    found = bits_of_all(n, ring.all_reduce)
    assert found == [found[0]] * n


def test_the_bits_depend_on_the_place_in_the_tensor():
    xs = [torch.full((5,), value) for value in (0.1, 0.7, 1e5, -1e5, 1e-3)]
    assert (
        len(set(bits_of_all(5, ring.all_reduce, xs)[0])) > 1
    )  # equal elements, unequal sums: chunks begin elsewhere
    assert len(set(bits_of_all(5, naive.all_reduce, xs)[0])) == 1


@pytest.mark.parametrize("name", ALL)
def test_a_dead_rank_is_told(worlds, name):
    check_death(worlds(3), ALL[name], name)


@pytest.mark.parametrize("name", ALL)
def test_different_sizes_are_told(worlds, name):
    check_disagreement(worlds(3), ALL[name], name)


def test_one_element_more_is_told_wherever_it_falls(make_world):
    def differ(odd, comm):
        ring.all_reduce(torch.ones(9 + (comm.rank == odd)), comm)

    for odd in range(4):
        with pytest.raises(MismatchError, match="float32"):
            make_world(4).run(differ, odd, timeout=generous(10))


@pytest.mark.parametrize("name", ALL)
def test_what_has_no_meaning_is_refused(name):
    check_refusals(VirtualWorld(3), ALL[name], name)


@pytest.mark.parametrize("name", ALL)
def test_groups_do_it_side_by_side(worlds, name):
    check_group(worlds(4), ALL[name], name)


@pytest.mark.parametrize("name", ALL)
def test_tensors_without_data(name):
    check_meta(3, ALL[name], name)
