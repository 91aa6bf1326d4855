"""Every way to train follows one protocol, so that a loop does not know which one it runs."""

import pytest
import torch

from minidl import RankError, VirtualWorld
from minidl.parallel.data import BucketedDataParallel, DataParallel, NaiveDataParallel
from minidl.parallel.protocol import OneProcess, ParallelModel
from minidl.parallel.zero import Zero1, Zero2, Zero3

WAYS = (NaiveDataParallel, BucketedDataParallel, DataParallel, Zero1, Zero2, Zero3)


def train(way, comm, max_norm=None):
    """Two steps of two microbatches; what one process would say and end with."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
    parallel = way(model, comm, make_optimizer=torch.optim.Adam)
    assert isinstance(parallel, ParallelModel)
    x = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    own = x if way is OneProcess else x.chunk(comm.world_size)[comm.rank]
    norms = []
    for _ in range(2):
        first, last = own.chunk(2)
        with parallel.no_sync():
            (parallel(first) ** 2).mean().div(2).backward()
        (parallel(last) ** 2).mean().div(2).backward()
        norms.append(parallel.step(max_norm))
    return norms, parallel.full_state_dict()


@pytest.mark.parametrize("max_norm", [None, 0.05])
@pytest.mark.parametrize("way", WAYS)
def test_one_loop_trains_by_every_way_what_one_process_trains(way, max_norm):
    ((norms, expected),) = VirtualWorld(1).run(train, OneProcess, max_norm).results
    for found_norms, found in VirtualWorld(3).run(train, way, max_norm).results:
        assert found_norms == pytest.approx(norms) if max_norm else found_norms == [None, None]
        assert list(found) == list(expected)
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


def test_one_process_sends_nothing():
    assert sum(VirtualWorld(3).run(train, OneProcess).trace.sent()) == 0


def test_a_step_without_an_optimizer_is_refused_in_words():
    def forgotten(comm):
        DataParallel(torch.nn.Linear(2, 2), comm).step()

    with pytest.raises(RankError, match="DataParallel has no optimizer for step.*make_optimizer"):
        VirtualWorld(2).run(forgotten)
