"""A wait below a collective or a wrapper: the learner's line comes first, and the remedy fits."""

import pytest
import torch
from torch import nn

from minidl import DeadlockError, MismatchError
from minidl.collectives import ring, tree
from minidl.parallel.data import DataParallel
from minidl.parallel.zero import Zero1


def only_rank_0_reduces(comm):
    if comm.rank == 0:
        ring.all_reduce(torch.ones(4), comm)


def only_rank_0_saves(comm):
    model = Zero1(nn.Linear(4, 4), comm, torch.optim.Adam)
    if comm.rank == 0:
        model.full_state_dict()


def one_batch_more(comm):
    model = DataParallel(nn.Linear(4, 4), comm)
    for _ in range(2 - comm.rank):
        model(torch.ones(2, 4)).sum().backward()
        model.synchronise()
        model.zero_grad()


def forgets_to_synchronise(comm):
    model = DataParallel(nn.Linear(4, 4), comm)
    if comm.rank == 0:
        model(torch.ones(2, 4)).sum().backward()


@pytest.mark.parametrize(
    "case, line",
    [
        (only_rank_0_reduces, "ring.all_reduce(torch.ones(4), comm)"),
        (only_rank_0_saves, "model.full_state_dict()"),
        (one_batch_more, "model.synchronise()"),
        (forgets_to_synchronise, "model(torch.ones(2, 4)).sum().backward()"),
    ],
)
def test_a_call_that_one_rank_makes_alone(either, case, line):
    with pytest.raises(DeadlockError, match="rank 0 waits for rank 1, which has fin") as error:
        either(2).run(case)
    text = str(error.value)
    in_background = case in (one_batch_more, forgets_to_synchronise)
    assert line + ("\n      in data.py" if in_background else "\n      in ring.py") in text
    assert "Rank 1 has made one call fewer: every rank of the group must make the same" in text
    assert "comm.exchange" not in text


def test_two_ranks_in_different_calls(either):
    def different(comm):
        if comm.rank == 0:
            ring.all_reduce(torch.ones(4), comm)
        else:
            tree.broadcast(torch.ones(2), comm)
            tree.broadcast(torch.ones(2), comm, root=1)

    with pytest.raises((DeadlockError, MismatchError)) as error:
        either(2).run(different)
    text = str(error.value)
    assert "ring.all_reduce(torch.ones(4), comm)" in text
    assert "in the same order" in text and "comm.exchange" not in text


def test_a_collective_beside_a_learners_own_receive(either):
    def beside(comm):
        if comm.rank == 1:
            comm.recv(torch.ones(3), 2)
        else:
            ring.all_reduce(torch.ones(4), comm)

    with pytest.raises(DeadlockError) as error:
        either(3).run(beside)
    assert "The ranks are not in the same call" in str(error.value)


def test_shapes_that_differ_below_a_collective_name_the_call_on_both_ranks(either):
    def differ(comm):
        ring.all_gather(torch.ones(2 + comm.rank), comm)

    with pytest.raises(MismatchError) as error:
        either(2).run(differ)
    text = str(error.value)
    assert text.count("ring.all_gather(torch.ones(2 + comm.rank), comm)\n      in ring.py") == 2
    assert "same collectives in the same order" in text and "`like`" not in text


def test_an_event_keeps_the_line_that_posted_it(either):
    run = either(2).run(lambda comm: ring.all_reduce(torch.ones(4), comm))
    assert {event.line.split(",")[0] for event in run.trace} == {"ring.py"}
