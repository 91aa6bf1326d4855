"""No deadlock is missed and none is imagined: random programs on real processes, against a model.

    MINIDL_PROGRAMS=5000 pytest tests/runtime/test_deadlock_property.py         more programs than the suite's 300
    MINIDL_SEED=1234 MINIDL_PROGRAMS=4 pytest ...                               begin with this seed: to see one again

A program that ends otherwise than the model says is printed with its seed and its listing, once
as it
was made and once after every instruction that is not needed for the failure was taken out.
"""

import inspect
import os
import re
import threading
import time

import pytest
import torch

from minidl import (
    DeadlockError,
    LeftoverError,
    RankTimeout,
    Recv,
    Send,
    VirtualWorld,
    World,
)
from tests.deadlines import generous
from tests.runtime.programs import Program, model, native_rows, numbers, random_program

PROGRAMS = int(os.environ.get("MINIDL_PROGRAMS", 300))
SEED = int(os.environ.get("MINIDL_SEED", 0))
SIZES = (2, 3, 4, 5)
DEFAULT_TIMEOUT = inspect.signature(World.run).parameters["timeout"].default
COMPUTING = 5e-3  # seconds at most that a program computes at a stretch


# ---- running programs ----------------------------------------------------------------------------


def perform(program, comm):
    """Run this rank's part of a Program; returns handle -> what its wait returned."""
    return run_code(program.code[comm.rank], program.width, comm, tuple(range(comm.world_size)))


def run_code(code, width, comm, members):
    """Run instructions on `comm`, whose ranks are `members` in the world."""
    handles, results = {}, {}
    for what, handle, *rest in code:
        if what == "spin":
            be_busy(handle * 1e-6)
            continue
        if what == "wait":
            received = handles[handle].wait()
            results[handle] = (
                received if isinstance(received, dict) else [x.tolist() for x in received]
            )
            continue
        on = comm if rest[0] == members else comm.group([members.index(r) for r in rest[0]])
        if what == "start":
            handles[handle] = start(rest[1], on, rest[0], width)
        else:
            handles[handle] = on.background(run_in_background, rest[1], width, rest[0])
    return results


def run_in_background(code, width, members, comm):
    """The same for instructions on the twin of a communicator."""
    return run_code(code, width, comm, members)


def start(ops, comm, members, width):
    """Post what these tuples stand for: one collective, or sends and receives."""
    kind, *rest = ops[0]
    if kind == "native":
        name, value = rest
        if name == "barrier":
            return comm.native(name)
        rows = native_rows(name, len(members))
        return comm.native(name, torch.tensor(numbers(value, rows * width)))
    return comm.start([op_of(op, members, width) for op in ops])


def op_of(op, members, width):
    """The comm.Send or Recv that stands for this tuple."""
    if op[0] == "send":
        return Send(torch.tensor(numbers(op[2], width)), members.index(op[1]))
    return Recv(torch.zeros(width, dtype=torch.int64), members.index(op[1]))


