"""What is not a tensor is refused in words by every collective, and the words say what to give."""

import inspect

import numpy
import pytest
import torch

from minidl import RankError, VirtualWorld
from minidl.collectives import doubling, hierarchical, naive, native, ring, tree

OTHER_COLLECTIVES = {"halving_doubling_all_reduce"}
NAMES = {"broadcast", "reduce", "all_reduce", "gather", "scatter", "all_gather", "reduce_scatter"}
NAMES |= {"all_to_all"} | OTHER_COLLECTIVES


def collectives(*modules):
    """Every collective of these modules that takes a tensor."""
    for module in modules:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name in NAMES and function.__module__ == module.__name__:
                yield pytest.param(function, id=f"{module.__name__.split('.')[-1]}.{name}")


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    "wrong, kind", [([1.0, 2.0, 3.0], "list"), (numpy.ones(3), "ndarray"), (2.0, "float")]
)
@pytest.mark.parametrize(
    "collective", [*collectives(ring, tree, doubling, naive, hierarchical, native)]
)
def test_what_is_not_a_tensor_is_refused_in_words(collective, wrong, kind, n):
    options = {}
    if collective is hierarchical.all_reduce:
        options["islands"] = [[rank] for rank in range(n)]

    def give(comm):
        if "scatter" == collective.__name__ and comm.rank != 0:
            return collective(None, comm, like=wrong)
        return collective(wrong, comm, **options)

    with pytest.raises(RankError) as error:
        VirtualWorld(n).run(give)
    text = str(error.value)
    assert f"TypeError: a message is a tensor, not a {kind}: send torch.tensor(x) instead" in text
    assert "test_lists.py, line" in text


@pytest.mark.parametrize("collective", [ring.all_reduce, ring.all_gather, doubling.all_gather])
def test_memory_for_a_result_is_a_tensor_too(collective):
    with pytest.raises(RankError, match="not a list: receive into torch.tensor"):
        VirtualWorld(2).run(lambda comm: collective(torch.ones(2), comm, into=[0.0, 0.0]))


def test_scatter_says_what_like_must_be():
    def give(comm):
        x = torch.ones(4) if comm.rank == 0 else None
        return naive.scatter(x, comm, like=[1.0, 1.0])

    with pytest.raises(RankError, match="not a list: receive like torch.tensor") as error:
        VirtualWorld(2).run(give)
    assert error.value.ranks == (1,)
