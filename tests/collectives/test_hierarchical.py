"""Islands: right for every partition, as cheap as the formula says, and cheap where it matters."""

from functools import partial

import pytest
import torch

from minidl import (
    Crash,
    Islands,
    MismatchError,
    Op,
    RankDied,
    RankError,
    Uniform,
    VirtualWorld,
    costs,
)
from minidl.collectives import hierarchical, naive, ring
from tests.collectives.cases import Case, bits_of_all, check, check_cost, variations
from tests.deadlines import generous

PARTITIONS = [
    [[0]],
    [[0, 1]],
    [[0], [1]],
    [[1, 0], [2]],
    [[0, 1], [2, 3]],
    [[3, 1], [2, 0]],
    [[2], [0, 1, 3]],
    [[0, 1, 2], [3, 4]],
    [[4, 2], [0], [1, 3, 6, 5]],
    [[0, 1, 2, 3], [4, 5, 6, 7]],
    [[0, 1], [2, 3], [4, 5], [6, 7]],
]


def on(islands, **policy):
    return partial(hierarchical.all_reduce, islands=islands, **policy)


def size(islands):
    return sum(map(len, islands))


@pytest.mark.parametrize("islands", PARTITIONS, ids=str)
def test_every_rank_holds_what_one_process_computes(make_world, islands):
    policies = [{}, {"inside": naive, "between": naive.all_reduce}]
    check(
        make_world(size(islands)),
        [
            case
            for policy in policies
            for case in variations(on(islands, **policy), "all_reduce", size(islands))
        ],
    )


@pytest.mark.parametrize(
    "islands", [*PARTITIONS, [[4 * i + j for j in range(4)] for i in range(4)]], ids=str
)
def test_it_costs_the_formula(islands):
    sizes, n = [len(island) for island in islands], size(islands)
    depths = {(len(island) - 1).bit_length() for island in islands}
    for count in (0, 5, 12):
        case = Case(on(islands), "all_reduce", (count,))
        if len(depths) == 1:
            formula = partial(costs.hierarchical_all_reduce, sizes, 4 * count, itemsize=4)
            check_cost(case, n, formula)
        else:
            run = VirtualWorld(n, network=Uniform(1e-6, 1e-9)).run(case.fn, torch.ones(count))
            bound = costs.hierarchical_all_reduce(sizes, 4 * count, 1e-6, 1e-9, itemsize=4)
            assert 0 < run.trace.seconds() <= bound.seconds * (1 + 1e-9)
            sent, nbytes = run.trace.sent(), run.trace.sent("nbytes")
            assert (max(sent), max(nbytes), sum(sent), sum(nbytes)) == (
                bound.messages,
                bound.nbytes,
                *bound[4:],
            )


def test_slow_links_are_crossed_by_leaders_only_and_that_pays():
    network, x, islands = Islands(4), torch.ones(1000), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    run = VirtualWorld(12, network=network).run(on(islands), x)
    assert {
        (e.rank, e.peer) for e in run.trace.where(kind="send") if e.rank // 4 != e.peer // 4
    } == {(0, 4), (4, 8), (8, 0)}
    fast, slow = (network.fast.alpha, network.fast.beta), (network.slow.alpha, network.slow.beta)
    assert run.trace.seconds() == pytest.approx(
        costs.hierarchical_all_reduce([4, 4, 4], x.nbytes, *fast, between=slow, itemsize=4).seconds
    )
    assert (
        run.trace.seconds()
        < VirtualWorld(12, network=network).run(ring.all_reduce, x).trace.seconds() / 4
    )


@pytest.mark.parametrize("islands", PARTITIONS, ids=str)
def test_all_ranks_have_the_same_bits(islands):
    found = bits_of_all(size(islands), on(islands))
    assert found == [found[0]] * size(islands)


def test_other_islands_give_other_bits():
    assert bits_of_all(4, on([[0, 1], [2, 3]])) != bits_of_all(4, on([[0, 2], [1, 3]]))


@pytest.mark.parametrize("islands", [[[0, 1]], [[0, 1], [1, 2]], [[0, 1, 2], [3]], [[0, 1, 2], []]])
def test_islands_that_are_no_partition_are_refused(islands):
    with pytest.raises(RankError, match="islands must hold each of 3 ranks once"):
        VirtualWorld(3).run(on(islands), torch.ones(1))


def test_a_dead_rank_and_different_sizes_are_told(worlds):
    def differ(comm):
        hierarchical.all_reduce(torch.ones(4 if comm.rank else 8), comm, islands=[[0, 1], [2, 3]])

    with pytest.raises(RankDied, match="rank 1"):
        worlds(4).run(
            on([[0, 1], [2, 3]]),
            torch.ones(3),
            faults=[Crash(rank=1, at=Op(0))],
            timeout=generous(10),
        )
    with pytest.raises(MismatchError, match="float32"):
        worlds(4).run(differ, timeout=generous(10))


def test_the_mean_over_islands_of_different_sizes_counts_every_rank_once():
    run = VirtualWorld(4).run(
        lambda comm: hierarchical.all_reduce(
            torch.tensor([4.0 * comm.rank]), comm, islands=[[0], [1, 2, 3]], op="mean"
        )
    )
    assert [float(x) for x in run.results] == [6.0] * 4
