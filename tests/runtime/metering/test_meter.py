"""FLOPs as torch counts them, bytes as they are held, each of its kind."""

import itertools
import threading

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from minidl import Device, RankError, Slow, VirtualWorld
from minidl.runtime.metering.meter import KINDS, Meter
from tests.deadlines import generous

CLOCK = itertools.count()


def meter():
    return Meter(lambda: next(CLOCK))


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Tanh(), torch.nn.Linear(128, 32))


P = 4 * (64 * 128 + 128 + 128 * 32 + 32)


def test_flops_equal_those_of_torchs_own_counter():
    net, x = model(), torch.randn(16, 64)
    with FlopCounterMode(display=False) as theirs:
        net(x).sum().backward()
    ours = meter()
    with ours.reading():
        net(x).sum().backward()
    assert ours.flops == theirs.get_total_flops() > 0


def held(meter):
    """Bytes held now, a number for each of KINDS: the sum of all changes so far."""
    totals = [0] * len(KINDS)
    for _, _, kind, nbytes in meter.changes:
        totals[kind] += nbytes
    return totals


def test_a_training_step_holds_parameters_gradients_state_and_activations():
    ours = meter()
    with ours.reading():
        net = model()
        optimizer = torch.optim.AdamW(net.parameters())
        x = torch.randn(16, 64)
        loss = net(x).square().sum()
        parameters, gradients, state, activations = held(ours)
        assert (parameters, gradients, state) == (P, 0, 0)
        assert activations >= 4 * 16 * (
            64 + 128 + 32
        )  # inputs of both layers, and what square() keeps
        loss.backward()
        del loss
        assert held(ours)[:2] == [P, P]
        optimizer.step()
        steps = 4 * 4  # AdamW counts its steps in a tensor for each parameter
        assert held(ours)[2] == 2 * P + steps
        optimizer.zero_grad()
        assert held(ours)[1] == 0
        del net, optimizer, x
    totals = [0] * len(KINDS)
    for _, _, kind, nbytes in ours.changes:
        totals[kind] += nbytes
        assert totals[kind] >= 0
    ours.close()


def test_what_is_let_go_is_no_longer_held():
    ours = meter()
    with ours.reading():
        kept, dropped = torch.zeros(100), torch.zeros(1000)
        view = dropped[:10]
        del dropped
        assert held(ours)[-1] == 4400  # the view keeps the whole storage
        del view
        assert held(ours)[-1] == 400 == kept.nbytes


def test_a_storage_that_is_emptied_and_filled_again_is_noticed():
    ours = meter()
    with ours.reading():
        whole = torch.zeros(1000)
        part = torch.nn.Parameter(whole[:500])
        part * 1
        assert held(ours)[0] == 4000
        whole.untyped_storage().resize_(0)
        assert held(ours)[0] == 0  # at once, though no operation came after it
        whole.untyped_storage().resize_(4000)
        assert held(ours)[0] == 4000


def test_a_storage_is_resized_by_another_thread_and_its_owner_is_told():
    ours, other = meter(), meter()
    with ours.reading():
        whole = torch.zeros(1000)
    with other.reading():
        torch.zeros(10) + 1
        thread = threading.Thread(target=whole.untyped_storage().resize_, args=(400,))
        thread.start()
        thread.join(generous(30))
    assert held(ours)[-1] == 400 and held(other)[-1] == 0


def test_an_operation_does_not_look_at_all_that_is_held():
    ours = meter()
    with ours.reading():
        kept = [torch.nn.Parameter(torch.zeros(1)) for _ in range(200)]
        looked, ours._measure = [], lambda entry, storage: looked.append(entry)
        for _ in range(100):
            kept[0] + 1
    assert len(looked) < 100 * 5


