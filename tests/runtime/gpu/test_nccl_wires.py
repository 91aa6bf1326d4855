"""How tensors travel between GPUs, with gloo in NCCL's place and float64 for "on the GPU": order,
deadlocks, deaths, times.
"""

import os
import threading
import time

import pytest
import torch

from minidl import Crash, DeadlockError, Op, RankDied, RankError, Recv, Send, World
from minidl.collectives import native, ring, tree
from minidl.runtime.processes import nccl, parcel
from minidl.runtime.processes.descriptions import description
from tests.deadlines import generous
from tests.runtime.gpu.fake_cuda import with_fake_gpu


@pytest.fixture
def world():
    """A World of three ranks that become ranks with GPUs as soon as a program says so."""
    with World(3, backend="gloo") as world:
        yield world


def everything(comm):
    """Sums over all kinds of ways, on and off the "GPU"."""
    with_fake_gpu(comm)
    far = torch.arange(7, dtype=torch.float64) + comm.rank
    job = comm.background(ring.all_reduce, far, comm)
    sums = [
        ring.all_reduce(far, comm),
        tree.all_reduce(far, comm),
        native.all_reduce(far, comm),
        ring.all_reduce(far.float(), comm),
        job.wait(),
    ]
    gathered = native.all_gather(far[:1], comm)
    comm.barrier()
    pair = comm.split(color=comm.rank == 2)
    return (
        sums,
        gathered,
        ring.all_reduce(far, pair),
        native.all_reduce(far, pair),
        sorted(comm.node.wires.wires),
    )


def test_all_ways_of_sending_work_on_wires_and_beside_them(world):
    for rank, (sums, gathered, in_pair, natively, wires) in enumerate(
        world.run(everything).results
    ):
        assert all(torch.equal(total.double(), 3 * torch.arange(7).double() + 3) for total in sums)
        assert gathered.tolist() == [0, 1, 2]
        mine = 2 * torch.arange(7) + 1 if rank < 2 else torch.arange(7) + 2
        assert in_pair.tolist() == natively.tolist() == mine.tolist()
        assert (
            f"{rank} to {(rank + 1) % 3} of world" in wires
            and "all of world" in wires
            and f"{rank} to {(rank + 1) % 3} of world+1" in wires
        )


def test_later_runs_use_the_same_wires(world):
    def first(comm):
        with_fake_gpu(comm)
        return ring.all_reduce(torch.ones(2, dtype=torch.float64), comm)

    def again(comm):
        total = ring.all_reduce(torch.full((5,), 2.0, dtype=torch.float64), comm)
        return total.tolist(), comm.node.wires.made

    world.run(first)
    assert (
        world.run(again).results == [([6.0] * 5, 2)] * 3
    )  # one wire to the right, one from the left


def not_yet(comm):
    with_fake_gpu(comm)
    wires, far = comm.node.wires, torch.ones(3, dtype=torch.float64)
    work = comm.start([Send(far, 1)]) if comm.rank == 0 else None
    for _ in range(50):
        native.barrier(comm)  # in memory, and no message from 0 to 1
    made = wires.made
    native.barrier(comm)
    got = comm.recv(far, source=0).tolist() if comm.rank == 1 else work and work.wait()
    return made, got, wires.made


def test_nothing_is_handed_over_before_both_sides_have_posted_it(world):
    assert world.run(not_yet).results == [(0, (), 1), (0, [1.0] * 3, 1), (0, None, 0)]


def all_receive_first(comm):
    with_fake_gpu(comm)
    far = torch.ones(3, dtype=torch.float64)
    comm.recv(far, source=comm.left)
    comm.send(far, to=comm.right)


def test_a_deadlock_is_found_in_words_and_the_ranks_live_on(world):
    world.run(everything)
    with pytest.raises(DeadlockError, match=r"waits for rank 2 to send message 0, \(3,\) float64"):
        world.run(all_receive_first)
    assert world.run(wires_left).results == [[]] * 3
    assert all(
        torch.equal(result[1], torch.arange(3.0)) for result in world.run(everything).results
    )


def wires_left():
    """The wires of earlier connections that do not end."""
    wires = [thread for thread in threading.enumerate() if thread.name.startswith("wire ")]
    for thread in wires:
        thread.join(generous(5))
    return [thread.name for thread in wires if thread.is_alive()]


def some_leave_out_a_native(comm):
    with_fake_gpu(comm)
    if comm.rank:
        comm.native("broadcast", torch.ones(2, dtype=torch.float64), root=1).wait()


def test_a_native_waits_for_everybody_and_so_does_its_root(world):
    with pytest.raises(DeadlockError, match="ranks 1 and 2 wait for rank 0, which has finished"):
        world.run(some_leave_out_a_native)


def fails_while_others_wait(comm, how):
    with_fake_gpu(comm)
    far = torch.ones(3, dtype=torch.float64)
    ring.all_reduce(far, comm)
    if comm.rank == 1 and how == "raise":
        raise ValueError("enough")
    ring.all_reduce(far, comm)


