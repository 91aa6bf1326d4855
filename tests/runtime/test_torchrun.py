"""The same function in a World and under torchrun."""

import re
import subprocess
import sys
import textwrap

import pytest

import minidl
from tests.deadlines import generous

SCRIPT = textwrap.dedent("""
    import torch, minidl
    comm = minidl.init(timeout=300)
    assert minidl.init() is comm
    own = torch.distributed.isend(torch.tensor([7.0]), comm.right)  # beside ours, first
    ours = comm.start([minidl.Send(torch.tensor([9.0]), comm.right)])
    assert comm.recv(torch.zeros(1), comm.left).item() == 9
    torch.distributed.recv(torch.zeros(1), comm.left)
    own.wait()
    ours.wait()
    with comm.span("ring"):
        total = x = torch.tensor([float(comm.rank + 1)])
        for _ in range(comm.world_size - 1):
            x = comm.exchange(x, to=comm.right, source=comm.left)
            total = total + x
    half = comm.split(color=comm.rank % 2)
    job = comm.background(lambda comm: comm.exchange(torch.ones(1), comm.right, comm.left))
    comm.native("all_reduce", total).wait()
    assert job.wait().item() == 1
    comm.progress(1, 1)
    sent = comm.trace.where(span="ring", kind="send").sent()
    print(f"RANK {comm.rank} {total.item()} {half.world_size} {sent}", flush=True)
""")


def torchrun(tmp_path, source, n, *options):
    """Run a script on n ranks; returns the finished process."""
    path = tmp_path / "script.py"
    path.write_text(source)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--local-addr",
            "127.0.0.1",
            "--nproc-per-node",
            str(n),
            *options,
            str(path),
        ],
        capture_output=True,
        text=True,
        timeout=generous(90),
    )


@pytest.mark.slow
def test_a_script_gets_the_same_comm(tmp_path):
    done = torchrun(tmp_path, SCRIPT, 3)
    assert done.returncode == 0, done.stderr
    lines = sorted(
        re.findall(r"RANK \d [\d.]+ \d \[[\d, ]+\]", done.stdout)
    )  # ranks may share a line of the terminal
    assert lines == [
        "RANK 0 18.0 2 [2, 0, 0]",
        "RANK 1 18.0 1 [0, 2, 0]",
        "RANK 2 18.0 2 [0, 0, 2]",
    ]
    assert "step 1 of 1" in done.stdout


@pytest.mark.slow
def test_a_wait_that_cannot_end_gives_up_with_rank_and_line(tmp_path):
    done = torchrun(
        tmp_path,
        "import torch, minidl\n"
        "comm = minidl.init(timeout=2)\n"
        "comm.recv(torch.ones(1), comm.left)\n",
        2,
    )
    assert done.returncode != 0
    assert (
        "waits for rank 1 to send message 0, (1,) float32" in done.stderr
        or "waits for rank 0 to send message 0" in done.stderr
    )
    assert "comm.recv(torch.ones(1), comm.left)" in done.stderr


def test_outside_of_torchrun_the_error_says_what_to_do(monkeypatch):
    for name in ("RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(minidl.MinidlError, match="torchrun --nproc-per-node 4"):
        minidl.init()


RESTARTED = textwrap.dedent("""
    import os, sys, torch, minidl
    from minidl.collectives import ring
    comm = minidl.init(timeout=300)
    half = comm.group([0, 1])
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        half.group([1, 0])  # another number of communicators than in the second attempt
        ring.all_reduce(torch.ones(2), comm)
        sys.exit(1)
    total = ring.all_reduce(torch.ones(2), half).tolist()
    print(f"RANK {comm.rank} {total}", flush=True)  # at once: both ranks write to one pipe
""")


@pytest.mark.slow
def test_ranks_that_torchrun_starts_once_more_begin_anew(tmp_path):
    done = torchrun(tmp_path, RESTARTED, 2, "--max-restarts", "1")
    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"RANK \d \[[\d., ]+\]", done.stdout)) == [
        "RANK 0 [2.0, 2.0]",
        "RANK 1 [2.0, 2.0]",
    ]
