"""A World from the outside: results, prints, seeds, failures in words, and life after a failure."""

import argparse
import gc
import importlib
import os
import random
import signal
import sys
import threading
from pathlib import Path

import numpy
import pytest
import torch
import torch.distributed as dist

from minidl import (
    Crash,
    DeadlockError,
    MinidlError,
    MismatchError,
    NotInCell,
    Op,
    RankDied,
    RankError,
    RankTimeout,
    Send,
    VirtualWorld,
    World,
)
from minidl.collectives import native
from minidl.runtime.processes.backend import choose, look
from tests.deadlines import generous


def usable(world):
    """Does the world still compute the right thing?"""

    def total(comm):
        return int(comm.native("all_reduce", torch.ones(1)).wait()[0])

    return world.run(total).results == [world.world_size] * world.world_size


def test_results_output_and_repr(worlds):
    def ring(x, comm):
        print("hello", comm.rank)
        print("no newline", end="")
        os.write(1, b"from below\n")
        return comm.exchange(x + comm.rank, comm.right, comm.left)

    run = worlds(3).run(ring, torch.arange(2.0))
    assert [x.tolist() for x in run.results] == [[2, 3], [0, 1], [1, 2]]
    assert run.output.split("\n") == [
        f"{r}| {line}" for r in range(3) for line in (f"hello {r}", "no newline", "from below")
    ]
    assert (
        repr(run) == "Run(3 ranks, 3 messages, 8 B sent per rank)"
        and repr(worlds(3)) == f"World(3 ranks, {choose(3, look())})"
    )
    assert worlds(3).last is run


def test_comm_is_passed_by_name_wherever_it_stands(either):
    def first(comm, x):
        return comm.rank, x

    def last(x, *, comm):
        return comm.rank, x

    def none(x):
        return x

    class Callable:
        def __call__(self, x, comm, y=3):
            return comm.rank, x + y

    world = either(2)
    assert world.run(first, 7).results == [(0, 7), (1, 7)]
    assert world.run(last, 7).results == [(0, 7), (1, 7)]
    assert world.run(none, 7).results == [7, 7]
    assert world.run(Callable(), 7, y=1).results == [(0, 8), (1, 8)]


def test_each_rank_has_a_seed_of_its_own(either):
    def draw():
        return float(torch.rand(1)), float(numpy.random.rand()), random.random()

    world = either(3)
    first, again, other = (world.run(draw, seed=seed).results for seed in (0, 0, 1))
    assert first == again and len(set(first)) == 3 and not set(first) & set(other)


