"""The operations of Comm on real gloo and on the virtual clock, against what they must return and
cost.
"""

import math
import weakref

import pytest
import torch
import torch.distributed as dist

from minidl import LeftoverError, PerRank, RankError, Recv, Send
from minidl.collectives import ring

SIZES = [1, 2, 3, 4, 7]


@pytest.mark.parametrize("n", SIZES)
def test_exchange_moves_around_the_ring(either, n):
    def shift(comm):
        return comm.exchange(torch.tensor([float(comm.rank)]), to=comm.right, source=comm.left)

    run = either(n).run(shift)
    assert [int(x) for x in run.results] == [(r - 1) % n for r in range(n)]
    assert run.trace.sent() == ([1] * n if n > 1 else [0])


@pytest.mark.parametrize("n", SIZES)
def test_barrier_costs_log2_messages_and_holds_everybody(either, n):
    def wait(comm):
        before = comm.now()
        if comm.rank == n - 1:
            comm.compute(0.05)
            before = comm.now()
        comm.barrier()
        return before, comm.now()

    run = either(n).run(wait)
    assert run.trace.sent() == [math.ceil(math.log2(n))] * n and run.trace.sent("nbytes") == [0] * n
    entered, left = zip(*run.results)
    assert max(entered) <= min(left)


def test_messages_between_two_ranks_keep_their_order(either):
    def stream(comm):
        if comm.rank == 0:
            works = [comm.start([Send(torch.tensor([i]), to=1)]) for i in range(50)]
            return [work.wait() for work in works] and None
        works = [comm.start([Recv(torch.tensor([0]), source=0)]) for _ in range(50)]
        return [int(work.wait()[0]) for work in reversed(works)][::-1]

    assert either(2).run(stream).results[1] == list(range(50))


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.complex64,
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 1), (1, 2, 1, 2, 1, 2)])
def test_every_dtype_and_shape_travels(either, dtype, shape):
    x = (torch.arange(math.prod(shape)).reshape(shape) % 2).to(dtype)

    def pair(x, comm):
        return comm.exchange(x, to=comm.right, source=comm.left)

    for y in either(2).run(pair, x).results:
        assert y.dtype == dtype and y.shape == shape and torch.equal(x, y)


def test_a_strided_tensor_and_one_with_gradient_travel(either):
    def transposed(comm):
        x = torch.arange(6.0, requires_grad=True).reshape(2, 3).T
        y = comm.exchange(x, to=comm.right, source=comm.left)
        return torch.equal(x, y) and not y.requires_grad

    assert either(2).run(transposed).results == [True, True]


def test_recv_into_a_buffer_of_ones_own(either):
    def into(comm):
        if comm.rank == 0:
            return comm.send(torch.arange(4.0), to=1)
        buffer = torch.zeros(2, 4)
        (got,) = comm.start([Recv(torch.empty(4), 0, into=buffer[1])]).wait()
        return got.data_ptr() == buffer[1].data_ptr() and buffer.tolist()

    assert either(2).run(into).results[1] == [[0, 0, 0, 0], [0, 1, 2, 3]]


def test_waiting_twice_returns_the_same(either):
    def twice(comm):
        work = comm.start([Send(torch.ones(1), comm.right), Recv(torch.ones(1), comm.left)])
        return work.wait()[0] is work.wait()[0]

    assert either(2).run(twice).results == [True, True]


