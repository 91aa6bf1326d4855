"""A check says what was wanted and counted; right values alone earn little, wrong ones nothing."""

import random

import pytest

from minidl import Device, Islands, Uniform
from minidl.check import again, check, student
from minidl.check import arena as arenas
from minidl.check.book import Book, Student, open_book
from minidl.check.reports import NotPassed
from tests.check.museum import VirtualArena, lost, run

PER_STEP = "4 * n * (N - 1) // N"


@pytest.fixture(autouse=True)
def own_book():
    with open_book(Book()) as book, arenas.use(VirtualArena()):
        yield book


def total_chunk(inputs, rank, N):
    return sum(inputs).reshape(N, -1)[rank].clone()


def ring(x, comm):
    chunks = x.reshape(comm.world_size, -1).clone()
    for step in range(comm.world_size - 1):
        give, take = (
            (comm.rank - step - 1) % comm.world_size,
            (comm.rank - step - 2) % comm.world_size,
        )
        chunks[take] += comm.exchange(chunks[give], to=comm.right, source=comm.left)
    return chunks[comm.rank]


def whole_tensors(x, comm):
    total = give = x
    for _ in range(comm.world_size - 1):
        give = comm.exchange(give, to=comm.right, source=comm.left)
        total = total + give
    return total.reshape(comm.world_size, -1)[comm.rank]


def by_buffering(x, comm):
    total = give = x
    for _ in range(comm.world_size - 1):
        comm.send(give, to=comm.right)
        give = comm.recv(give, source=comm.left)
        total = total + give
    return total.reshape(comm.world_size, -1)[comm.rank]


def through_rank_0(x, comm):
    total = x.clone()
    for rank in range(1, comm.world_size):
        if comm.rank == 0:
            total += comm.recv(x, source=rank)
        elif comm.rank == rank:
            comm.send(x, to=0)
    for rank in range(1, comm.world_size):
        if comm.rank == 0:
            comm.send(total, to=rank)
        elif comm.rank == rank:
            total = comm.recv(x, source=0)
    return total.reshape(comm.world_size, -1)[comm.rank]


def in_place(x, comm):
    x += 0
    out = ring(x, comm)
    x.zero_()
    return out


def sentence(fn, points=8, sizes=(1, 2, 3, 4, 7)):
    return (
        check(fn, "t")
        .equals(total_chunk)
        .over(sizes, lengths=[84])
        .sends(messages="N - 1", nbytes=PER_STEP)
        .only_to_neighbours()
        .takes(steps="N - 1")
        .leaves_inputs_alone()
        .never_deadlocks()
        .worth(points)
    )


def test_a_right_answer_earns_everything():
    report = sentence(ring)
    assert (report.state, report.earned, report.failing) == ("passed", 8, None)
    assert "each rank sends N - 1 messages: 6 (7 ranks, 84 elements)" in repr(report)


@pytest.mark.parametrize(
    "fn, keys, earned",
    [
        (whole_tensors, {"bytes"}, 4),
        (by_buffering, {"bytes", "deadlock"}, 2),
        (in_place, {"inputs"}, 6),
        (through_rank_0, {"messages", "bytes", "peers", "steps"}, 0.5),
    ],
)
def test_right_values_earn_what_the_record_leaves(fn, keys, earned):
    report = sentence(fn)
    assert lost([report]) == keys and report.earned == earned


def test_wrong_values_earn_nothing_however_cheap():
    report = sentence(lambda x, comm: x.reshape(comm.world_size, -1)[comm.rank])
    assert report.earned == 0 and "values" in lost([report])
    assert (
        report.first_failed.sight.wanted.startswith("rank 0 returns") and report.failing.case.N == 2
    )


def test_values_right_for_most_sizes_earn_a_part():
    def even_only(x, comm):
        return ring(x, comm) * (1 if comm.world_size % 2 == 0 or comm.world_size == 1 else 2)

    report = sentence(even_only, sizes=(2, 4, 6, 7))
    assert report.earned == 6 and lost([report]) == {"values"} and report.failing.case.N == 7


def test_the_guilty_message_is_the_one_that_goes_too_far():
    finding = next(f for f in sentence(whole_tensors).findings if not f.passed)
    assert (
        finding.case.N,
        finding.sight.guilty.nbytes,
        finding.sight.wanted,
        finding.sight.counted,
    ) == (2, 336, "168", "336")


def test_a_stub_is_not_done_and_nothing_runs():
    def not_done(x, comm):
        raise NotImplementedError("not done yet")

    report = sentence(not_done)
    assert (report.state, report.earned) == ("not done", 0) and repr(
        report
    ) == "t: not done yet (8 points)"


def test_a_call_of_our_own_collectives_is_seen_in_text_and_record():
    def imports(x, comm):
        from minidl.collectives import ring as ours

        return ours.reduce_scatter(x, comm)

    def hides(x, comm):
        import importlib

        return importlib.import_module("minidl." + "collectives.ring").reduce_scatter(x, comm)

    for fn in (imports, hides):
        report = (
            check(fn, "t")
            .equals(total_chunk)
            .over([2, 3], [6])
            .without("minidl.collectives")
            .worth(8)
        )
        assert report.earned == 0 and lost([report]) == {"own work"}