def test_numbers_drawn_by_functions_imported_by_name_differ_by_rank_too(
    either, tmp_path, monkeypatch
):
    (tmp_path / "drawing_helper.py").write_text(
        "from random import gauss\ndef draw():\n    return gauss(0, 1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from random import choice, gauss, randint

    import drawing_helper
    from numpy.random import rand

    def imported():
        drawn = randint(0, 10**9), gauss(0, 1), gauss(0, 1), choice(range(10**9))
        return *drawn, float(rand()), drawing_helper.draw()

    def by_module():
        drawn = random.randint(0, 10**9), random.gauss(0, 1), random.gauss(0, 1)
        last = random.choice(range(10**9)), float(numpy.random.rand()), random.gauss(0, 1)
        return *drawn, *last

    before = drawing_helper.gauss
    world = either(3)
    for seed in 0, 1:
        assert world.run(imported, seed=seed).results == world.run(by_module, seed=seed).results
    assert len(set(world.run(imported).results)) == 3 and drawing_helper.gauss == before


def test_edited_modules_of_the_learner_are_new_on_the_ranks(worlds, tmp_path, monkeypatch):
    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)

    write("edited_helper", "def answer():\n    return 'old'\n")
    write("user_of_it", "from edited_helper import answer\ndef ask():\n    return answer()\n")
    write("own_counter", "calls = []\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import edited_helper
    import user_of_it

    def by_import():
        import edited_helper
        import own_counter
        import user_of_it

        own_counter.calls.append(1)
        return edited_helper.answer(), user_of_it.ask(), len(own_counter.calls)

    def by_global():
        return edited_helper.answer(), user_of_it.ask()

    world = worlds(2)
    world.cell("import edited_helper; from edited_helper import answer")
    in_cell = "assert (edited_helper.answer(), answer()) == ({0!r}, {0!r})"
    assert world.run(by_import).results == [("old", "old", 1)] * 2
    write("edited_helper", "def answer():\n    return 'new'\n")
    importlib.reload(edited_helper)
    importlib.reload(user_of_it)
    assert world.run(by_global).results == [("new", "new")] * 2
    # What does not use it keeps its state.
    assert world.run(by_import).results == [("new", "new", 2)] * 2
    world.cell(in_cell.format("new"))
    # A mistake is reported until it is mended.
    write("edited_helper", "def answer(:\n")
    for _ in range(2):
        with pytest.raises(RankError, match="SyntaxError"):
            world.cell("print(edited_helper.answer())")
    write("edited_helper", "def answer():\n    return 'fit'\n")
    world.cell(in_cell.format("fit"))
    assert world.run(by_import).results == [("fit", "fit", 3)] * 2


def test_a_pasted_script_joins_once_more_and_leaves(worlds):
    def script(comm):
        dist.init_process_group("gloo", rank=comm.rank, world_size=comm.world_size)
        total = torch.ones(1)
        dist.all_reduce(total)
        dist.destroy_process_group()
        names = "RANK", "LOCAL_RANK", "WORLD_SIZE"
        return float(total), *(int(os.environ[name]) for name in names), os.environ["MASTER_ADDR"]

    world = worlds(2)
    for _ in range(2):
        assert world.run(script).results == [(2, 0, 0, 2, "localhost"), (2, 1, 1, 2, "localhost")]
    assert usable(world)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"backend": "nccl"}, "joined already, by gloo and not by nccl"),
        ({"backend": "gloo", "world_size": 4}, "a World of 2 ranks, not of 4"),
        ({"backend": "gloo", "rank": 7}, "joins as rank 7: comm.rank is its number"),
    ],
)
def test_joining_otherwise_than_the_world_is_refused_in_words(worlds, given, words):
    def joins():
        from torch.distributed import init_process_group

        init_process_group(**given)

    with pytest.raises(RankError, match=words) as found:
        worlds(2).run(joins)
    assert "init_process_group(**given)" in str(found.value)


def test_a_virtual_rank_that_joins_a_process_group_is_told_what_to_use():
    def joins(comm):
        dist.init_process_group("gloo", rank=comm.rank, world_size=comm.world_size)

    threads = threading.active_count()
    with pytest.raises(RankError, match="use `comm`: comm.send.*Or run the function in a World"):
        VirtualWorld(2).run(joins)
    assert threading.active_count() == threads
    with pytest.raises(RuntimeError, match="rendezvous"):  # torch's own function is back
        dist.init_process_group("gloo", rank=0, world_size=1, init_method="nowhere")


def test_a_script_reads_the_arguments_of_the_learner(either, monkeypatch):
    def parses():
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=0.1)
        return parser.parse_args().lr

    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.5"])
    assert either(2).run(parses).results == [0.5, 0.5]
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert either(2).run(parses).results == [0.1, 0.1]


def test_a_rank_has_no_keyboard_and_says_so(either):
    def debugs():
        breakpoint()

    def traces():
        import pdb

        pdb.set_trace()

    for fn, call in (debugs, "breakpoint"), (traces, "set_trace"):
        with pytest.raises(RankError, match=f"rank 0 has no keyboard.*{call}.*print") as found:
            either(2).run(fn)
        assert f"in {fn.__name__}: " in str(found.value)


def test_a_rank_that_asks_for_input_is_told_why_nobody_answers(worlds):
    def asks():
        return input("how many? ")

    with pytest.raises(RankError, match=r"rank 0 has no keyboard, so input\(\) cannot wait"):
        worlds(2).run(asks)


