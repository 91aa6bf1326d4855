"""The verdict on hand-made situations; a picture of each stands in its comment."""

from hypothesis import given
from hypothesis import strategies as st

from minidl.runtime.words.deadlock import Need, cycle, doomed


def waits(*ranks):
    """Needs of each of these ranks; a tuple of ranks is a need of any one of them."""
    return [Need(rank if isinstance(rank, tuple) else (rank,)) for rank in ranks]


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
    local = [Need(thread=8)]
    assert doomed({0: {7: local, 8: waits(1)}, 1: {7: waits(0)}}) == {(0, 7), (0, 8), (1, 7)}
    assert doomed({0: {7: local, 8: None}, 1: {7: waits(0)}}) == set()


def test_a_need_of_any_rank_is_dead_only_when_all_of_them_are():
    # 0 takes from 1 or 2; 1 -> 0
    assert doomed({0: {7: waits((1, 2))}, 1: {7: waits(0)}, 2: {7: None}}) == set()
    assert doomed({0: {7: waits((1, 2))}, 1: {7: waits(0)}, 2: {}}) == {(0, 7), (1, 7)}


def test_two_takes_from_anyone_that_wait_for_each_other():
    # 0 takes from 1 or 2, 1 takes from 0 or 2, 2 has finished
    threads = {0: {7: waits((1, 2))}, 1: {7: waits((0, 2))}, 2: {}}
    assert doomed(threads) == {(0, 7), (1, 7)}


def test_one_dead_need_of_anyone_is_enough_beside_a_living_one():
    # 0 needs 3 (runs), and 1 or 2 (both finished)
    assert doomed({0: {7: waits(3, (1, 2))}, 1: {}, 2: {}, 3: {7: None}}) == {(0, 7)}


def test_a_deadlock_apart_from_those_who_go_on():
    # 0 <-> 1; 2 runs; 3 -> 2
    assert doomed({0: {1: waits(1)}, 1: {1: waits(0)}, 2: {1: None}, 3: {1: waits(2)}}) == {
        (0, 1),
        (1, 1),
    }


RANKS = st.integers(0, 6)
NEEDS = st.lists(st.sets(RANKS, min_size=1, max_size=4).map(lambda s: tuple(sorted(s))), min_size=1)


@given(st.lists(st.one_of(st.none(), NEEDS), min_size=7, max_size=7))
def test_the_verdict_equals_reachability(needs):
    """With one thread a rank: a rank is saved if each of its needs names a saved rank, from below.

    A need of one rank is the AND of ordinary messages, a need of several an OR of senders.
    """
    threads = {rank: {0: None if need is None else waits(*need)} for rank, need in enumerate(needs)}
    alive = {rank for rank, need in enumerate(needs) if need is None}
    while True:
        more = {
            rank
            for rank, need in enumerate(needs)
            if need is not None and all(alive.intersection(senders) for senders in need)
        } | alive
        if more == alive:
            break
        alive = more
    assert doomed(threads) == {(rank, 0) for rank in range(7)} - {(rank, 0) for rank in alive}


THREADS = st.dictionaries(st.integers(0, 2), st.one_of(st.none(), NEEDS), max_size=3)


@given(st.lists(THREADS, min_size=7, max_size=7))
def test_with_several_threads_one_that_moves_keeps_its_rank_alive(ranks):
    """Whole ranks are the resources: a need is alive while any thread of any sender can move."""
    threads = {
        rank: {t: None if need is None else waits(*need) for t, need in own.items()}
        for rank, own in enumerate(ranks)
    }
    moving = {(r, t) for r, own in threads.items() for t, needs in own.items() if needs is None}
    while True:
        alive = {rank for rank, _ in moving}
        more = moving | {
            (rank, t)
            for rank, own in enumerate(ranks)
            for t, need in own.items()
            if need is not None and all(alive.intersection(senders) for senders in need)
        }
        if more == moving:
            break
        moving = more
    everything = {(rank, t) for rank, own in threads.items() for t in own}
    assert doomed(threads) == everything - moving


def test_the_shortest_cycle_is_told():
    assert cycle({0: {1}, 1: {2, 0}, 2: {0}}) in ([0, 1], [1, 0])
    assert cycle({0: {1}, 1: {2}}) == []
    assert sorted(cycle({0: {1}, 1: {2}, 2: {0}})) == [0, 1, 2]
