"""What is peculiar to the virtual world: its clock, its order, its isolation, and how little can
hang there.
"""

import random
import threading

import numpy
import pytest
import torch

from minidl import (
    Crash,
    DeadlockError,
    Delay,
    Islands,
    LeftoverError,
    Link,
    MismatchError,
    PerRank,
    RankDied,
    RankError,
    RankTimeout,
    Recv,
    Seconds,
    Send,
    Slow,
    Uniform,
    VirtualWorld,
    compare,
)


def ring(x, comm):
    """All-reduce by passing everything around."""
    total = give = x
    for _ in range(comm.world_size - 1):
        give = comm.exchange(give, to=comm.right, source=comm.left)
        total = total + give
    return total


def test_the_clock_of_a_ring_is_the_formula():
    alpha, beta = 5e-6, 1e-9
    for n in (1, 2, 3, 4, 7, 16):
        run = VirtualWorld(n, network=Uniform(alpha, beta)).run(ring, torch.ones(100))
        assert run.trace.seconds() == pytest.approx((n - 1) * (alpha + 400 * beta))
        assert run.trace.sent() == [n - 1] * n and all(
            torch.equal(x, torch.full((100,), float(n))) for x in run.results
        )


def test_computing_moves_the_own_clock_only_and_messages_join_them():
    def work(comm):
        comm.compute(comm.rank * 1.0)
        before = comm.now()
        comm.barrier()
        return before, comm.now()

    run = VirtualWorld(3, network=Uniform(alpha=0.25, beta=0)).run(work)
    assert [before for before, _ in run.results] == [0, 1, 2]
    assert [after for _, after in run.results] == [2.5, 2.5, 2.5]
    assert [e.done - e.posted for e in run.trace.where(kind="compute")] == [0, 1, 2]


def test_waiting_is_recorded_with_its_times():
    def late(comm):
        if comm.rank == 0:
            comm.compute(3.0)
            comm.send(torch.zeros(4), to=1)
        else:
            comm.recv(torch.zeros(4), source=0)

    send, recv = VirtualWorld(2, network=Uniform(alpha=1, beta=0.5)).run(late).trace.messages()[0]
    assert (send.posted, send.done, recv.posted, recv.waited, recv.done) == (3, 12, 0, 0, 12)


def test_communication_in_the_background_overlaps_with_computing():
    def overlapped(comm):
        job = comm.background(ring, torch.zeros(250))
        comm.compute(2.0)
        job.wait()
        return comm.now()

    def waited_for(comm):
        comm.background(ring, torch.zeros(250)).wait()
        comm.compute(2.0)
        return comm.now()

    world = VirtualWorld(2, network=Uniform(alpha=1, beta=0.001))
    assert world.run(overlapped).results == [2, 2] and world.run(waited_for).results == [4, 4]


@pytest.mark.parametrize("late", [0, 1])
def test_what_arrives_counts_for_the_receiver_whoever_comes_second(late):
    def swap(comm):
        comm.compute(float(comm.rank == late))
        if comm.rank == 0:
            comm.send(torch.ones(1000), to=1)
        else:
            return comm.recv(torch.empty(1000), source=0)

    trace = VirtualWorld(2).run(swap, meter=True).trace
    assert [trace.memory_kinds(rank)["activations"] for rank in range(2)] == [4000, 8000]


def test_the_same_program_always_runs_the_same_way():
    def noisy(comm):
        group = comm.split(color=int(torch.randint(2, ())), key=random.random())
        comm.compute(float(numpy.random.rand()))
        job = comm.background(ring, torch.rand(5))
        return ring(torch.rand(3), group), job.wait(), comm.now()

    def picture(run):
        return [tuple(event) for event in run.trace], [
            [t.tolist() if isinstance(t, torch.Tensor) else t for t in r] for r in run.results
        ]

    world = VirtualWorld(9, network=Islands(3))
    assert (
        picture(world.run(noisy)) == picture(world.run(noisy)) != picture(world.run(noisy, seed=1))
    )


