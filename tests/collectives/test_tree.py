"""The binomial tree: right, as cheap as the formula says, for every root."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from minidl import PerRank, RankError, VirtualWorld, costs
from minidl.collectives import naive, tree
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
    "broadcast": tree.broadcast,
    "reduce": tree.reduce,
    "all_reduce": tree.all_reduce,
    "scatter": tree.scatter,
    "gather": tree.gather,
    "barrier": tree.barrier,
}
WITH_DATA = [name for name in ALL if name != "barrier"]


def node(position, N):
    """The TreeNode at this position of a tree that stands on rank 0."""
    return tree.TreeNode(SimpleNamespace(rank=position, world_size=N), 0)


def drawn(position, N, depth=0):
    """The branch that begins here, one line a rank."""
    here = node(position, N)
    lines = ["  " * depth + f"{position} speaks for {here.size}"]
    for child in here.children:
        assert node(child.rank, N).size == child.stop - child.start
        lines += drawn(child.rank, N, depth + 1)
    return lines


def test_the_tree_of_seven_ranks():
    assert (
        "\n".join(drawn(0, 7))
        == """\
0 speaks for 7
  4 speaks for 3
    6 speaks for 1
    5 speaks for 1
  2 speaks for 2
    3 speaks for 1
  1 speaks for 1"""
    )
    for N in range(1, 40):
        for v in range(1, N):
            above = node(node(v, N).parent, N)
            assert v in [child.rank for child in above.children]
        assert sorted(int(line.split()[0]) for line in drawn(0, N)) == list(range(N))


@pytest.mark.parametrize("n", SIZES)
def test_every_rank_holds_what_one_process_computes(make_world, n):
    check(make_world(n), [case for name, fn in ALL.items() for case in variations(fn, name, n)])


@pytest.mark.parametrize("n", COUNTED)
def test_it_costs_the_formula_whatever_the_root(n):
    for name in WITH_DATA:
        for root in {0, n // 2, n - 1} if name != "all_reduce" else {0}:
            case = Case(ALL[name], name, (5,), root=root)
            formula = partial(getattr(costs, f"tree_{name}"), n, whole_nbytes(case, n))
            check_cost(case, n, formula)
    check_cost(Case(tree.barrier, "barrier"), n, lambda alpha, beta: costs.tree_barrier(n, alpha))


@pytest.mark.parametrize("n", SIZES)
def test_all_ranks_have_the_same_bits(n):
    found = bits_of_all(n, tree.all_reduce)
    assert found == [found[0]] * n
    assert (found[0] == bits_of_all(n, naive.all_reduce)[0]) == (
        n < 4
    )  # three are added in the order of ranks


def test_another_root_gives_other_bits():
    from tests.collectives.cases import adversarial, bits

    run = VirtualWorld(5).run(
        lambda comm: [tree.reduce(adversarial(comm.rank), comm, root=root) for root in range(5)]
    )
    assert len({str(bits(run.results[root][root])) for root in range(5)}) > 1


@pytest.mark.parametrize("name", ["broadcast", "reduce", "scatter", "gather"])
def test_a_root_that_does_not_exist_is_refused(name):
    from tests.collectives.cases import call, inputs

    case = Case(ALL[name], name, root=3)
    with pytest.raises(RankError, match="root 3 is not a rank: ranks go from 0 to 2"):
        VirtualWorld(3).run(lambda comm: call(case, inputs(case, 3), comm))


@pytest.mark.parametrize("name", ALL)
def test_a_dead_rank_is_told(worlds, name):
    check_death(worlds(3), ALL[name], name)


@pytest.mark.parametrize("name", WITH_DATA)
def test_different_sizes_are_told(worlds, name):
    check_disagreement(worlds(3), ALL[name], name)


@pytest.mark.parametrize("name", WITH_DATA)
def test_what_has_no_meaning_is_refused(name):
    check_refusals(VirtualWorld(3), ALL[name], name)


@pytest.mark.parametrize("name", ALL)
def test_groups_do_it_side_by_side(worlds, name):
    check_group(worlds(4), ALL[name], name)


@pytest.mark.parametrize("name", ALL)
def test_tensors_without_data(name):
    check_meta(3, ALL[name], name)


def test_nobody_leaves_the_barrier_before_all_have_entered():
    for n in SIZES:
        check_barrier(n, tree.barrier)


@pytest.mark.parametrize("n", SIZES)
def test_the_textbook_sends_the_same_messages_and_returns_the_same(make_world, n):
    def both(x, comm):
        with comm.span("textbook"):
            slow = tree.textbook_broadcast(x, comm), tree.textbook_reduce(x, comm)
        with comm.span("fast"):
            fast = tree.broadcast(x, comm), tree.reduce(x, comm)
        same_sum = slow[1] is fast[1] is None or torch.equal(slow[1], fast[1])
        return torch.equal(slow[0], fast[0]) and same_sum

    xs = [torch.randn(5, generator=torch.Generator().manual_seed(rank)) for rank in range(n)]
    run = make_world(n).run(both, PerRank(xs))
    assert run.results == [True] * n
    textbook, fast = (
        [(e.rank, e.peer, e.nbytes) for e in run.trace.where(kind="send", span=span)]
        for span in ("textbook", "fast")
    )
    assert textbook == fast
