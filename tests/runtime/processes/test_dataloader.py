"""A rank may feed itself with DataLoader workers, and they never outlive it."""

import multiprocessing.util
import os
import signal

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from minidl import RankDied, RankTimeout, World
from tests import census

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers fork")
POLL = 2  # seconds within which the workers must be gone


class Squares(Dataset):
    """0, 1, 4, 9, ...  Each is loaded in a worker, which tells its own process."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return torch.tensor([i * i, os.getpid()])


@pytest.fixture(scope="module")
def world():
    with World(2) as made:
        yield made


def workers(world):
    """The processes that the ranks of this world have started."""
    ranks = {rank.pid for rank in world._ranks.values()}
    return [p for p in census.processes(os.environ[census.TOKEN]) if p.parent in ranks]


def all_gone(pids):
    """None of these processes is alive (a zombie is dead)."""
    return not {p.pid for p in census.processes(os.environ[census.TOKEN])} & set(pids)


def sum_of_my_half(n, comm):
    """The ranks split the squares, and sum what their workers loaded."""
    mine = torch.utils.data.Subset(Squares(n), range(comm.rank, n, comm.world_size))
    total, loaded_by = torch.zeros(1, dtype=torch.int64), set()
    for batch in DataLoader(mine, batch_size=4, num_workers=2):
        total += batch[:, 0].sum()
        loaded_by |= set(batch[:, 1].tolist())
    total += comm.exchange(total.clone(), to=comm.right, source=comm.left)
    return total.item(), len(loaded_by - {os.getpid()})


def test_both_ranks_load_with_two_workers_each(world):
    n = 32
    run = world.run(sum_of_my_half, n)
    assert run.results == [(sum(i * i for i in range(n)), 2)] * 2
    census.eventually(lambda: not workers(world), POLL, "the workers end with their loader")


def test_a_dataset_from_within_a_function_needs_no_main_guard(world):
    class Local(Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, i):
            print(f"loading {i}")
            return i

    def load(dataset, comm):
        return [int(x) for x in DataLoader(dataset, batch_size=None, num_workers=2)]

    run = world.run(load, Local())
    assert run.results == [list(range(6))] * 2
    assert {f"{rank}| loading {i}" for rank in range(2) for i in range(6)} <= set(
        run.output.splitlines()
    ), "workers may print"
    census.eventually(lambda: not workers(world), POLL, "the workers end with their loader")


def killed_while_loading(path, comm):
    """Both ranks have their workers at work; then rank 1 dies and rank 0 waits for it."""
    batches = iter(DataLoader(Squares(1000), batch_size=2, num_workers=2))
    next(batches)
    with open(f"{path}.{comm.rank}", "w") as file:
        file.write(" ".join(str(w.pid) for w in batches._workers))
    comm.barrier()
    if comm.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    comm.recv(torch.zeros(1), source=1)


def test_workers_die_with_a_killed_rank_and_with_one_that_is_stopped(world, tmp_path):
    with pytest.raises(RankDied, match="Rank 1 died of SIGKILL"):
        world.run(killed_while_loading, str(tmp_path / "pids"))
    pids = [
        [int(pid) for pid in (tmp_path / f"pids.{rank}").read_text().split()] for rank in range(2)
    ]
    assert [len(own) for own in pids] == [2, 2]
    census.eventually(lambda: all_gone(pids[1]), POLL, "the workers of the killed rank are gone")
    census.eventually(lambda: all_gone(pids[0]), POLL, "the workers of the stopped rank are gone")
    assert world.run(sum_of_my_half, 32).results == [(sum(i * i for i in range(32)), 2)] * 2


def loads_for_ever(comm):
    while True:
        for _ in DataLoader(Squares(1000), batch_size=2, num_workers=2):
            pass


def test_an_endless_loader_is_stopped_with_its_workers(world):
    with pytest.raises(RankTimeout):
        world.run(loads_for_ever, timeout=1)
    census.eventually(lambda: not workers(world), POLL, "the workers are gone")
    assert world.run(sum_of_my_half, 32).results == [(sum(i * i for i in range(32)), 2)] * 2


PERSISTENT = """
from torch.utils.data import DataLoader
batches = iter(DataLoader(squares, batch_size=2, num_workers=2, persistent_workers=True))
next(batches)
pids = [w.pid for w in batches._workers]
"""


def test_workers_that_live_between_cells_end_with_the_world():
    with World(2) as world:
        world.push(squares=Squares(1000))
        world.cell(PERSISTENT)
        pids = sum(world.pull("pids"), [])
        assert len(pids) == 4 and not all_gone(pids[:1]), "they live on after the cell"
    census.eventually(lambda: all_gone(pids), POLL, "the workers end with their world")


def temporary_folder(comm):
    """Where this process's multiprocessing keeps its sockets; the loader shares tensors through
    them.
    """
    assert len(list(DataLoader(Squares(8), batch_size=2, num_workers=2))) == 4
    return multiprocessing.util.get_temp_dir()


def test_the_loaders_temporary_folders_go_with_the_world():
    with World(2) as world:
        paths = world.run(temporary_folder).results
        assert all(os.path.isdir(path) for path in paths)
    census.eventually(lambda: not any(map(os.path.exists, paths)), POLL, f"{paths} are removed")