@pytest.mark.parametrize(
    "line, earned",
    [
        ("torch.distributed.all_reduce(x)", 0),
        ("torch.zeros(1)", 8),
        ("from torch import distributed as d; d.all_reduce(x)", 0),
        ("'torch.distributed'", 8),
    ],
)
def test_naming_torch_distributed_is_seen_and_naming_torch_is_not(line, earned):
    names = {}
    cell = f"""
import torch

def mine(x, comm):
    if comm.world_size > 100:
        {line}
    return x
"""
    run(cell, "<a cell>", names)
    report = (
        check(names["mine"], "t")
        .equals(lambda inputs, rank, N: inputs[rank])
        .over([1, 2], [6])
        .without("torch.distributed")
        .worth(8)
    )
    assert report.earned == earned


def test_virtual_seconds_are_counted_on_the_network_that_is_named():
    slow = Islands(2)

    def one_message(x, comm):
        return comm.exchange(x, to=comm.right, source=comm.left)

    def left(inputs, rank, N):
        return inputs[(rank - 1) % N]

    for seconds, passed in ((30e-6, True), (19e-6, False)):
        assert (
            check(one_message, "t")
            .equals(left)
            .over([4], [2])
            .takes(seconds=seconds, on=slow)
            .worth(1)
            .passed
            is passed
        )


def product_then_around(x, comm):
    return comm.exchange(x.reshape(2, 2) @ x.reshape(2, 2), to=comm.right, source=comm.left)


def test_on_a_device_the_seconds_and_a_race_count_what_is_computed():
    network, device = (
        Uniform(1e-5, 0.0),
        Device(flops_per_second=16 / 1e-5),
    )  # the product and the message take 10 us each
    for seconds, passed in ((20e-6, True), (19e-6, False)):
        sentence = (
            check(product_then_around, "t")
            .over([3], [4])
            .takes(seconds=seconds, on=network, device=device)
        )
        assert sentence.worth(1).passed is passed
    race = (
        check(product_then_around, "t")
        .over([3], [4])
        .races(
            on=network,
            ranks=3,
            length=4,
            bound=1e-5,
            rival=("the same", product_then_around),
            device=device,
        )
        .worth(0)
    ).race
    assert abs(race.seconds - 20e-6) < 1e-12 and race.seconds == race.rival


def test_at_most_allows_less_and_formulas_may_be_functions_of_the_rank():
    def chain(x, comm):
        if comm.rank > 0:
            x = comm.recv(x, source=comm.left)
        if comm.rank < comm.world_size - 1:
            comm.send(x, to=comm.right)
        return x.clone()

    def ask():
        return check(chain, "t").equals(lambda inputs, rank, N: inputs[0]).over([1, 2, 5], [3])

    assert (
        ask().sends_at_most(messages=1).worth(1).passed
        and not ask().sends(messages=1).worth(1).passed
    )
    assert ask().sends(messages=lambda rank, N: int(rank < N - 1)).worth(1).passed


def test_again_asks_the_same_over_other_sizes(own_book):
    def fitted(x, comm):
        return ring(x, comm) * (1 if comm.world_size in (1, 2, 3, 4, 7) else 0)

    assert sentence(fitted).passed
    assert again("t", world_sizes=[5, 6], lengths=[60]).earned == 0
    assert len(own_book.reports["t"]) == 2
    with pytest.raises(ValueError, match="run the check of this task first"):
        again("another")


def test_a_race_is_run_when_all_is_right():
    def ask(fn):
        return (
            check(fn, "t")
            .equals(total_chunk)
            .over([2, 3], [6])
            .races(
                on=Uniform(1e-5, 1e-9),
                ranks=6,
                length=60,
                bound="1e-5 * ceil(log2(N))",
                rival=("naive", through_rank_0),
            )
            .worth(0)
        )

    race = ask(ring).race
    assert 2.9e-5 < race.bound < race.seconds < race.rival
    assert ask(lambda x, comm: x).race is None


def test_a_name_draws_the_same_everywhere_and_inputs_differ_between_names(own_book):
    assert Student("Ada").seed == 168935620816750 and Student(" Ada ").seed == Student("Ada").seed
    drawn = {
        name: [student(name).choose("k", range(100)), own_book.draws("t", 1).random()]
        for name in ("Ada", "Grace")
    }
    assert drawn["Ada"] != drawn["Grace"] and drawn["Ada"][1] != drawn["Grace"][1]
    assert isinstance(own_book.draws("t"), random.Random)


def test_nbval_sees_a_failed_check_and_a_learner_sees_no_wall(monkeypatch):
    class Watched(VirtualArena):
        watched = True

    monkeypatch.setenv("PYTEST_CURRENT_TEST", "a cell")
    with arenas.use(Watched()):
        assert sentence(ring).passed
        with pytest.raises(NotPassed) as caught:
            sentence(whole_tensors)
    assert caught.value._render_traceback_() == [repr(caught.value.report)]