def spin(seconds):
    """Compute for this long."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def be_busy(seconds):
    """Compute for this long, or compute and then sleep: neither is a wait for another rank."""
    spin(min(seconds, COMPUTING))
    time.sleep(max(0.0, seconds - COMPUTING))


def at_once(program):
    """The same program without the computation between its instructions."""

    def quick(code):
        for instruction in code:
            if instruction[0] == "background":
                yield (*instruction[:3], tuple(quick(instruction[3])))
            elif instruction[0] != "spin":
                yield instruction

    return program._replace(code=tuple(tuple(quick(own)) for own in program.code))


def surprise(program, world):
    """None if the program ends on real ranks as the model says; else what happened instead."""
    expected = model(program)
    try:
        results, error = world.run(perform, program, timeout=generous(20)).results, None
    except Exception as raised:
        results, error = None, raised
    forgotten = set()
    if expected.kind == "ok":
        if isinstance(error, LeftoverError) and "never waited for" in str(error):
            results = error.run.results
            forgotten = set(error.ranks)
            error = None
        if forgotten != expected.forgotten:
            return f"ranks {sorted(expected.forgotten)} forgot to wait, not {sorted(forgotten)}"
        if error is not None:
            return f"a false alarm: {type(error).__name__}: {error}"
        wrong = [
            rank for rank in range(program.world_size) if results[rank] != expected.results[rank]
        ]
        return f"wrong results on ranks {wrong}" if wrong else None
    named = set(getattr(error, "ranks", ()))
    story = f"the model says {expected.kind} of ranks {sorted(expected.ranks)}, not {type(error).__name__} of {sorted(named)}: {error}"
    leftover = expected.kind == "leftover" or isinstance(error, LeftoverError)
    if (
        type(error) is not (LeftoverError if leftover else DeadlockError)
        or not named
        or not named <= expected.ranks
    ):
        return story
    # The verdict may come while other ranks still compute. Then those named must be stuck by
    # themselves.
    alone = expected.supported(named, leftovers_only=leftover)
    if {rank for rank, _ in alone} != named or (
        not leftover and all(expected.threads[r][t][0] for r, t in alone)
    ):
        return story
    unnamed = [rank for rank in named if not re.search(rf"\brank {rank}\b", str(error))]
    return f"the message does not name {unnamed}: {error}" if unnamed else None


def shrunk(program, wrong, world, seconds=15):
    """A smaller program that surprises in the same way, found by taking out one instruction after
    the other.
    """

    def same(other):
        return (
            other is not None
            and other.split(":")[0].split(" of ")[0] == wrong.split(":")[0].split(" of ")[0]
        )

    def without(code, i):
        return tuple(
            x for j, x in enumerate(code) if j != i and not (x[0] == "wait" and x[1] == code[i][1])
        )

    deadline, smaller = time.monotonic() + generous(seconds), True
    while smaller:
        smaller = False
        for rank in range(program.world_size):
            for i in range(len(program.code[rank]) - 1, -1, -1):
                if time.monotonic() > deadline:
                    return program
                own = program.code[rank]
                if i >= len(own):
                    continue
                fewer = program._replace(
                    code=(*program.code[:rank], without(own, i), *program.code[rank + 1 :])
                )
                if model(fewer).kind != "mismatch" and same(surprise(fewer, world)):
                    program, smaller = fewer, True
    return program


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("world_size", SIZES)
def test_programs_end_as_the_model_says(world_size, part, worlds, record_property):
    world, kinds = worlds(world_size), {}
    share = -(-PROGRAMS // (3 * len(SIZES)))
    for seed in range(SEED + part * share, SEED + (part + 1) * share):
        program = random_program(seed, world_size)
        kinds[model(program).kind] = kinds.get(model(program).kind, 0) + 1
        wrong = surprise(program, world)
        if wrong:
            small = shrunk(program, wrong, world)
            pytest.fail(
                f"{program.listing()}\n\n{wrong}\n\nsmaller:\n{small.listing()}\n\n{surprise(small, world)}",
                pytrace=False,
            )
    record_property("kinds", kinds)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", SIZES)
def test_the_virtual_world_ends_them_in_the_same_way(world_size):
    """The same programs on the virtual clock, those with native collectives left out.

    Real seconds mean nothing there, so nobody computes.
    """
    world, kinds = VirtualWorld(world_size), set()
    for seed in range(SEED, SEED + PROGRAMS):
        program = at_once(random_program(seed, world_size))
        if "native(" in program.listing():
            continue
        wrong = surprise(program, world)
        assert not wrong, f"{program.listing()}\n\n{wrong}"
        kinds.add(model(program).kind)
    assert kinds == {"ok", "deadlock", "leftover"}


def test_the_model_knows_the_textbook_cases():
    """The judge is judged: outcomes known by hand."""
    world = (0, 1)

    def ends(*code):
        return model(Program(0, 2, 1, code))[:2]

    send, recv = ("start", "s", world, (("send", 1, 7),)), ("start", "r", world, (("recv", 0),))
    assert ends((send, ("wait", "s")), (recv, ("wait", "r"))) == ("ok", set())
    assert ends((send, ("wait", "s")), ()) == ("deadlock", {0})
    assert ends((send,), ()) == ("leftover", {0})
    back = ("start", "b", world, (("send", 0, 8),))
    assert ends((send, ("wait", "s")), (back, ("wait", "b"))) == ("deadlock", {0, 1})
    reduce = ("start", "n", world, (("native", "all_reduce", 1),))
    assert ends((reduce, ("wait", "n")), (reduce,)) == ("ok", set())
    assert model(Program(0, 2, 1, ((reduce, ("wait", "n")), (reduce,)))).forgotten == {1}
    assert ends((("background", "j", world, (send, ("wait", "s"))),), (recv, ("wait", "r"))) == (
        "deadlock",
        {0, 1},
    ), "a message of a twin never meets one of the world"


# ---- found by random programs --------------------------------------------------------------------


def a_collective_first_and_a_message_meanwhile(comm):
    """Nothing here waits for anything that is not posted; it is the first collective of this group."""
    pair = comm.group([1, 0])
    total = torch.tensor([comm.rank + 1])
    if comm.rank == 0:
        work = pair.native("all_reduce", total)
        comm.send(torch.tensor([7]), to=1)
    else:
        assert comm.recv(torch.tensor([0]), source=0).item() == 7
        work = pair.native("all_reduce", total)
    return work.wait()[0].item()


def test_a_groups_first_collective_is_posted_without_waiting(worlds):
    with World(2) as fresh:
        assert fresh.run(
            a_collective_first_and_a_message_meanwhile, timeout=generous(5)
        ).results == [3, 3]


def the_twin_of_a_group_and_the_group_of_a_twin(comm):
    """Both have the same members and run beside each other; their messages must never mix."""

    def rounds(first, comm):
        pair = comm.group([0, 1])
        return {
            int(pair.exchange(torch.tensor([i]), to=pair.right, source=pair.left))
            for i in range(first, first + 500)
        }

    work = comm.background(rounds, 0)
    mine = comm.group([0, 1]).background(rounds, 1000).wait()
    return work.wait() == set(range(500)) and mine == set(range(1000, 1500))


def test_two_backgrounds_of_the_same_ranks_never_mix(worlds):
    with World(3) as fresh:

        def on_two(inner, comm):
            return inner(comm) if comm.rank < 2 else comm.background(lambda comm: None).wait()

        assert fresh.run(
            on_two, the_twin_of_a_group_and_the_group_of_a_twin, timeout=generous(10)
        ).results == [True, True, None]


def one_skips(name, absent, comm):
    if comm.rank != absent:
        ones = torch.ones(3)
        given = ones[:1] if name == "scatter" and comm.rank else ones
        comm.native(name, given, root=0).wait()


@pytest.mark.parametrize(
    "name, absent", [("broadcast", 0), ("scatter", 0), ("reduce", 2), ("gather", 2)]
)
def test_a_rank_skips_a_collective_with_a_root(name, absent, worlds):
    with pytest.raises((DeadlockError, LeftoverError)) as caught:
        worlds(3).run(one_skips, name, absent, timeout=generous(3))
    assert absent not in caught.value.ranks


@pytest.mark.parametrize(
    "name, absent", [("broadcast", 2), ("scatter", 2), ("reduce", 0), ("gather", 0)]
)
def test_a_rank_that_need_not_wait_is_never_called_stuck(name, absent, worlds):
    """Whether those who give must wait is the backend's affair: gloo makes them, and so the run
    ends by its time-out.
    """
    with pytest.raises(RankTimeout, match=f"{name} number 0") as caught:
        worlds(3).run(one_skips, name, absent, timeout=0.5)
    assert absent not in caught.value.ranks


# ---- what looks like a deadlock and is none ------------------------------------------------------


def everyone_waits_for_a_busy_rank(seconds, comm):
    if comm.rank == 1:
        spin(seconds)
    return comm.exchange(torch.tensor([comm.rank]), to=comm.right, source=comm.left).item()


def test_a_rank_that_computes_for_long_is_no_deadlock(worlds):
    assert worlds(4).run(everyone_waits_for_a_busy_rank, 1.5).results == [3, 0, 1, 2]


def a_thread_of_the_learner_posts(seconds, comm):
    """The main threads wait for each other; what wakes them is a thread that minidl did not start."""
    if comm.rank == 0:

        def later():
            spin(seconds)
            comm.send(torch.tensor([5]), to=1)

        helper = threading.Thread(target=later)
        helper.start()
        received = comm.recv(
            torch.tensor([0]), source=1
        )  # rank 1 sends only after it has heard of the thread
        helper.join()
        return received.item()
    comm.send(comm.recv(torch.tensor([0]), source=0) + 1, to=0)


def test_a_thread_that_the_learner_started_may_still_post(worlds):
    assert worlds(2).run(a_thread_of_the_learner_posts, 0.6).results == [6, None]


def the_thread_has_ended(comm):
    helper = threading.Thread(target=spin, args=(0.01,))
    helper.start()
    helper.join()
    comm.recv(torch.zeros(1), source=comm.right)


def test_a_thread_that_has_ended_hides_no_deadlock(worlds):
    with pytest.raises(DeadlockError) as caught:
        worlds(3).run(the_thread_has_ended, timeout=generous(20))
    assert caught.value.ranks == (0, 1, 2)


def one_spins(comm):
    if comm.rank == 1:
        while True:
            pass
    comm.recv(torch.zeros(3), source=1)


def test_an_endless_loop_meets_the_time_out_and_its_line_is_told(worlds):
    began = time.perf_counter()
    with pytest.raises(RankTimeout) as caught:
        worlds(3).run(one_spins, timeout=1)
    assert time.perf_counter() - began < DEFAULT_TIMEOUT  # it was this run's own that expired
    words = str(caught.value)
    loop = one_spins.__code__.co_firstlineno + 2
    places = (f"line {loop}: while True:", f"line {loop + 1}: pass")
    assert any(f"test_deadlock_property.py, {place}" in words for place in places)
    assert f"test_deadlock_property.py, line {loop + 2}: comm.recv" in words
    assert "rank 0 waits for rank 1 to send message 0, (3,) float32" in words
    assert worlds(3).run(everyone_waits_for_a_busy_rank, 0).results == [2, 0, 1], (
        "the world goes on"
    )


COMPUTES_ON = generous(25)  # seconds, far more than any verdict takes


def verdict_in_the_middle(comm):
    """Ranks 0 and 1 are lost while rank 2 still computes: the verdict need not wait for it."""
    if comm.rank == 2:
        spin(COMPUTES_ON)
    comm.recv(torch.zeros(1), source=1 - comm.rank)


def test_a_deadlock_of_some_is_told_while_others_compute(worlds):
    began = time.perf_counter()
    with pytest.raises(DeadlockError) as caught:
        worlds(3).run(verdict_in_the_middle, timeout=COMPUTES_ON)
    assert caught.value.ranks == (0, 1)
    assert time.perf_counter() - began < COMPUTES_ON