def test_random_numbers_of_ranks_are_their_own_whatever_the_others_draw():
    def draw(comm):
        drawn = []
        for _ in range(3):
            drawn.append((float(torch.randn(1)), numpy.random.normal(), random.gauss(0, 1)))
            comm.barrier()
        return drawn

    def draw_more(comm):
        if comm.rank == 1:
            torch.randn(1000), numpy.random.normal(size=7), random.gauss(0, 1)
        return draw(comm)

    alone, crowded = VirtualWorld(1).run(draw).results[0], VirtualWorld(4).run(draw).results
    assert crowded[0] == alone and len({tuple(map(tuple, r)) for r in crowded}) == 4
    assert VirtualWorld(4).run(draw_more).results[2:] == crowded[2:]


def test_a_default_dtype_is_the_ranks_own_and_ends_with_the_run():
    def chosen(comm):
        if comm.rank == 1:
            torch.set_default_dtype(torch.float64)
        comm.exchange(torch.tensor([comm.rank]), comm.right, comm.left)
        return torch.get_default_dtype()

    assert VirtualWorld(3).run(chosen).results == [torch.float32, torch.float64, torch.float32]
    assert torch.get_default_dtype() is torch.float32


def test_the_callers_random_numbers_go_on_undisturbed():
    def draw():
        return torch.rand(2), numpy.random.rand(), random.random(), numpy.random.mtrand._rand.rand()

    states = torch.get_rng_state(), numpy.random.get_state(), random.getstate()
    VirtualWorld(3).run(draw)
    assert torch.equal(states[0], torch.get_rng_state()) and random.getstate() == states[2]
    assert all(numpy.array_equal(a, b) for a, b in zip(states[1], numpy.random.get_state()))


def test_arguments_globals_and_results_are_each_ranks_own():
    shared = [torch.zeros(1)]

    def grow(mine, comm):
        shared.append(comm.rank)
        shared[0] += 1
        mine.append(comm.rank)
        comm.barrier()
        return len(shared), float(shared[0]), mine

    mine = []
    assert VirtualWorld(3).run(grow, mine).results == [(2, 1, [r]) for r in range(3)]
    assert mine == [] and shared == [torch.zeros(1)]


def test_a_message_is_a_copy():
    def share(comm):
        x = torch.tensor([comm.rank])
        y = comm.exchange(x, comm.right, comm.left)
        x += 100
        comm.barrier()
        return int(y)

    assert VirtualWorld(3).run(share).results == [2, 0, 1]
    assert VirtualWorld(3, buffered=True).run(share).results == [2, 0, 1]


def head_to_head(comm):
    """Everybody sends first: works by buffering only."""
    comm.send(torch.ones(2), comm.right)
    return comm.recv(torch.ones(2), comm.left).tolist()


def test_a_deadlock_is_known_at_once_and_works_by_buffering_only():
    with pytest.raises(
        DeadlockError,
        match="rank 0 waits for rank 1, which waits for rank 2, which waits for rank 0",
    ) as error:
        VirtualWorld(3).run(head_to_head)
    assert error.value.ranks == (0, 1, 2) and "comm.send(torch.ones(2), comm.right)" in str(
        error.value
    )
    assert {(w.rank, w.peer) for w in error.value.trace.waits} == {(0, 1), (1, 2), (2, 0)}
    assert VirtualWorld(3, buffered=True).run(head_to_head).results == [[1, 1]] * 3


def test_a_message_left_over_is_told_with_and_without_buffers():
    def leave(comm):
        if comm.rank == 0:
            comm.start([Send(torch.ones(2), 1)])

    for buffered in (False, True):
        with pytest.raises(
            LeftoverError, match=r"rank 0 sent message 0, \(2,\) float32, to rank 1"
        ) as error:
            VirtualWorld(2, buffered=buffered).run(leave)
        assert error.value.ranks == (0,)


def test_a_mismatch_has_both_lines():
    def differ(comm):
        comm.send(torch.ones(2), 1) if comm.rank == 0 else comm.recv(torch.ones(3), 0)

    with pytest.raises(MismatchError, match=r"rank 0 sends \(2,\) float32"):
        VirtualWorld(2).run(differ)