def test_a_recursion_without_an_end_is_reported_in_a_few_lines(either):
    def factorial(n):
        return n * factorial(n - 1)

    with pytest.raises(RankError, match="All ranks raised RecursionError") as found:
        either(2).run(factorial, 3)
    lines = str(found.value).split("\n")
    assert len(lines) <= 30 and lines[1].endswith("in factorial: return n * factorial(n - 1)")
    assert any("in factorial and" in line and "further calls" in line for line in lines)


def test_a_rank_that_was_stopped_in_an_import_is_replaced(worlds, tmp_path, monkeypatch):
    package = tmp_path / "slow_package"
    package.mkdir()
    (package / "part.py").write_text("answer = 42\n")
    (package / "__init__.py").write_text(f"""
import pathlib, time
from slow_package.part import answer
begun = pathlib.Path({str(tmp_path / "begun")!r})
first = not begun.exists()
begun.touch()
while first:
    time.sleep(0.01)
""")
    monkeypatch.syspath_prepend(tmp_path)

    def mistake(comm):
        if comm.rank == 0:
            import slow_package  # noqa: F401
        while not (tmp_path / "begun").exists():
            pass
        raise ValueError("a mistake")

    def answers(comm):
        import slow_package

        return slow_package.part.answer

    world = worlds(2)
    before = world.run(os.getpid).results
    with pytest.raises(RankError, match="a mistake") as found:
        world.run(mistake)
    assert "A new process now runs as rank 0;" in str(found.value)
    assert world.run(answers).results == [42, 42]
    after = world.run(os.getpid).results
    assert after[0] != before[0] and after[1] == before[1]


def test_ranks_follow_the_environment_and_the_default_dtype_of_the_kernel(either, monkeypatch):
    def look():
        return os.environ.get("OF_THE_KERNEL"), torch.zeros(1).dtype

    def doubles():
        torch.set_default_dtype(torch.float64)
        return torch.zeros(1).dtype

    world = either(2)
    assert world.run(look).results == [(None, torch.float32)] * 2
    monkeypatch.setenv("OF_THE_KERNEL", "seen")
    torch.set_default_dtype(torch.float64)
    try:
        assert world.run(look).results == [("seen", torch.float64)] * 2
    finally:
        torch.set_default_dtype(torch.float32)
    monkeypatch.delenv("OF_THE_KERNEL")
    assert world.run(look).results == [(None, torch.float32)] * 2
    assert world.run(doubles).results == [torch.float64] * 2
    assert world.run(look).results == [(None, torch.float32)] * 2


def test_a_rank_keeps_what_it_is_and_what_its_cells_have_set(worlds, monkeypatch):
    monkeypatch.setenv("RANK", "17")
    world = worlds(2)
    world.cell(
        "import os, torch; torch.set_default_dtype(torch.float64); os.environ['OF_A_CELL'] = 'set'"
    )
    check = "assert torch.zeros(1).dtype is {} and os.environ['OF_A_CELL'] == 'set'"
    world.cell(check.format("torch.float64"))
    world.cell("assert os.environ['RANK'] == str(rank)")
    world.cell("torch.set_default_dtype(torch.float32); del os.environ['OF_A_CELL']")


