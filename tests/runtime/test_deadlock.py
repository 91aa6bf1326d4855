"""The verdict on hand-made situations; a picture of each stands in its comment."""

from hypothesis import given
from hypothesis import strategies as st

from minidl.runtime.words.deadlock import Need, cycle, doomed


def waits(*ranks):
    return [Need(rank) for rank in ranks]


def test_two_ranks_that_wait_for_each_other():
    # 0 -> 1 -> 0
    assert doomed({0: {7: waits(1)}, 1: {7: waits(0)}}) == {(0, 7), (1, 7)}


def test_a_rank_that_runs_saves_all_who_wait_for_it():
    # 0 -> 1 -> 2 (runs)
    assert doomed({0: {7: waits(1)}, 1: {7: waits(2)}, 2: {7: None}}) == set()


def test_waiting_for_a_finished_rank():
    # 0 -> 1 (finished), 2 -> 0
    assert doomed({0: {7: waits(1)}, 1: {}, 2: {7: waits(0)}}) == {(0, 7), (2, 7)}


def test_one_dead_need_among_several_is_enough():
    # 0 -> 1 (runs) and 0 -> 2 (finished)
    assert doomed({0: {7: waits(1, 2)}, 1: {7: None}, 2: {}}) == {(0, 7)}


def test_a_need_that_is_met_dooms_nobody():
    assert doomed({0: {7: []}, 1: {7: waits(0)}}) == set()


def test_a_second_thread_may_still_post():
    # 0 -> 1, whose main thread waits for 0 while its background thread runs
    assert doomed({0: {7: waits(1)}, 1: {7: waits(0), 8: None}}) == set()
    assert doomed({0: {7: waits(1)}, 1: {7: waits(0), 8: waits(0)}}) == {(0, 7), (1, 7), (1, 8)}


def test_waiting_for_a_thread_of_ones_own():
    # main of 0 -> thread 8 of 0 -> rank 1 -> rank 0
    local = [Need(-1, thread=8)]
    assert doomed({0: {7: local, 8: waits(1)}, 1: {7: waits(0)}}) == {(0, 7), (0, 8), (1, 7)}
    assert doomed({0: {7: local, 8: None}, 1: {7: waits(0)}}) == set()


def test_a_deadlock_apart_from_those_who_go_on():
    # 0 <-> 1; 2 runs; 3 -> 2
    assert doomed({0: {1: waits(1)}, 1: {1: waits(0)}, 2: {1: None}, 3: {1: waits(2)}}) == {
        (0, 1),
        (1, 1),
    }


@given(
    st.lists(st.one_of(st.none(), st.sets(st.integers(0, 6), min_size=1)), min_size=7, max_size=7)
)
def test_the_verdict_equals_reachability(needs):
    """With one thread a rank: saved are exactly the ranks all of whose needs lead to saved ranks, from below."""
    threads = {
        rank: {0: None if need is None else waits(*sorted(need))} for rank, need in enumerate(needs)
    }
    alive = {rank for rank, need in enumerate(needs) if need is None}
    while True:
        more = {
            rank for rank, need in enumerate(needs) if need is not None and need <= alive
        } | alive
        if more == alive:
            break
        alive = more
    assert doomed(threads) == {(rank, 0) for rank in range(7)} - {(rank, 0) for rank in alive}


def test_the_shortest_cycle_is_told():
    assert cycle({0: {1}, 1: {2, 0}, 2: {0}}) in ([0, 1], [1, 0])
    assert cycle({0: {1}, 1: {2}}) == []
    assert sorted(cycle({0: {1}, 1: {2}, 2: {0}})) == [0, 1, 2]
