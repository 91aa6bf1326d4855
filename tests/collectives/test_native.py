"""The yardstick, and every algorithm held against it on random shapes, dtypes, roots,
ops and groups.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import VirtualWorld
from minidl.collectives import doubling, hierarchical, naive, native, ring, tree
from tests.collectives.cases import (
    REDUCING,
    SIZES,
    SPLIT,
    Case,
    adversarial,
    bits,
    call,
    check,
    check_death,
    check_disagreement,
    check_group,
    check_refusals,
    inputs,
    same,
    variations,
)

ALL = {
    "broadcast": native.broadcast,
    "reduce": native.reduce,
    "all_reduce": native.all_reduce,
    "gather": native.gather,
    "scatter": native.scatter,
    "all_gather": native.all_gather,
    "reduce_scatter": native.reduce_scatter,
    "all_to_all": native.all_to_all,
    "barrier": native.barrier,
}
DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int8,
    torch.uint8,
    torch.int32,
    torch.int64,
]


def halves(x, comm, op):
    """All ranks in two islands, or in one."""
    ranks = list(range(comm.world_size))
    return hierarchical.all_reduce(
        x, comm, op=op, islands=[half for half in (ranks[0::2], ranks[1::2]) if half]
    )


RIVALS = {
    "broadcast": [naive.broadcast, tree.broadcast],
    "reduce": [naive.reduce, tree.reduce],
    "all_reduce": [
        naive.all_reduce,
        ring.all_reduce,
        tree.all_reduce,
        doubling.all_reduce,
        doubling.halving_doubling_all_reduce,
        halves,
    ],
    "gather": [naive.gather, tree.gather],
    "scatter": [naive.scatter, tree.scatter],
    "all_gather": [naive.all_gather, ring.all_gather, doubling.all_gather],
    "reduce_scatter": [naive.reduce_scatter, ring.reduce_scatter, doubling.reduce_scatter],
    "all_to_all": [naive.all_to_all],
}


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_every_rank_holds_what_one_process_computes(worlds, n):
    check(worlds(n), [case for name, fn in ALL.items() for case in variations(fn, name, n)])


@st.composite
def cases(draw):
    name = draw(st.sampled_from(sorted(RIVALS)))
    dtype = draw(st.sampled_from(DTYPES))
    op = draw(st.sampled_from(["sum", "max", "min", "prod"] + ["mean"] * dtype.is_floating_point))
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=int(name in SPLIT), max_size=3)))
    members = draw(st.permutations(range(4)))[: draw(st.integers(1, 4))]
    root, strided = (
        draw(st.integers(0, len(members) - 1)),
        name not in SPLIT and draw(st.booleans()),
    )
    return members, Case(native, name, shape, dtype, root, op, strided)


@settings(max_examples=100, deadline=None)
@given(drawn=cases(), seed=st.integers(0, 99))
def test_every_algorithm_returns_what_torch_returns(worlds, drawn, seed):
    members, case = drawn

    def all_of_them(comm):
        if comm.rank in members:
            group = comm.group(members)
            xs = inputs(case, group.world_size, seed)
            return [
                call(case._replace(fn=fn), xs, group)
                for fn in [ALL[case.collective], *RIVALS[case.collective]]
            ]

    results = worlds(4).run(all_of_them).results
    for rank in members:
        yardstick, *rivals = results[rank]
        for fn, found in zip(RIVALS[case.collective], rivals):
            same(found, yardstick, f"{fn.__module__}, {case} on {members}")


def test_gloo_gives_all_ranks_the_same_bits(worlds):
    for n in (2, 3, 4):
        found = worlds(n).run(lambda comm: native.all_reduce(adversarial(comm.rank), comm)).results
        assert [bits(x) for x in found] == [bits(found[0])] * n


@pytest.mark.parametrize("name", ALL)
def test_a_dead_rank_is_told(worlds, name):
    check_death(worlds(3), ALL[name], name)


@pytest.mark.parametrize("name", ["broadcast", "reduce", "all_reduce", "gather", "all_gather"])
def test_different_sizes_are_told(worlds, name):
    check_disagreement(worlds(3), ALL[name], name)


@pytest.mark.parametrize("name", [name for name in ALL if name in SPLIT or name in REDUCING])
def test_what_has_no_meaning_is_refused(worlds, name):
    check_refusals(worlds(3), ALL[name], name)


@pytest.mark.parametrize("name", ALL)
def test_groups_do_it_side_by_side(worlds, name):
    check_group(worlds(4), ALL[name], name)


def test_the_record_shows_the_call_and_no_message(worlds):
    run = worlds(2).run(lambda comm: native.all_reduce(torch.ones(3), comm))
    assert run.trace.collectives() == {"all_reduce": 2} and run.trace.sent() == [0, 0]


@pytest.mark.parametrize("n", [n for n in SIZES if n > 4] + [64])
def test_all_all_reduces_agree_on_many_virtual_ranks(n):
    def everyone(comm):
        x = (torch.arange(100) % 7 - 3.0) * (comm.rank % 5)
        return [fn(x, comm, op="sum").tolist() for fn in RIVALS["all_reduce"]]

    wanted = sum((torch.arange(100) % 7 - 3.0) * (rank % 5) for rank in range(n)).tolist()
    assert VirtualWorld(n).run(everyone).results == [[wanted] * len(RIVALS["all_reduce"])] * n