def test_what_the_first_optimizer_loads_is_loaded_once_for_all_later_ranks():
    def had_it(comm):
        had = "torch._dynamo" in sys.modules
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        return had

    with World(1) as first:
        first.run(had_it)
    with World(2) as second:
        assert second.run(had_it).results == [True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are read from /proc")
def test_connections_end_with_the_run_that_broke_them():
    """Gloo's thread of a broken connection would compute for nothing, forever."""

    def fails(comm):
        comm.native("all_reduce", torch.ones(1)).wait()
        if comm.rank == 0:
            raise ValueError("on purpose")
        comm.recv(torch.ones(1), source=0)

    def threads_of_gloo():
        names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
        return sum("gloo_tcp_loop" in name for name in names)

    with World(3) as world:
        alone = world.run(threads_of_gloo).results
        for _ in range(3):
            with pytest.raises(RankError, match="on purpose"):
                world.run(fails)
        assert alone == world.run(threads_of_gloo).results == [1, 1, 1]


def test_one_torch_thread_per_rank_unless_told_otherwise(worlds):
    assert worlds(2).run(torch.get_num_threads).results == [1, 1]
    with World(1, threads=2) as world:
        assert world.run(torch.get_num_threads).results == [2]


def test_an_error_names_rank_line_and_what_the_others_did(either):
    def boom(comm):
        if comm.rank == 2:
            {}["missing"]
        comm.recv(torch.ones(1), source=2)

    with pytest.raises(RankError) as error:
        either(3).run(boom)
    text = str(error.value)
    assert (
        text.startswith("Rank 2 raised KeyError: 'missing'")
        and '{}["missing"]' in text
        and "test_world.py, line" in text
    )
    assert (
        "rank 0 waits for rank 2 to send message 0, (1,) float32" in text
        and "comm.recv(torch.ones(1), source=2)" in text
    )
    assert error.value.ranks == (2,) and isinstance(error.value.causes[2], KeyError)
    assert len(error.value.trace.where(fate="unfinished")) == 2


def test_the_same_error_on_all_ranks_is_told_once(either):
    def boom(comm):
        raise ValueError("no")

    with pytest.raises(RankError, match="^All ranks raised ValueError: no") as error:
        either(4).run(boom)
    assert str(error.value).count("raised") == 1


def test_the_same_error_in_different_words_is_told_once_too(either):
    with pytest.raises(
        RankError,
        match="^All ranks raised ValueError, on rank 0: rank 0 cannot send to rank 0: a rank cannot",
    ) as error:
        either(4).run(lambda comm: comm.send(torch.ones(1), to=comm.rank))
    assert str(error.value).count("raised") == 1


def test_deadlock_names_the_cycle_and_both_lines(worlds):
    def stuck(comm):
        if comm.rank < 2:
            comm.send(torch.ones(4), to=1 - comm.rank)

    with pytest.raises(DeadlockError) as error:
        worlds(3).run(stuck)
    text = str(error.value)
    assert text.startswith("Deadlock: rank 0 waits for rank 1, which waits for rank 0.")
    assert (
        text.count("comm.send(torch.ones(4), to=1 - comm.rank)") == 2
        and "rank 2 has finished" in text
        and "comm.exchange" in text
    )
    assert error.value.ranks == (0, 1)
    assert [(w.rank, w.peer, w.awaits) for w in error.value.trace.waits] == [
        (0, 1, "recv"),
        (1, 0, "recv"),
    ]
    assert usable(worlds(3))


def test_a_rank_that_skips_a_collective(worlds):
    def skip(comm):
        if comm.rank != 1:
            comm.native("all_reduce", torch.ones(2)).wait()

    with pytest.raises(DeadlockError, match="wait for rank 1, which has finished") as error:
        worlds(3).run(skip)
    assert error.value.ranks == (0, 2) and usable(worlds(3))


def test_waiting_in_the_background_is_seen(either):
    def stuck(comm):
        comm.background(lambda comm: comm.recv(torch.ones(1), comm.left)).wait()

    with pytest.raises(DeadlockError, match="in the background") as error:
        either(2).run(stuck)
    assert error.value.ranks == (0, 1)


@pytest.mark.parametrize(
    "theirs",
    [torch.zeros(5), torch.zeros(3), torch.zeros(4, dtype=torch.float64), torch.zeros(2, 2)],
)
@pytest.mark.parametrize("first", [0, 1])
def test_a_mismatch_is_found_before_data_moves(either, theirs, first):
    def differ(comm):
        comm.barrier()
        if comm.rank != first:
            comm.compute(0.02)
        if comm.rank == 0:
            comm.send(torch.zeros(4), to=1)
        else:
            comm.recv(theirs, source=0)

    with pytest.raises(MismatchError) as error:
        either(2).run(differ)
    text = str(error.value)
    assert "rank 0 sends (4,) float32" in text and f"rank 1 expects {tuple(theirs.shape)}" in text
    assert "comm.send(torch.zeros(4), to=1)" in text and "comm.recv(theirs, source=0)" in text


@pytest.mark.parametrize(
    "other",
    [
        {"name": "barrier"},
        {"name": "all_reduce", "tensor": torch.ones(3)},
        {"name": "all_reduce", "tensor": torch.ones(2), "op": "max"},
        {"name": "broadcast", "tensor": torch.ones(2), "root": 0},
    ],
)
def test_different_collectives_are_a_mismatch(worlds, other):
    def differ(comm):
        same = {"name": "all_reduce", "tensor": torch.ones(2)}
        comm.native(**(same if comm.rank == 0 else other)).wait()

    with pytest.raises(MismatchError, match=r"all_reduce\(\(2,\) float32, sum\)"):
        worlds(2).run(differ)
    assert usable(worlds(2))


def test_a_caught_mismatch_still_ends_the_run(worlds):
    def catch(comm):
        try:
            comm.send(torch.ones(1), 1) if comm.rank == 0 else comm.recv(torch.ones(2), 0)
        except MismatchError:
            pass
        comm.barrier()

    pids = worlds(2).run(os.getpid).results
    for _ in range(5):
        with pytest.raises(MismatchError):
            worlds(2).run(catch)
    assert worlds(2).run(os.getpid).results == pids, "and nobody dies of it"


def test_a_killed_rank_is_told_and_replaced(worlds):
    def die(comm):
        print("last words")
        if comm.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        comm.barrier()

    with pytest.raises(RankDied, match="Rank 1 died of SIGKILL") as error:
        worlds(3).run(die)
    text = str(error.value)
    assert (
        "its last words: last words" in text
        and "rank 0 waits for rank" in text
        and "A new process now runs as rank 1" in text
    )
    assert error.value.ranks == (1,) and usable(worlds(3))
    assert {wait.rank for wait in error.value.trace.waits} == {0, 2}


def test_a_dead_rank_is_replaced_even_if_its_end_is_reported_late(monkeypatch):
    with World(2) as world:
        with monkeypatch.context() as busy:
            busy.setattr(world._launcher, "ended", lambda pid: None)
            with pytest.raises(RankDied, match="Rank 1 was killed by the fault Crash"):
                world.run(lambda comm: comm.barrier(), faults=[Crash(1, Op(0))])
        assert world.run(lambda comm: comm.rank).results == [0, 1]


def test_a_rank_that_exits_by_itself(worlds):
    def leave(comm):
        if comm.rank == 0:
            os._exit(3)

    with pytest.raises(RankDied, match="Rank 0 ended by itself with exit code 3"):
        worlds(2).run(leave)
    assert usable(worlds(2))


def test_sys_exit_is_an_error_and_not_an_exit(worlds):
    def leave(comm):
        raise SystemExit(1)

    pids = worlds(2).run(os.getpid).results
    with pytest.raises(RankError, match="SystemExit"):
        worlds(2).run(leave)
    assert worlds(2).run(os.getpid).results == pids


@pytest.mark.parametrize("how", ["spins", "sleeps", "waits in torch"])
def test_what_cannot_be_proved_ends_by_timeout_with_its_line(worlds, how):
    def endless(comm):
        if how == "spins":
            while True:
                sum(range(100))
        elif how == "sleeps":
            threading.Event().wait(generous(60))
        elif comm.rank == 0:
            dist.recv(torch.ones(1), 1)

    pids = worlds(2).run(os.getpid).results
    with pytest.raises(RankTimeout, match="within 0.3 seconds") as error:
        worlds(2).run(endless, timeout=0.3)
    lines = {
        "spins": ("while True", "sum(range(100))"),  # wherever it was just then
        "sleeps": ("Event().wait(generous(60))",),
        "waits in torch": ("dist.recv",),
    }[how]
    assert any(line in str(error.value) for line in lines) and usable(worlds(2))
    assert worlds(2).run(os.getpid).results == pids, "nobody had to be killed"


def test_names_live_on_after_a_broken_deadlock(worlds):
    world = worlds(2)
    world.cell("kept = [rank]")
    with pytest.raises(DeadlockError):
        world.run(lambda comm: comm.recv(torch.ones(1), comm.left))
    world.cell("kept.append(world_size)")
    assert world.pull("kept") == [[0, 2], [1, 2]]


def test_cells_push_and_pull(worlds):
    world = worlds(3)
    world.push(x=torch.arange(3))
    run = world.cell("y = x + rank\ny.tolist()")
    assert run.output == "0| [0, 1, 2]\n1| [1, 2, 3]\n2| [2, 3, 4]"
    assert world.cell("y;").output == "" and world.cell("1", ranks=[1]).output == "1| 1"
    world.cell("class Box:\n    def __init__(self, x): self.x = x\nbox = Box(rank * 10)")
    assert [box.x for box in world.pull("box")] == [0, 10, 20]
    assert [box.x for box in world.pull("box", ranks=[2])] == [20]
    with pytest.raises(RankError, match="name 'nothing' is not defined"):
        world.pull("nothing")


def test_a_cell_may_wait_for_what_an_earlier_cell_started(worlds):
    world = worlds(2)
    world.cell("from minidl import Recv, Send")
    world.cell(
        "import torch; ops = [Send(torch.ones(1), comm.right), Recv(torch.ones(1), comm.left)]"
    )
    world.cell("work = comm.start(ops)")
    run = world.cell("work.wait()")
    assert run.output.count("(tensor([1.]),)") == 2


def test_a_cell_on_some_ranks_cannot_call_the_others(worlds):
    with pytest.raises(NotInCell, match="rank 1 is not in this cell: it runs on ranks 0, 2 only"):
        worlds(3).cell(
            "import torch\ncomm.send(torch.ones(1), to=1) if rank == 0 else None", ranks=[0, 2]
        )
    assert (
        worlds(3)
        .cell("import torch\ncomm.exchange(torch.tensor([rank]), 2 - rank, 2 - rank)", ranks=[0, 2])
        .output
        == "0| tensor([2])\n2| tensor([0])"
    )
    assert usable(worlds(3))


@pytest.mark.parametrize("wrong", [0, -1, 300, 2.5, True, "4"])
def test_wrong_world_sizes(wrong):
    with pytest.raises(ValueError, match="a World has 1 to 256 ranks"):
        World(wrong)


def test_what_cannot_travel_is_named(worlds):
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"argument 0 \(lock\) of run\(\) cannot travel"):
        worlds(2).run(print, lock)
    with pytest.raises(TypeError, match=r"variable lock \(lock\) named in captures"):

        def captures():
            return lock

        worlds(2).run(captures)
    with pytest.raises(RankError, match="generator.*cannot travel back"):
        worlds(2).run(lambda: (i for i in range(3)))
    assert usable(worlds(2))


