"""Background work has a Comm of its own, and says so when it uses another one."""

import pytest
import torch

from minidl import RankError
from minidl.collectives import ring


def two_sums(inside, comm):
    """A sum in the background beside one in the foreground: 3 and 300 on three ranks."""
    ones = torch.full((3,), 1.0)
    hundreds = torch.full((3,), 100.0)
    work = inside(ones, comm)
    hundreds = ring.all_reduce(hundreds, comm)
    return work.wait().tolist(), hundreds.tolist()


WAYS = {
    "the twin is passed as comm": lambda x, comm: comm.background(ring.all_reduce, x),
    "this Comm among the arguments": lambda x, comm: comm.background(ring.all_reduce, x, comm),
    "by a parameter of another name": lambda x, comm: comm.background(
        lambda c: ring.all_reduce(x, c), comm
    ),
    "a group of the twin": lambda x, comm: comm.background(
        lambda comm: ring.all_reduce(x, comm.group(range(comm.world_size)))
    ),
    "a twin of the twin": lambda x, comm: comm.background(
        lambda comm: comm.background(ring.all_reduce, x).wait()
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_messages_of_a_background_function_never_mix(either, way):
    assert either(3).run(two_sums, WAYS[way]).results == [([3.0] * 3, [300.0] * 3)] * 3


def closure(x, comm):
    return comm.background(lambda: ring.all_reduce(x, comm))


def group_from_outside(x, comm):
    group = comm.group(range(comm.world_size))
    return comm.background(lambda comm: ring.all_reduce(x, group))


def background_on_the_outer_comm(x, comm):
    return comm.background(lambda: comm.background(ring.all_reduce, x).wait())


def outer_comm_of_a_background_function(x, comm):
    def inner(twin):
        return twin.background(lambda: ring.all_reduce(x, twin)).wait()

    return comm.background(inner, comm)


@pytest.mark.parametrize(
    "way",
    [
        closure,
        group_from_outside,
        background_on_the_outer_comm,
        outer_comm_of_a_background_function,
    ],
)
def test_a_background_function_on_a_comm_that_is_not_its_own_is_an_error_in_words(either, way):
    with pytest.raises(RankError, match="which is not its own") as error:
        either(3).run(two_sums, way)
    assert error.value.ranks == (0, 1, 2)
    assert f"test_background.py, line {way.__code__.co_firstlineno + 1}" in str(error.value) or (
        f"test_background.py, line {way.__code__.co_firstlineno + 2}" in str(error.value)
    )
    assert isinstance(error.value.causes[0], RuntimeError)


def test_what_sends_nothing_may_use_any_comm(either):
    def ask(comm):
        return comm.background(lambda: (comm.rank, comm.world_size, comm.right)).wait()

    assert either(2).run(ask).results == [(0, 2, 1), (1, 2, 0)]