def test_slow_ranks_and_crashes_in_virtual_time():
    def steps(comm):
        for _ in range(4):
            comm.compute(1.0)
            comm.barrier()
        return comm.now()

    world = VirtualWorld(2, network=Uniform(0, 0))
    assert world.run(steps).results == [4, 4]
    assert world.run(steps, faults=[Slow(rank=1, factor=2.5)]).results == [10, 10]
    with pytest.raises(RankDied, match=r"killed by the fault Crash, at Seconds\(t=2.5\)") as error:
        world.run(steps, faults=[Crash(rank=1, at=Seconds(2.5))])
    assert error.value.trace.seconds() <= 3 and error.value.ranks == (1,)
    assert "A new process" not in str(error.value)


def ping_pong(comm):
    """Rank 0 waits for rank 1 from 1 s to 100 s."""
    if comm.rank == 0:
        comm.send(torch.ones(1), 1)
        return comm.recv(torch.ones(1), 1)
    comm.recv(torch.ones(1), 0)
    comm.compute(98)
    comm.send(torch.ones(1), 0)


@pytest.mark.parametrize("rank, t", [(0, 0), (0, 0.5), (0, 50), (1, 0.5), (1, 50), (1, 99.5)])
def test_a_crash_comes_in_time_whatever_the_rank_waits_for(rank, t):
    with pytest.raises(RankDied, match=f"Rank {rank} was killed by the fault Crash") as error:
        VirtualWorld(2, network=Uniform(1, 0)).run(ping_pong, faults=[Crash(rank, Seconds(t))])
    assert (
        error.value.trace.seconds() == t
        and error.value.ranks == (rank,)
        and f"rank {rank} waits" not in str(error.value)
    )


def test_a_crash_at_the_moment_of_a_message_takes_the_rank_and_its_result():
    with pytest.raises(RankDied, match="Rank 1 was killed"):
        VirtualWorld(2, network=Uniform(0, 0)).run(
            ring, torch.ones(1), faults=[Crash(1, Seconds(0))]
        )


def test_a_crash_that_comes_too_late_changes_nothing():
    world, late = VirtualWorld(2, network=Uniform(1, 0)), [Crash(0, Seconds(500))]
    run = world.run(ping_pong, faults=late)
    assert run.trace.seconds() == 100 and list(run.trace) == list(world.run(ping_pong).trace)
    with pytest.raises(DeadlockError, match="rank 0 waits for rank 1"):
        world.run(lambda comm: comm.recv(torch.ones(1), 1 - comm.rank), faults=late)
    with pytest.raises(RankError, match="division by zero"):
        world.run(lambda comm: 1 / 0 if comm.rank else comm.recv(torch.ones(1), 1), faults=late)


def test_when_one_rank_fails_the_others_go_no_further_than_that_moment():
    reached = []

    def work(comm):
        for step in range(1000):
            comm.compute(1.0)
            if comm.rank == 1 and step == 4:
                raise ArithmeticError("five")

    with pytest.raises(RankError, match="Rank 1 raised ArithmeticError: five") as error:
        VirtualWorld(3).run(work)
    assert error.value.trace.seconds() <= 6 and not reached


def test_a_rank_that_spins_ends_by_timeout_with_its_line():
    def spin(comm):
        if comm.rank == 1:
            while True:
                sum(range(50))
        comm.barrier()

    with pytest.raises(RankTimeout, match="within 0.3 seconds") as error:
        VirtualWorld(3).run(spin, timeout=0.3)
    lines = ("while True", "sum(range(50))")  # wherever it was just then
    assert any(line in str(error.value) for line in lines)
    assert "rank 0 waits for rank" in str(error.value)
    assert VirtualWorld(3).run(ring, torch.ones(1)).results == [torch.tensor([3.0])] * 3
    assert not [t for t in threading.enumerate() if t.name.startswith("rank ")]


def test_a_thread_of_ones_own_may_not_use_comm():
    def sneaky(comm):
        caught = []

        def use():
            try:
                comm.barrier()
            except RuntimeError as error:
                caught.append(str(error))

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        return caught[0]

    assert "has no place on the virtual clock" in VirtualWorld(2).run(sneaky).results[0]


def test_native_collectives_are_refused_in_words():
    with pytest.raises(RankError, match="has no native all_reduce: use minidl.collectives"):
        VirtualWorld(2).run(lambda comm: comm.native("all_reduce", torch.ones(1)))