def test_a_captured_world_is_told_in_words(worlds):
    world = worlds(2)

    def wrong(comm):
        return world.world_size

    with pytest.raises(TypeError, match="use `comm` there, not the world"):
        world.run(wrong)


def test_wrong_options(worlds):
    with pytest.raises(ValueError, match="on_death"):
        worlds(2).run(print, on_death="ignore")
    with pytest.raises(ValueError, match="timeout"):
        worlds(2).run(print, timeout=0)
    with pytest.raises(TypeError, match="takes a function first, not int"):
        worlds(2).run(3)


def test_a_closed_world_says_so():
    with World(1) as world:
        assert usable(world)
    world.close()
    with pytest.raises(MinidlError, match="closed"):
        world.run(print)


@pytest.mark.slow
def test_ranks_by_spawn_do_the_same():
    with World(2, start="spawn") as world:
        assert usable(world)
        with pytest.raises(DeadlockError):
            world.run(lambda comm: comm.recv(torch.ones(1), comm.left))
        with pytest.raises(RankDied, match="exit code 3"):
            world.run(lambda comm: os._exit(3) if comm.rank else comm.barrier())
        assert usable(world)


def test_ranks_listen_on_the_loopback_only(worlds):
    psutil = pytest.importorskip("psutil")
    pids = worlds(2).run(os.getpid).results
    listening = [
        c
        for pid in pids
        for c in psutil.Process(pid).net_connections()
        if c.status == psutil.CONN_LISTEN
    ]
    assert listening and all(c.laddr.ip in ("127.0.0.1", "::1") for c in listening)


