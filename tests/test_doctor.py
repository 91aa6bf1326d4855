"""The doctor judges machines that we do not have, and finds this one fit for the course."""

import io
import subprocess
import sys

import pytest

from minidl import cli
from minidl.learner import doctor
from tests.deadlines import generous

GB = 10**9


@pytest.mark.parametrize(
    "cores, expected",
    [
        (
            1,
            "4 ranks on 1 core: works, but they take turns; "
            "no number of ranks will be faster than one",
        ),
        (2, "4 ranks on 2 cores: works, but they take turns; up to 2 ranks can be faster than one"),
        (8, "4 ranks on 8 cores: each has a core of its own"),
    ],
)
def test_few_cores_work_and_take_turns(cores, expected):
    finding = doctor.judge_cores(cores)
    assert finding.works and finding.text == expected


@pytest.mark.parametrize(
    "finding, remedy",
    [
        (doctor.judge_python((3, 9, 1), "2.13.0"), "3.10"),
        (doctor.judge_python((3, 11, 1), None), "start.py"),
        (doctor.judge_memory(GB // 2), "Close"),
        (doctor.judge_disk(GB // 10), "Free some space"),
        (doctor.judge_shared_memory(False, None), "TMPDIR"),
        (doctor.judge_shared_memory(True, 10**6), "--shm-size"),
        (doctor.judge_kernels("emscripten", "4", "7"), "start.py"),
        (doctor.judge_kernels("linux", None, "7"), "start.py"),
        (doctor.judge_exchange(1.0, "RankDied: rank 1"), "firewall"),
    ],
)
def test_each_obstacle_fails_with_its_remedy(finding, remedy):
    assert not finding.works and remedy in finding.remedy


@pytest.mark.parametrize(
    "finding",
    [
        doctor.judge_python((3, 10, 0), "2.13.0"),
        doctor.judge_memory(3 * GB),
        doctor.judge_memory(GB * 3 // 2),
        doctor.judge_memory(None),
        doctor.judge_disk(GB),
        doctor.judge_shared_memory(True, None),
        doctor.judge_shared_memory(True, 64 * 10**6),
        doctor.judge_start(True, "Linux"),
        doctor.judge_start(False, "Windows"),
        doctor.judge_kernels("linux", "4", "7"),
        doctor.judge_exchange(1.0, None),
    ],
)
def test_what_suffices_passes(finding):
    assert finding.works


@pytest.mark.parametrize(
    "names, nccl, expected",
    [
        ([], None, "not used"),
        (["H100"], "2.27.3", "refuses two ranks on one GPU"),
        (["H100", "H100"], "2.27.3", "used for up to 2 ranks"),
        (["H100"], None, "not part of this torch"),
    ],
)
def test_nccl_is_used_where_each_rank_has_a_gpu(names, nccl, expected):
    gpus_line, nccl_line = doctor.judge_gpus(names, nccl)
    assert gpus_line.works and nccl_line.works and expected in nccl_line.text
    assert gpus_line.text.startswith(
        "2 (H100)" if len(names) == 2 else "1 (H100)" if names else "none"
    )


@pytest.mark.parametrize(
    "failing, code, last",
    [
        (0, 0, "The course will work here."),
        (1, 1, "The course will not work here yet: see the line marked NO."),
        (2, 1, "The course will not work here yet: see the 2 lines marked NO."),
    ],
)
def test_exit_code_and_last_line_say_whether_the_course_will_work(monkeypatch, failing, code, last):
    findings = [doctor.Finding("a", True, "fine", "never shown")]
    findings += [doctor.Finding("b", False, "too small", "make it larger")] * failing
    monkeypatch.setattr(doctor, "examine_machine", lambda: iter(findings))
    out = io.StringIO()
    assert doctor.main(out) == code
    lines = out.getvalue().splitlines()
    assert lines[-1] == last and "never shown" not in out.getvalue()
    assert sum("make it larger" in line for line in lines) == failing


def test_a_containers_limits_count(monkeypatch):
    files = {
        "/proc/meminfo": "MemTotal: 64000000 kB\nMemAvailable: 32000000 kB",
        "/sys/fs/cgroup/memory.max": "2000000000",
        "/sys/fs/cgroup/memory.current": "500000000",
        "/sys/fs/cgroup/cpu.max": "150000 100000",
    }
    monkeypatch.setattr(doctor, "_read", files.get)
    assert doctor.free_memory() == 1_500_000_000
    assert doctor.usable_cores() == 1
    files.update({"/sys/fs/cgroup/memory.max": "max"})
    assert doctor.free_memory() == 32_000_000 * 1024


def test_memory_of_a_mac_is_read_from_vm_stat(monkeypatch):
    report = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:   100.\nPages active:   7.\n"
        "Pages inactive:   20.\nPages speculative:   3.\n"
    )
    monkeypatch.setattr(
        doctor.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout=report)
    )
    assert doctor.free_memory_macos() == 123 * 16384


@pytest.mark.slow
def test_this_machine_passes_with_two_real_ranks():
    done = subprocess.run(
        [sys.executable, "-m", "minidl", "doctor"],
        capture_output=True,
        text=True,
        timeout=generous(120),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "two ranks passed each other a tensor" in done.stdout
    names = [line[4:18].strip() for line in done.stdout.splitlines()[:-1]]
    assert names == [
        "Python",
        "cores",
        "GPUs",
        "NCCL",
        "memory",
        "disk",
        "shared memory",
        "starting ranks",
        "kernels",
        "gloo",
    ]


def test_ranks_that_cannot_meet_are_a_sentence_not_a_traceback(monkeypatch):
    import minidl

    def refuse(*args, **kwargs):
        raise RuntimeError("connection refused\nand more")

    monkeypatch.setattr(minidl, "World", refuse, raising=False)
    seconds, trouble = doctor.exchange_between_ranks()
    assert trouble == "RuntimeError: connection refused" and seconds >= 0


def test_minidl_alone_says_what_it_can_do(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 2 and "COMMAND" in capsys.readouterr().err


def test_without_the_grader_only_the_instructors_commands_are_missing(monkeypatch, capsys):
    monkeypatch.setattr(cli, "GRADER", "minidl_grader_that_is_not_installed")
    assert cli.main(["grade", "inbox", "--points-only"]) == 2
    assert "needs the package minidl_grader_that_is_not_installed" in capsys.readouterr().err
    assert cli.main(["progress"]) == 0