def test_meta_tensors_count_without_memory():
    ours = meter()
    with ours.reading(), torch.device("meta"):
        net = torch.nn.Linear(10_000, 10_000)
        net(torch.empty(1000, 10_000)).sum().backward()
    assert held(ours)[:2] == [4 * 100_010_000] * 2
    assert (
        ours.flops == 2 * 2 * 1000 * 10_000**2
    )  # forward and the weight's gradient; the input needs none


def test_two_meters_in_two_threads_do_not_mix():
    found = {}

    def work(n):
        mine = meter()
        with mine.reading():
            net = torch.nn.Linear(n, n)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
            net(torch.ones(1, n)).sum().backward()
            optimizer.step()
            found[n] = mine.flops, held(mine)[:3]

    threads = [threading.Thread(target=work, args=(n,)) for n in (3, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(generous(30))
    for n in (3, 50):
        assert found[n] == (4 * n * n, [4 * (n * n + n)] * 3)


def test_the_charge_is_told_the_flops_of_each_operation():
    told = []
    ours = Meter(lambda: 0.0, told.append)
    with ours.reading():
        torch.ones(2, 3) @ torch.ones(3, 4)
    assert told == [48] and ours.operations >= 3


def test_hooks_are_taken_off():
    net, ours = model(), meter()
    with ours.reading():
        net(torch.ones(1, 64)).sum().backward()
    ours.close()
    before = len(ours.changes)
    net(torch.ones(1, 64)).sum().backward()
    assert len(ours.changes) == before


def trained(comm):
    """A data parallel training step of a layer of 100 x 100 numbers, overlapped."""
    from minidl.parallel.data import DataParallel

    layer = torch.nn.Linear(100, 100)
    parallel, optimizer = (
        DataParallel(layer, comm),
        torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9),
    )
    parallel(torch.ones(8, 100)).square().sum().backward()
    parallel.synchronise()
    optimizer.step()
    return layer.weight.sum().item()


def test_real_ranks_are_metered_when_asked_and_compute_the_same(worlds):
    metered, plain = worlds(2).run(trained, meter=True), worlds(2).run(trained)
    assert metered.results == plain.results
    assert metered.trace.flops == [2 * 2 * 8 * 100 * 100] * 2 and plain.trace.flops is None
    for rank in range(2):
        held = metered.trace.memory_kinds(rank)
        assert held["parameters"] == held["gradients"] == held["optimizer state"] == 4 * 10_100
    assert metered.trace.memory(1).title.startswith("Rank 1 holds at most")


def test_a_rank_that_fails_is_metered_up_to_its_failure(worlds):
    def fails(comm):
        kept = torch.zeros(1000)
        raise ValueError(kept.shape)

    try:
        worlds(2).run(fails, meter=True)
    except Exception as error:
        assert error.trace.memory_kinds(0)["activations"] == 4000
    assert worlds(2).run(trained).trace.held == {}


def test_virtual_ranks_are_metered_each_for_itself():
    run = VirtualWorld(3).run(trained, meter=True)
    assert run.trace.flops == [2 * 2 * 8 * 100 * 100] * 3 and run.trace.seconds() > 0
    for rank in range(3):
        held = run.trace.memory_kinds(rank)
        assert held["parameters"] == held["gradients"] == held["optimizer state"] == 4 * 10_100
    assert VirtualWorld(3).run(trained).trace.flops is None


def test_a_device_charges_what_is_computed_to_the_virtual_clock():
    def multiply(comm):
        torch.ones(10, 20) @ torch.ones(20, 30)
        return comm.now()

    assert VirtualWorld(2, device=Device(1e6)).run(multiply).results == [2 * 10 * 20 * 30 / 1e6] * 2
    assert (
        VirtualWorld(2, device=Device(1e6))
        .run(multiply, faults=[Slow(rank=1, factor=3)])
        .results[1]
        == 3 * 0.012
    )
    assert VirtualWorld(2).run(multiply).results == [0.0, 0.0]


def test_background_work_is_charged_to_its_own_lane():
    def beside(comm):
        job = comm.background(lambda comm: torch.ones(10, 10) @ torch.ones(10, 10))
        torch.ones(10, 10) @ torch.ones(10, 10)
        before = comm.now()
        job.wait()
        return before, comm.now()

    assert VirtualWorld(1, device=Device(2000.0)).run(beside).results == [(1.0, 1.0)]


def sharded(comm):
    """A step of ZeRO-3 on meta tensors: a model of 4 blocks of 3000 x 3000 numbers."""
    from minidl.parallel.zero import Zero3

    with torch.device("meta"):
        model = torch.nn.Sequential(*(torch.nn.Linear(3000, 3000, bias=False) for _ in range(4)))
        x = torch.empty(16, 3000)
    zero = Zero3(model, comm, lambda parameters: torch.optim.AdamW(parameters))
    zero(x).sum().backward()
    zero.step()


def test_a_model_of_meta_tensors_needs_no_memory_and_its_shards_are_counted():
    P = 4 * 4 * 3000 * 3000
    trace = VirtualWorld(8, device=Device(1e12)).run(sharded).trace
    kinds = trace.memory_kinds(5)
    assert abs(kinds["optimizer state"] - 2 * P / 8) < 1000 and kinds["gradients"] <= P / 4 + P / 8
    moments, over_time = trace.memory_over_time(5)
    assert over_time["parameters"][-1] == P / 8
    assert (
        trace.flops[5] == 4 * 2 * 16 * 3000 * 3000 * 3 - 2 * 16 * 3000 * 3000
    )  # the first input needs no gradient
    assert trace.sent("nbytes")[5] == 3 * P * 7 / 8


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: x.sum() > 0 or None,
        torch.Tensor.tolist,
        torch.Tensor.numpy,
        lambda x: x[x > 0],
        torch.nonzero,
        torch.unique,
        torch.Tensor.cpu,
    ],
)
def test_asking_a_meta_tensor_for_a_value_is_an_error_in_words(ask):
    with pytest.raises(
        RankError, match="a meta tensor has a shape and no values, and this line asks for one"
    ):
        VirtualWorld(1).run(lambda comm: ask(torch.ones(2, device="meta")))


