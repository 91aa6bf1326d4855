"""A submission's kernel sees its own folder, the interpreter and its libraries, and nobody else."""

import json
import os
import sys

import pytest

from minidl_grader.judge import in_kernel
from minidl_grader.judge.cage.locks import readable
from minidl_grader.judge.confine import Keepers, Limits, clean_environment
from tests import census
from tests.deadlines import generous

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="namespaces and Landlock are Linux's"),
]

LOCK_IN = """
import json, os, sys
from minidl_grader.judge.kernel_cage import lock_in
folder, readable, report, code, *arguments = sys.argv[1:]
command = [sys.executable, "-c", code, *arguments]
sys.exit(lock_in(folder, json.loads(readable), report, lambda: os.execv(command[0], command)))
"""


@pytest.fixture
def caged(tmp_path):
    """Run Python code as a submission's kernel is run; returns (its output, the isolation in
    force).
    """
    folder = tmp_path / "submission" / "kernel"
    folder.mkdir(parents=True)
    (folder / "02.ipynb").write_text("{}")

    def run(code, *arguments, **limits):
        report = folder.with_name("isolation.json")
        report.unlink(missing_ok=True)
        may_read = json.dumps([*readable(), "/etc/hosts"])
        ended = Keepers().run(
            [sys.executable, "-c", LOCK_IN, folder, may_read, report, code, *arguments],
            folder,
            Limits(**{"wall": generous(30)} | limits),
            clean_environment(folder),
        )
        return ended.output.strip(), in_kernel.phrases(report)

    missing = [word for word in run("pass")[1] if word.startswith("no ")]
    if missing:
        pytest.skip(f"this system does not offer it: {'; '.join(missing)}")
    return run


READ = "import sys\ntry: print(open(sys.argv[1]).read()[:20])\nexcept OSError as error: print(type(error).__name__)"


def test_no_path_to_solutions_or_to_other_submissions(caged, tmp_path):
    (tmp_path / "other.ipynb").write_text("somebody else's")
    for path in (
        in_kernel.__file__.replace("minidl_grader/judge/in_kernel.py", "pyproject.toml"),
        tmp_path / "other.ipynb",
        "/etc/shadow",
        "/etc/passwd",
    ):
        assert caged(READ, path)[0] in ("FileNotFoundError", "PermissionError")
    assert caged(READ, tmp_path / "submission" / "kernel" / "02.ipynb")[0] == "{}"


def test_it_writes_into_its_own_folder_only(caged, tmp_path):
    write = "import sys\ntry: open(sys.argv[1], 'w').write('x'); print('written')\nexcept OSError as error: print(type(error).__name__)"
    assert caged(write, tmp_path / "submission" / "kernel" / "own")[0] == "written"
    for path in (tmp_path / "out", in_kernel.__file__, "/tmp/out", tmp_path / "submission" / "out"):
        assert caged(write, path)[0] in ("FileNotFoundError", "PermissionError", "OSError")
    assert not (tmp_path / "out").exists()


def test_its_network_is_its_own(caged):
    code = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()): print("loopback")
try: socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as error: print(error.strerror)
"""
    assert caged(code)[0].splitlines() == ["loopback", "Network is unreachable"]


def test_it_sees_and_reaches_no_other_process(caged):
    code = f"""
import os
print(sorted(int(name) for name in os.listdir("/proc") if name.isdigit()) == [1, os.getpid()])
try: os.kill({os.getpid()}, 0)
except OSError as error: print(type(error).__name__)
"""
    assert caged(code)[0].splitlines() == ["True", "ProcessLookupError"]


def test_killing_everybody_reaches_nobody_outside(caged):
    code = """
import os, signal
for pid in (-1, 1, os.getppid()):
    try: os.kill(pid, signal.SIGKILL)
    except OSError as error: print(type(error).__name__)
print("still here")
"""
    assert caged(code)[0].splitlines() == [
        "ProcessLookupError",
        "PermissionError",
        "PermissionError",
        "still here",
    ]


def test_nobody_is_left_of_what_hides(caged):
    code = "import os, subprocess, sys\nfor _ in range(20): subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', 'hides-in-a-cage'], start_new_session=True)"
    caged(code)
    assert not [
        process
        for process in census.everybody(os.environ[census.TOKEN])
        if "hides-in-a-cage" in process.command
    ]


def test_it_has_no_rights_and_cannot_get_any(caged):
    code = """
import ctypes, os
print(os.geteuid() != 0 or not os.access("/", os.W_OK), open("/proc/self/status").read().split("CapEff:")[1].split()[0].strip("0") == "")
print(ctypes.CDLL(None).unshare(0x40000000), "NoNewPrivs:\\t1" in open("/proc/self/status").read())
"""
    assert caged(code)[0].splitlines() == ["True True", "-1 True"]


def test_what_is_in_force_is_told(caged):
    words = caged("pass")[1]
    assert any("namespace" in word for word in words) and any("Landlock" in word for word in words)
    assert json.dumps(words) == json.dumps([str(word) for word in words])
