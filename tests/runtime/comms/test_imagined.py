"""A rank whose peers are imagined holds, sends and waits as it does among ranks that exist."""

import pytest
import torch

from minidl import Device, RankError, Uniform, VirtualWorld
from minidl.collectives import doubling, ring
from minidl.parallel.zero import Zero1, Zero2, Zero3
from minidl.runtime.comms.imagined import Imagined
from minidl.zoo.models import GPT, next_token_loss

LINK = Uniform(1e-6, 1e-10)
COLLECTIVES = {"ring": ring, "doubling": doubling}


def step(way, collectives, comm, N=None):
    """A step of a small GPT on meta tensors. N: imagine so many ranks."""
    comm = comm if N is None else Imagined(comm, N, LINK.alpha, LINK.beta)
    with torch.device("meta"):
        model, tokens = (
            GPT(64, 32, 64, 4, layers=3, recompute=1),
            torch.zeros(2, 33, dtype=torch.int64),
        )
    zero = way(
        model,
        comm,
        torch.optim.Adam,
        compute_dtype=torch.bfloat16,
        all_gather=COLLECTIVES[collectives].all_gather,
        reduce_scatter=COLLECTIVES[collectives].reduce_scatter,
    )
    comm.barrier()
    began = comm.now()
    before = list(comm.sent) if N else None
    with comm.span("step"):
        next_token_loss(zero, tokens).backward()
        zero.step()
    return comm.now() - began, [b - a for a, b in zip(before, comm.sent)] if N else None


@pytest.mark.parametrize("collectives", COLLECTIVES)
@pytest.mark.parametrize("way", [Zero1, Zero2, Zero3])
@pytest.mark.parametrize("N", [1, 2, pytest.param(8, marks=pytest.mark.slow)])
def test_it_is_as_among_ranks_that_exist(way, collectives, N):
    full = VirtualWorld(N, device=Device(1e12), network=LINK).run(
        step, way, collectives, meter=True
    )
    alone = VirtualWorld(1, device=Device(1e12)).run(step, way, collectives, N, meter=True)
    seconds, (messages, nbytes) = alone.results[0]
    inside = full.trace.where(kind="send", rank=0)
    sends = [e for e in inside if e.span.startswith("step")]
    assert (messages, nbytes) == (len(sends), sum(e.nbytes for e in sends))
    assert seconds == pytest.approx(full.results[0][0], rel=0.02)
    assert alone.trace.flops[0] == full.trace.flops[0]
    ours, theirs = alone.trace.memory_kinds(0, "step"), full.trace.memory_kinds(0, "step")
    for kind in theirs:
        assert ours[kind] == pytest.approx(theirs[kind], rel=0.15), (
            kind
        )  # a received message may live a moment longer
    assert [ours[kind] for kind in list(ours)[:3]] == [theirs[kind] for kind in list(theirs)[:3]]


def test_real_numbers_are_refused_in_words():
    with pytest.raises(RankError, match="has a shape and no values"):
        VirtualWorld(1).run(lambda comm: ring.all_reduce(torch.ones(4), Imagined(comm, 2)))