def test_a_device_has_a_rate():
    with pytest.raises(ValueError, match="positive"):
        Device(0)
    with pytest.raises(TypeError, match="flops_per_second"):
        VirtualWorld(2, device="H100")


def test_a_sparse_tensor_counts_by_its_indices_and_values():
    ours, table = meter(), torch.nn.Embedding(1000, 4, sparse=True)
    with ours.reading():
        eye = torch.eye(3).to_sparse()
        compressed = eye.to_sparse_csr()
        table(torch.tensor([1, 2, 3])).sum().backward()
    assert table.weight.grad.is_sparse and held(ours)[KINDS.index("gradients")] == 3 * 8 + 3 * 4 * 4
    assert held(ours)[KINDS.index("parameters")] == 4 * 1000 * 4
    assert (
        held(ours)[KINDS.index("activations")] == 3 * (2 * 8 + 4) + 4 * 8
        and compressed.is_sparse_csr
    )  # columns and values are shared


def test_a_compiled_program_is_metered_as_it_is_written_and_the_meter_stays_as_it_is():
    from torch._dynamo.utils import counters

    def program(comm, compiled):
        w = torch.nn.Parameter(torch.ones(8, 8))

        def loss_of(x):
            return ((x @ w).relu() @ w).sum()

        if compiled:
            loss_of = torch.compile(loss_of, backend="eager")
        for _ in range(3):
            loss_of(torch.ones(8, 8)).backward()

    flops = {}
    for compiled in (False, True):
        counters.clear()
        flops[compiled] = VirtualWorld(1).run(program, compiled, meter=True).trace.flops
    assert flops[True] == flops[False]
    assert not counters["frames"]  # while a meter reads, torch compiles nothing