def test_a_large_captured_tensor_is_mentioned(worlds, capsys):
    big = torch.zeros(1 << 19)

    def uses():
        return big.numel()

    worlds(2).run(uses)
    assert (
        "note: the tensor 'big' is named in uses and copied to every rank on each call (2.0 MiB)"
        in capsys.readouterr().out
    )


def test_one_run_at_a_time(worlds):
    world = worlds(2)
    world._busy = True
    try:
        with pytest.raises(MinidlError, match="one run at a time"):
            world.run(print)
    finally:
        world._busy = False


def test_sixty_four_messages_in_flight_both_ways(worlds):
    def flood(comm):
        ops = [Send(torch.tensor([i]), comm.right) for i in range(64)]
        works = [comm.start([op]) for op in ops]
        got = [int(comm.recv(torch.tensor([0]), comm.left)) for _ in range(64)]
        for work in works:
            work.wait()
        return got

    assert worlds(3).run(flood).results == [list(range(64))] * 3


def test_too_many_messages_in_flight_is_an_error_in_words(worlds):
    def flood(comm):
        if comm.rank == 0:
            for i in range(600):
                comm.start([Send(torch.tensor([i]), 1)])
        elif comm.rank == 2:
            comm.recv(torch.ones(1), source=0)

    world = worlds(3)
    with pytest.raises(RankError, match="511 messages are under way to rank 1"):
        world.run(flood)
    assert usable(world)


