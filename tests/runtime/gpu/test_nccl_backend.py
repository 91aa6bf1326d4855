"""Which backend a World takes, on machines that this one is not."""

import subprocess
import sys

import pytest

from minidl import World
from minidl.runtime import world as world_module
from minidl.runtime.processes.backend import Machine, choose, look
from tests.deadlines import generous

LAPTOP, FOUR = Machine(cuda=False, gpus=0, nccl=False), Machine(cuda=True, gpus=4, nccl=True)


@pytest.mark.parametrize(
    "world_size, machine, expected",
    [
        (4, FOUR, "nccl"),
        (1, FOUR, "nccl"),
        (5, FOUR, "gloo"),
        (1, Machine(True, 1, True), "nccl"),
        (2, Machine(True, 1, True), "gloo"),
        (1, LAPTOP, "gloo"),
        (2, Machine(True, 0, True), "gloo"),
        (2, Machine(True, 2, False), "gloo"),
    ],
)
def test_nccl_is_taken_where_every_rank_has_a_gpu_of_its_own(world_size, machine, expected):
    assert choose(world_size, machine) == expected
    assert choose(world_size, machine, "gloo") == "gloo"
    if expected == "nccl":
        assert choose(world_size, machine, "nccl") == "nccl"


@pytest.mark.parametrize(
    "world_size, machine, words",
    [
        (
            4,
            LAPTOP,
            [
                'World(4, backend="nccl")',
                "0 GPUs",
                "Install a torch that is built for CUDA",
                "machine with 4 GPUs",
                "World(4) runs on the CPU",
            ],
        ),
        (4, Machine(True, 0, True), ["there are 0 GPUs", "World(4) runs on the CPU, over gloo"]),
        (
            4,
            Machine(True, 1, True),
            ["there is 1 GPU,", "two ranks on one", 'World(1, backend="nccl") fits here'],
        ),
        (4, Machine(True, 3, True), ["there are 3 GPUs", 'World(3, backend="nccl") fits here']),
        (
            2,
            Machine(True, 2, False),
            ["there are 2 GPUs", "without NCCL", "World(2) runs on the CPU"],
        ),
    ],
)
def test_an_impossible_wish_is_refused_with_the_number_of_gpus_and_the_remedy(
    world_size, machine, words
):
    with pytest.raises(ValueError) as error:
        choose(world_size, machine, "nccl")
    assert all(word in str(error.value) for word in words), error.value


def test_a_backend_that_is_none_is_refused_by_name():
    with pytest.raises(ValueError, match='"gloo", "nccl", or None .* not \'mpi\''):
        choose(2, FOUR, "mpi")


def test_a_world_says_what_it_took_and_refuses_before_a_rank_starts(monkeypatch):
    monkeypatch.setattr(world_module, "look", lambda: Machine(cuda=True, gpus=1, nccl=True))
    with pytest.raises(ValueError, match="there is 1 GPU"):
        World(4, backend="nccl")
    with World(2) as chosen:
        assert repr(chosen) == "World(2 ranks, gloo)" and chosen.run(
            lambda comm: str(comm.device)
        ).results == ["cpu", "cpu"]
    with World(1, backend="gloo") as forced:  # a GPU for one rank is there, and not taken
        assert repr(forced) == "World(1 rank, gloo)" and forced.backend == "gloo"


@pytest.mark.slow
def test_looking_starts_no_cuda():
    code = (
        "import torch; from minidl.runtime.processes.backend import look; look();"
        "assert not torch.cuda.is_initialized(); print('ok')"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=generous(60)
        ).stdout
        == "ok\n"
    )
    assert look().gpus >= 0
