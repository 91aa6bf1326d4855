"""The meaning of each collective, and what it costs to do it through the root."""

from functools import partial

import pytest
import torch

from minidl import VirtualWorld, costs
from minidl.collectives import naive
from tests.collectives.cases import (
    COUNTED,
    SIZES,
    Case,
    adversarial,
    bits,
    bits_of_all,
    check,
    check_barrier,
    check_cost,
    check_death,
    check_disagreement,
    check_group,
    check_meta,
    check_refusals,
    reduced,
    variations,
    whole_nbytes,
)

ALL = {
    "broadcast": naive.broadcast,
    "reduce": naive.reduce,
    "all_reduce": naive.all_reduce,
    "gather": naive.gather,
    "scatter": naive.scatter,
    "all_gather": naive.all_gather,
    "reduce_scatter": naive.reduce_scatter,
    "all_to_all": naive.all_to_all,
    "barrier": naive.barrier,
}
WITH_DATA = [name for name in ALL if name != "barrier"]


@pytest.mark.parametrize("n", SIZES)
def test_every_rank_holds_what_one_process_computes(make_world, n):
    check(make_world(n), [case for name, fn in ALL.items() for case in variations(fn, name, n)])


@pytest.mark.parametrize("n", COUNTED)
def test_it_costs_the_formula(n):
    for name, shape in [(name, shape) for name in WITH_DATA for shape in [(5,), (0,)]]:
        case = Case(ALL[name], name, shape)
        check_cost(case, n, partial(getattr(costs, f"naive_{name}"), n, whole_nbytes(case, n)))
    check_cost(Case(naive.barrier, "barrier"), n, lambda alpha, beta: costs.naive_barrier(n, alpha))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_sum_has_the_bits_of_one_process_for_every_root(n):
    run = VirtualWorld(n).run(
        lambda comm: [naive.reduce(adversarial(comm.rank), comm, root=root) for root in range(n)]
    )
    wanted = bits(reduced([adversarial(rank) for rank in range(n)], "sum"))
    assert all(bits(run.results[root][root]) == wanted for root in range(n))
    assert bits_of_all(n, naive.all_reduce) == [wanted] * n


def test_ranks_that_add_in_different_orders_get_different_bits():
    def everyone_adds_as_it_comes(x, comm):
        total = carry = x
        for _ in range(comm.world_size - 1):
            carry = comm.exchange(carry, to=comm.right, source=comm.left)
            total = total + carry
        return total

    assert len({str(found) for found in bits_of_all(5, everyone_adds_as_it_comes)}) == 5
    assert (
        len({str(found) for found in bits_of_all(2, everyone_adds_as_it_comes)}) == 1
    )  # a + b is b + a


def test_a_result_is_no_part_of_the_input_and_carries_no_gradient(make_world):
    def changed(comm):
        x = torch.ones(2, requires_grad=True)
        y = naive.broadcast(x, comm)
        y += 1
        return x.tolist(), y.requires_grad

    assert (
        make_world(1).run(changed).results + make_world(2).run(changed).results
        == [([1, 1], False)] * 3
    )


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
        check_barrier(n, naive.barrier)