def test_a_crash_in_c_code_is_told_with_its_python_lines(worlds):
    def crash(comm):
        import ctypes

        if comm.rank == 1:
            ctypes.string_at(0)
        comm.barrier()

    with pytest.raises(RankDied, match="Rank 1 died of SIGSEGV") as error:
        worlds(2).run(crash)
    assert "Fatal Python error: Segmentation fault" in str(error.value)
    assert "in crash: ctypes.string_at(0)" in str(error.value)
    assert usable(worlds(2))


def test_the_garbage_collector_leaves_torch_alone(worlds):
    def looked_through(comm):
        return len(gc.get_objects()), gc.get_freeze_count()

    for own, torchs in worlds(2).run(looked_through).results:
        assert own < torchs / 2


def test_an_error_of_a_native_collective_that_was_caught_is_not_raised_again(worlds):
    def careful(comm):
        try:
            native.all_reduce(torch.ones(4, dtype=torch.int16), comm)  # gloo does not take int16
        except RuntimeError as error:
            return str(error), native.all_reduce(torch.ones(1), comm).item()

    assert worlds(2).run(careful).results == [("Invalid scalar type", 2.0)] * 2
    with pytest.raises(RankError, match="Invalid scalar type") as error:
        worlds(2).run(lambda comm: native.all_reduce(torch.ones(1, dtype=torch.int16), comm))
    assert "native.all_reduce(torch.ones(1, dtype=torch.int16), comm)" in str(error.value)


def test_shapes_that_gloo_cannot_take_are_told_in_its_words_with_the_learners_line(worlds):
    def unequal(comm):
        dist.all_reduce(torch.ones(4 + 4 * comm.rank))

    with pytest.raises(RankDied, match="died of SIGABRT") as error:
        worlds(2).run(unequal)
    text = str(error.value)
    assert "its last words: op.preamble.length <= op.nbytes" in text
    assert "in unequal: dist.all_reduce(torch.ones(4 + 4 * comm.rank))" in text
    assert "every rank must call the same collective, with the same shape and dtype" in text
    assert "Extension modules" not in text