def test_an_error_or_a_death_ends_the_waits_of_the_others(world):
    with pytest.raises(RankError, match="enough"):
        world.run(fails_while_others_wait, "raise")
    with pytest.raises(RankDied, match="rank 1"):
        world.run(fails_while_others_wait, "die", faults=[Crash(rank=1, at=Op(6))])
    assert all(
        torch.equal(result[1], torch.arange(3.0)) for result in world.run(everything).results
    )


def waits_for_its_gpu(comm):
    """Rank 0 stands for a program in cudaStreamSynchronize: no signal reaches it, and it goes on
    when NCCL is aborted.
    """
    with_fake_gpu(comm)
    if comm.rank == 1:
        raise ValueError("enough")
    wires = comm.node.wires
    while comm.rank == 0 and not wires.aborted:
        try:
            time.sleep(0.01)
        except BaseException:
            pass


def test_a_rank_that_waits_for_its_gpu_is_freed_by_abort_and_not_killed(world):
    before = world.run(os.getpid).results
    with pytest.raises(RankError, match="enough"):
        world.run(waits_for_its_gpu)
    assert world.run(os.getpid).results == before


def timed(comm):
    cuda = with_fake_gpu(comm)
    far = torch.ones(3, dtype=torch.float64)
    with comm.span("forward"):
        cuda.work(1.0)  # handed over, and the program goes on
    began = comm.now()
    work = comm.start([Recv(far, comm.left), Send(far, comm.right)])
    asked = comm.now()
    parts = work.posting.tickets
    behind = [part.work.ready.event for part in parts]
    work.wait()
    return began, asked, comm.now(), all(event in cuda.awaited for event in behind)


def test_spans_and_messages_have_the_times_of_the_gpu(world):
    run = world.run(timed)
    for rank, (began, asked, after, behind) in enumerate(run.results):
        assert behind  # what was sent had been computed by then
        (span,) = run.trace.where(rank=rank, kind="span")
        assert 0.999 <= span.done - span.posted
        assert began <= asked < span.done <= after  # the program did not wait for its GPU
        (send,) = run.trace.where(rank=rank, kind="send")
        assert (
            send.posted >= span.done - 1e-3 > began
        )  # the GPU came to it when it was through with forward
        assert send.posted <= send.waited <= send.done <= after


def test_every_thread_of_a_rank_takes_its_gpu(world):
    def threads(comm):
        cuda = with_fake_gpu(comm)
        before = cuda.threads
        comm.background(lambda comm: None).wait()
        comm.exchange(torch.ones(1, dtype=torch.float64), comm.right, comm.left)
        return cuda.threads - before

    assert world.run(threads).results == [3] * 3  # one beside the computation, and two wires


def test_a_gpu_that_fails_or_is_still_at_work_leaves_the_time_at_which_the_program_asked():
    from minidl.runtime.gpu.gpu_clock import Gpu
    from tests.runtime.gpu.fake_cuda import FakeCuda

    cuda, clock = FakeCuda(), iter(range(100))
    gpu = Gpu(0, lambda: float(next(clock)), cuda)
    cuda.work(30)
    moment = gpu.mark()
    assert (
        gpu.seconds(moment) == moment.asked
        and gpu.seconds(0.5) == 0.5
        and gpu.seconds(None) is None
    )
    moment.event.query = lambda: (_ for _ in ()).throw(RuntimeError("CUDA error"))
    assert gpu.seconds(moment) == moment.asked


def test_memory_and_gpu_are_told_apart_before_a_message_is_posted():
    assert description((4,), torch.float32, True) != description((4,), torch.float32)
    assert description((4,), torch.float32, True) == "(4,) float32 on a GPU"


class OnGpu:
    """What the checks ask of a tensor on a GPU."""

    is_cuda, device = True, torch.device("cuda", 1)


def test_a_tensor_on_a_wrong_gpu_is_refused_with_the_remedy():
    with pytest.raises(
        ValueError, match=r"on cuda:1, but the ranks .* no GPUs .* x.to\(comm.device\)"
    ):
        nccl.NoWires().carries(OnGpu())
    assert not nccl.NoWires().carries(torch.ones(1)) and not nccl.NoWires().carries(None)
    own = type("Gpu", (), {"device": torch.device("cuda", 0)})
    with pytest.raises(ValueError, match=r"on cuda:1, and the rank's own GPU is cuda:0"):
        nccl.Wires(own, None, None).carries(OnGpu())


def test_what_a_rank_returns_comes_back_in_memory():
    class AllAway(parcel.MemoryPacker):
        asked = 0

        def on_gpu(self, tensor):
            AllAway.asked += 1
            return AllAway.asked <= 2

    import pickle

    weight = torch.nn.Parameter(torch.arange(3.0), requires_grad=False)
    back, weight_back = pickle.loads(
        parcel.to_bytes([torch.arange(4.0).requires_grad_(), weight], AllAway)
    )
    assert AllAway.asked >= 2
    assert (
        back.tolist() == [0, 1, 2, 3]
        and back.requires_grad
        and type(weight_back) is torch.nn.Parameter
        and not weight_back.requires_grad
    )


def test_without_nccl_there_is_no_group_of_its_to_abort(world):
    assert world.run(lambda comm: nccl.torch_group()).results == [[]] * 3