def test_hooks_in_interleaved_backward_passes_give_right_gradients():
    def train(comm):
        torch.manual_seed(0)
        weights = torch.randn(3, 3, requires_grad=True)
        seen = []

        def average(grad):
            seen.append(comm.rank)
            return ring(grad, comm) / comm.world_size

        weights.register_hook(average)
        x = torch.full((2, 3), float(comm.rank + 1))
        (x @ weights).relu().pow(2).sum().backward()
        return weights.grad, seen

    def alone(n):
        torch.manual_seed(0)
        weights = torch.randn(3, 3, requires_grad=True)
        for rank in range(n):
            ((torch.full((2, 3), float(rank + 1)) @ weights).relu().pow(2).sum() / n).backward()
        return weights.grad

    state = torch.get_rng_state()
    wanted = alone(5)
    torch.set_rng_state(state)
    for rank, (grad, seen) in enumerate(VirtualWorld(5).run(train).results):
        torch.testing.assert_close(grad, wanted)  # sums in another order
        assert seen == [rank]


def test_a_full_record_still_counts():
    run = VirtualWorld(4, record=10).run(ring, torch.ones(5))
    assert (
        len(run.trace) == 10
        and run.trace.sent() == [3] * 4
        and run.trace.sent("nbytes") == [60] * 4
    )
    assert repr(run) == "Run(4 ranks, 12 messages, 60 B sent per rank)"


@pytest.mark.parametrize("room", [1, 3, 5, 10])
def test_pictures_of_a_full_record_say_so_and_call_no_message_lost(room):
    full, whole = (
        VirtualWorld(4, record=room).run(ring, torch.ones(5)),
        VirtualWorld(4).run(ring, torch.ones(5)),
    )
    told = f"The record was full: the last {12 - full.trace.columns['kind'].count('send')} of 12 messages"
    for picture in (
        full.trace.lamport(),
        full.trace.replay(),
        full.trace.timeline(),
        full.trace.traffic(),
        full.trace.cost(),
    ):
        assert (
            told in picture.caption
            and "never" not in picture.title + picture.caption
            and "No rank sent" not in picture.title
        )
        assert "step" not in picture.title
    assert "The record was full" not in whole.trace.replay().caption
    both = compare(full, whole, names=("full", "whole"))
    assert both.title.endswith("and both take the same time") and f"full: {told}" in both.caption


def test_a_part_of_a_trace_calls_no_message_lost():
    trace = VirtualWorld(4).run(ring, torch.ones(5)).trace
    assert trace.where(rank=0).messages() == [] and len(trace.where(comm="world").messages()) == 12
    with pytest.raises(DeadlockError) as error:
        VirtualWorld(3).run(head_to_head)
    assert [m.recv for m in error.value.trace.where(rank=0).messages()] == [None]


def test_prints_belong_to_their_ranks(capsys):
    def talk(comm):
        print("before", comm.rank)
        comm.barrier()
        print("after", end="")

    run = VirtualWorld(2).run(talk)
    assert (
        run.output == "0| before 0\n0| after\n1| before 1\n1| after"
        and capsys.readouterr().out == run.output + "\n"
    )


def test_many_ranks_by_recursive_doubling():
    def double(x, comm):
        distance = 1
        while distance < comm.world_size:
            x = x + comm.exchange(x, comm.rank ^ distance, comm.rank ^ distance)
            distance *= 2
        return x

    run = VirtualWorld(512, network=Uniform(1e-5, 0)).run(
        double, PerRank(list(torch.arange(512.0).reshape(512, 1)))
    )
    assert {int(x) for x in run.results} == {
        511 * 512 // 2
    } and run.trace.seconds() == pytest.approx(9e-5)
    assert run.trace.sent() == [9] * 512


@pytest.mark.parametrize("wrong", [0, 5000, 2.0, True])
def test_wrong_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match="1 to 4096"):
        VirtualWorld(wrong)
    with pytest.raises(ValueError, match="how many events"):
        VirtualWorld(2, record=-1)