def test_groups_number_their_own_ranks_and_keep_messages_apart(either):
    def halves(comm):
        even = comm.group(range(comm.rank % 2, comm.world_size, 2))
        back = comm.group(list(reversed(range(comm.world_size))))
        x = torch.tensor([comm.rank])
        works = [c.start([Send(x, c.right), Recv(x, c.left)]) for c in (comm, even, back)]
        got = [int(work.wait()[0]) for work in reversed(works)][::-1]  # waited for in another order
        return even.rank, even.world_size, back.rank, got

    run = either(4).run(halves)
    assert run.results == [
        (r // 2, 2, 3 - r, [(r - 1) % 4, (r + 2) % 4, (r + 1) % 4]) for r in range(4)
    ]
    assert set(run.trace.columns["comm"]) == {"world", "0,2", "1,3", "3,2,1,0"}


def test_a_group_of_a_group(either):
    def nested(comm):
        if comm.rank == 0:
            return None
        inner = comm.group([3, 2, 1]).group([2, 0]) if comm.rank != 2 else None
        return inner and (
            inner.rank,
            inner.members,
            int(inner.exchange(torch.tensor([comm.rank]), inner.right, inner.left)),
        )

    assert either(4).run(nested).results == [None, (0, (1, 3), 3), None, (1, (1, 3), 1)]


@pytest.mark.parametrize("n", SIZES)
def test_split_groups_by_color_in_the_order_of_key(either, n):
    def parity(comm):
        group = comm.split(color=comm.rank % 2, key=-comm.rank)
        return group.rank, group.members

    run = either(n).run(parity)
    for r, (rank, members) in enumerate(run.results):
        alike = [i for i in reversed(range(n)) if i % 2 == r % 2]
        assert members == tuple(alike) and members[rank] == r
    assert run.trace.sent() == [n - 1] * n and run.trace.sent("nbytes") == [16 * (n - 1)] * n


@pytest.mark.parametrize(
    "wrong, words", [([0, 0, 1], "distinct"), ([0, 9], "between 0 and 3"), ([0, 1], "not in group")]
)
def test_wrong_groups_are_refused(either, wrong, words):
    def ask(comm):
        return comm.group(wrong) if comm.rank == 3 else None

    with pytest.raises(RankError, match=words) as error:
        either(4).run(ask)
    assert error.value.ranks == (3,)


@pytest.mark.parametrize(
    "op, words",
    [
        (Send(torch.ones(1), 0), "cannot send to itself"),
        (Recv(torch.ones(1), 5), "0 to 1"),
        (Send(torch.ones(1), -1), "0 to 1"),
        ("hello", "takes Send and Recv"),
        (Recv(torch.ones(2), 1, into=torch.ones(3)), "into has shape"),
    ],
)
def test_wrong_ops_are_refused(either, op, words):
    def wrong(comm):
        if comm.rank == 0:
            comm.start([op])

    with pytest.raises(RankError, match=words):
        either(2).run(wrong)


def test_background_work_runs_beside_on_messages_of_its_own(either):
    def ring(x, comm):
        for _ in range(comm.world_size - 1):
            x = comm.exchange(x, comm.right, comm.left)
        return x

    def both(comm):
        x = torch.tensor([comm.rank])
        jobs = [comm.background(ring, x + 10 * i) for i in range(3)]
        mine = ring(x, comm)
        return int(mine), [int(job.wait()) for job in jobs]

    run = either(3).run(both)
    assert run.results == [
        ((r + 1) % 3, [(r + 1) % 3 + 10 * i for i in range(3)]) for r in range(3)
    ]
    assert set(run.trace.columns["comm"]) == {"world", "world+1"} and set(
        run.trace.columns["thread"]
    ) == {0, 1}


def test_what_background_work_returned_is_kept_by_who_waited_alone(either):
    def gone(comm):
        seen = []

        def make(comm):
            made = torch.ones(3)
            seen.append(weakref.ref(made))
            return made

        for _ in range(2):  # the second, so that no thread still has the first in hand
            comm.background(make).wait()
        return seen[0]() is None

    assert either(2).run(gone).results == [True, True]


def test_an_error_in_the_background_is_told_even_if_nobody_waits(either):
    def fail(comm):
        comm.background(lambda: 1 / 0)

    with pytest.raises(RankError, match="ZeroDivisionError"):
        either(2).run(fail)


def test_native_collectives_equal_torch(worlds):
    def natives(comm):
        x = torch.arange(4.0) + comm.rank

        def native(*args, **kwargs):
            return comm.native(*args, **kwargs).wait()

        (summed,) = native("all_reduce", x.clone())
        (largest,) = native("all_reduce", x.clone(), op="max")
        (gathered,) = native("all_gather", x)
        (scattered,) = native("reduce_scatter", x)
        (swapped,) = native("all_to_all", x)
        (rooted,) = native("broadcast", x.clone(), root=1)
        reduced = native("reduce", x.clone(), root=0)
        parts = native("gather", x, root=1)
        (part,) = native(
            "scatter",
            torch.stack([x, -x]) if comm.rank == 0 else None,
            output=torch.empty(4),
            root=0,
        )
        native("barrier")
        wanted = x.clone()
        dist.all_reduce(wanted)
        return (
            torch.equal(wanted, summed),
            [t.tolist() for t in (summed, largest, gathered, scattered, swapped, rooted, part)],
            reduced[0].tolist() if comm.rank == 0 else None,
            [p.tolist() for p in parts],
        )

    zero, one = worlds(2).run(natives).results
    assert zero[0] and one[0]
    common = [[1, 3, 5, 7], [1, 2, 3, 4], [0, 1, 2, 3, 1, 2, 3, 4]]
    assert zero[1] == [*common, [1, 3], [0, 1, 1, 2], [1, 2, 3, 4], [0, 1, 2, 3]]
    assert one[1] == [*common, [5, 7], [2, 3, 3, 4], [1, 2, 3, 4], [0, -1, -2, -3]]
    assert zero[2] == [1, 3, 5, 7] and zero[3] == [] and one[3] == [[0, 1, 2, 3], [1, 2, 3, 4]]


def test_native_collectives_of_groups_run_side_by_side(worlds):
    def pairs(comm):
        group = comm.group([comm.rank // 2 * 2, comm.rank // 2 * 2 + 1])
        x = torch.ones(2) * comm.rank
        job = comm.background(lambda x, comm: comm.native("all_reduce", x).wait()[0], torch.ones(3))
        group.native("all_reduce", x).wait()
        return x.tolist(), job.wait().tolist()

    run = worlds(4).run(pairs)
    assert run.results == [([1, 1], [4, 4, 4])] * 2 + [([5, 5], [4, 4, 4])] * 2
    assert run.trace.collectives() == {"all_reduce": 8}


def test_a_send_that_nobody_receives_is_told(either):
    def leave(comm):
        if comm.rank == 0:
            comm.start([Send(torch.zeros(3), to=1)])
        if comm.rank == 2:
            comm.start([Recv(torch.zeros(2), source=1)])

    with pytest.raises(LeftoverError) as error:
        either(3).run(leave)
    assert error.value.ranks == (0, 2)
    assert "message 0, (3,) float32, to rank 1" in str(error.value) and "asked rank 1" in str(
        error.value
    )


def test_a_work_nobody_waited_for_is_finished_at_the_end_and_told(either):
    def forget(comm):
        comm.start([Send(torch.ones(1), comm.right), Recv(torch.ones(1), comm.left)])
        return comm.rank

    with pytest.raises(LeftoverError) as error:
        either(3).run(forget)
    text = str(error.value)
    assert "ranks 0, 1 and 2 started it here\n      test_comm.py, line" in text
    assert text.count("comm.start([Send(torch.ones(1), comm.right)") == 1
    assert "Call wait() on the Work" in text
    run = error.value.run
    assert error.value.ranks == (0, 1, 2) and run.results == [0, 1, 2]
    assert not run.trace.waits
    assert all(event.fate == "delivered" for event in run.trace) or len(run.trace) == 6


def test_only_the_ranks_that_forgot_to_wait_are_told_and_what_is_empty_is_nothing(either):
    def forget(comm):
        comm.start([]) if comm.rank == 2 else None
        if comm.rank == 0:
            comm.start([Send(torch.ones(1), 1)])
        if comm.rank == 1:
            comm.recv(torch.ones(1), 0)

    with pytest.raises(LeftoverError, match="rank 0 started it here") as error:
        either(3).run(forget)
    assert error.value.ranks == (0,)


def test_work_of_the_background_that_no_thread_waits_for_is_no_leftover(either):
    def forget(comm):
        comm.background(ring.all_reduce, torch.ones(2), comm)

    either(2).run(forget)


def test_another_ranks_error_is_told_before_what_was_forgotten(either):
    def forget(comm):
        if comm.rank == 0:
            comm.start([Send(torch.ones(1), 1)])
        else:
            comm.recv(torch.ones(1), 0)
            raise KeyError("mine")

    with pytest.raises(RankError, match="Rank 1 raised KeyError"):
        either(2).run(forget)


def test_per_rank_arguments(either):
    def give(x, y, comm, *, scale):
        return x * scale + y

    run = either(3).run(give, PerRank([1, 2, 3]), 10, scale=PerRank([1, 10, 100]))
    assert run.results == [11, 30, 310]
    with pytest.raises(ValueError, match="2 entries, the world has 3"):
        either(3).run(give, PerRank([1, 2]), 1, scale=1)


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        (
            lambda comm: comm.send([1, 2], comm.right),
            TypeError,
            r"a message is a tensor, not a list: send torch.tensor\(x\) instead",
        ),
        (
            lambda comm: comm.recv(3, comm.left),
            TypeError,
            "a message is a tensor, not a int: receive like",
        ),
        (
            lambda comm: comm.start([Send(torch.ones(1), comm.right), Send(None, comm.left)]),
            TypeError,
            "not a NoneType",
        ),
        (
            lambda comm: comm.compute(-1),
            ValueError,
            "a finite number of seconds, 0 or more, not -1",
        ),
        (lambda comm: comm.compute(float("nan")), ValueError, "not nan"),
    ],
)
def test_what_is_no_message_and_no_time_is_refused(either, wrong, error, words):
    def after_a_first_one(comm):
        comm.exchange(torch.ones(1), comm.right, comm.left)
        wrong(comm)

    with pytest.raises(RankError, match=words) as caught:
        either(3).run(after_a_first_one)
    assert f"raised {error.__name__}" in str(caught.value) and sum(caught.value.trace.sent()) == 3


def wrong_place_after_a_send(comm):
    if comm.rank == 0:
        wrong = torch.zeros(5)
        comm.start([Send(torch.ones(2), 1), Recv(torch.zeros(2), 1, into=wrong)]).wait()
    else:
        comm.recv(torch.zeros(2), source=0)


def test_a_wrong_into_is_found_before_anything_is_posted(either):
    with pytest.raises(RankError, match="into has shape") as caught:
        either(2).run(wrong_place_after_a_send)
    assert caught.value.trace.sent() == [0, 0]