def test_wrong_networks_and_captured_worlds_are_told_in_words():
    for wrong in (Link(), Uniform):
        with pytest.raises(TypeError, match=r"between\(source, to\)"):
            VirtualWorld(2, network=wrong)
    world = VirtualWorld(2)
    with pytest.raises(TypeError, match="use `comm` there, not the world"):
        world.run(lambda comm: world.world_size)
    assert repr(world) == "VirtualWorld(2 ranks, Uniform(alpha=2e-05, beta=1e-09))"


def test_a_receive_into_a_parameter_keeps_its_place():
    def into(comm):
        buffer = torch.zeros(3, requires_grad=True)
        (got,) = comm.start(
            [Recv(torch.zeros(3), comm.left, into=buffer), Send(torch.ones(3), comm.right)]
        ).wait()
        return got is buffer and buffer.tolist()

    assert VirtualWorld(2).run(into).results == [[1, 1, 1]] * 2


def test_the_record_of_every_kind_of_event_in_its_columns():
    def varied(comm):
        with comm.span("step"):
            job = comm.background(ring, torch.zeros(2))
            comm.compute(0.5)
            job.wait()
        if comm.rank == 0:
            comm.start([Send(torch.arange(3), 1)]).wait()
        else:
            comm.recv(torch.arange(3), source=0)

    events = list(
        VirtualWorld(2, network=Uniform(1, 0))
        .run(varied, faults=[Delay(0, 1, 2.0)])
        .trace.where(rank=0)
    )
    assert [
        (e.thread, e.seq, e.kind, e.comm, e.peer, e.shape, e.dtype, e.nbytes) for e in events
    ] == [
        (0, 0, "span", "world", -1, (), "", 0),
        (0, 1, "compute", "world", -1, (), "", 0),
        (1, 2, "recv", "world+1", 1, (2,), "float32", 8),
        (1, 3, "send", "world+1", 1, (2,), "float32", 8),
        (0, 4, "send", "world", 1, (3,), "int64", 24),
    ]
    assert [(e.posted, e.waited, e.done, e.span, e.fate) for e in events] == [
        (0, 0, 3, "step", "delivered"),
        (0, 0, 0.5, "step", "delivered"),
        (0, 0, 1, "step", "delivered"),
        (0, 0, 3, "step", "delayed"),
        (3, 3, 6, "", "delayed"),
    ]
    assert all(e.line.startswith("test_virtual.py, line ") for e in events)


def test_what_never_ended_has_no_end_in_the_record():
    def stuck(comm):
        comm.start([Send(torch.ones(1), 1)]) if comm.rank == 0 else comm.recv(
            torch.ones(2, 2), source=2
        )
        comm.compute(1.0)
        comm.recv(torch.ones(1), source=1)

    with pytest.raises(DeadlockError) as error:
        VirtualWorld(3, network=Uniform(0, 0)).run(
            lambda comm: stuck(comm) if comm.rank < 2 else None
        )
    kinds = [(e.rank, e.kind, e.waited, e.done, e.fate) for e in error.value.trace]
    assert kinds == [
        (0, "send", None, None, "unfinished"),
        (0, "compute", 0, 1, "delivered"),
        (0, "recv", 1, None, "unfinished"),
        (1, "recv", 0, None, "unfinished"),
    ]


def test_tensors_travel_as_they_are():
    tied = torch.ones(2)
    sent = [
        torch.arange(3.0),
        torch.tensor(2),
        torch.empty(0, 3),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2, 3).t(),
        torch.arange(6.0).reshape(2, 3)[1],
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.ones(2, requires_grad=True),
        torch.nn.Parameter(torch.ones(2)),
        torch.ones(3).to_sparse(),
        tied,
        tied,
    ]

    def look(tensors, comm):
        tensors[0].resize_(5)
        return [
            (type(t), t.dtype, tuple(t.shape), t.requires_grad, t.to_dense()[:1].tolist())
            for t in tensors[2:]
        ], tensors[-1] is tensors[-2]

    wanted = [
        (type(t), t.dtype, tuple(t.shape), t.requires_grad, t.to_dense()[:1].tolist())
        for t in sent[2:]
    ]
    assert VirtualWorld(2).run(look, sent).results == [(wanted, True)] * 2 and sent[0].tolist() == [
        0,
        1,
        2,
    ]
