"""start.py as a learner meets it, on good and bad machines; a stub plays venv, pip and JupyterLab.

PYTHONPATH puts a `venv` module before Python's own. It makes a .venv whose Python is a script that
writes down its arguments and, as pip, fails with the words of the real pip. No test touches the
network: the proxy refuses.
"""

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.deadlines import generous

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="the stub of .venv is a script with a first line for Unix"
)

STUB_PYTHON = """#!{python} -IS
import json, os, sys, time
with open(os.environ["STUB_LOG"], "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[2:4] == ["pip", "install"]:
    print("Collecting torch==2.13.0 (from somewhere)")
    print(os.environ.get("PIP_SAYS", ""), flush=True)
    if os.environ.get("PIP_HANGS"):
        open(os.environ["PIP_HANGS"], "w").close()
        time.sleep(600)
    sys.exit(1 if os.environ.get("PIP_SAYS") else 0)
if sys.argv[2] == "pytest":
    print("== 1 passed ==")
    sys.exit(int(os.environ.get("PYTEST_CODE", 0)))
"""
STUB_VENV = """
import os, pathlib, sys
if os.environ.get("VENV_SAYS"):
    sys.exit(os.environ["VENV_SAYS"])
if __name__ == "__main__":
    python = pathlib.Path(sys.argv[1], "bin", "python")
    python.parent.mkdir()
    python.write_text({text!r})
    python.chmod(0o755)
"""


def notebook(source, output="spoiler"):
    """A notebook of one executed code cell, as bytes."""
    outputs = [{"name": "stdout", "output_type": "stream", "text": [output]}]
    cell = {
        "cell_type": "code",
        "execution_count": 3,
        "id": "a",
        "metadata": {"execution": {"x": 1}},
        "outputs": outputs,
        "source": [source],
    }
    words = {"cell_type": "markdown", "id": "b", "metadata": {}, "source": ["# Gr\u00fc\u00dfe"]}
    return json.dumps(
        {
            "cells": [words, cell],
            "metadata": {"widgets": {"big": 1}, "kernelspec": {"name": "python3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    ).encode()


class Machine:
    """A folder with start.py and two notebooks, and a stub for everything that takes long."""

    def __init__(self, folder):
        self.root, self.stubs, self.log = folder / "a course", folder / "stubs", folder / "log"
        for path in (self.root / "notebooks" / "deeper", self.stubs):
            path.mkdir(parents=True)
        for name in ("start.py", "requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        for name in ("00_start_here", "01_messages", "deeper/02_more"):
            (self.root / f"notebooks/{name}.ipynb").write_bytes(notebook(name))
        stub = STUB_PYTHON.format(python=sys.executable)
        (self.stubs / "venv.py").write_text(STUB_VENV.format(text=stub))
        self.env = dict(
            os.environ,
            PYTHONPATH=str(self.stubs),
            STUB_LOG=str(self.log),
            PYTHONDONTWRITEBYTECODE="1",
            https_proxy="http://127.0.0.1:9",
            HTTPS_PROXY="http://127.0.0.1:9",
        )

    def call(self, *arguments, **env):
        return subprocess.run(
            [sys.executable, "start.py", *arguments],
            cwd=self.root,
            env=dict(self.env, **env),
            capture_output=True,
            text=True,
            timeout=generous(60),
            stdin=subprocess.DEVNULL,
        )

    def calls(self, module):
        """The arguments of each call of `python -m module` in the environment; forgets them."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return [found[2:] for found in map(json.loads, lines) if found[:2] == ["-m", module]]

    def installs(self):
        return [found for found in self.calls("pip") if found[0] == "install"]

    def state(self):
        return json.loads((self.root / ".venv/minidl-setup.json").read_text())["state"]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path.resolve())


@pytest.fixture
def start(machine):
    """start.py as a module, for what a subprocess cannot be made to meet."""
    spec = importlib.util.spec_from_file_location("start_under_test", machine.root / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fails_in_one_sentence(done):
    """The text of stderr, which must be one line of words and no traceback."""
    assert done.returncode == 1
    assert done.stderr.startswith("start.py: ") and done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


# --- Old Pythons ----------------------------------------------------------------------------------


def test_python_3_6_can_read_the_file():
    ast.parse((ROOT / "start.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_an_old_python_gets_a_sentence(start, monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
    assert start.main([]) == 1
    said = capsys.readouterr().err
    assert "needs Python 3.10 or newer" in said and said.count("\n") == 1


def test_only_the_standard_library_is_imported():
    tree = ast.parse((ROOT / "start.py").read_text(encoding="utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names and {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


# --- The good way ---------------------------------------------------------------------------------


def test_first_call_installs_copies_and_opens_the_lab(machine):
    done = machine.call("--no-browser", "--port", "8977")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Setting up minidl in ") and re.match(
        r"  making .venv: done, \d+ s", lines[1]
    )
    assert any(re.match(r"  installing packages: done, \d+ s", line) for line in lines)
    assert lines[-1].startswith("Opening JupyterLab on work/00_start_here.ipynb")
    [lab] = machine.calls("jupyterlab")
    assert {
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=8977",
        "--no-browser",
        "--LabApp.news_url=None",
        f"--ServerApp.root_dir={machine.root}",
        "--LabApp.default_url=/lab/tree/work/00_start_here.ipynb",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    } <= set(lab)
    assert not [word for word in lab if "token" in word or "password" in word]
    settings = json.loads(
        (machine.root / ".venv/share/jupyter/lab/settings/overrides.json").read_text()
    )
    assert settings["@jupyterlab/apputils-extension:notification"] == {
        "checkForUpdates": False,
        "fetchNews": "false",
    }


def test_packages_come_from_the_pins_and_the_test_extra_only_for_tests(machine):
    machine.call()
    [install] = machine.installs()
    assert install[-4:] == ["-r", f"{machine.root}/requirements.txt", "-e", f"{machine.root}"]
    machine.call("test")
    [install] = machine.installs()
    assert install[-1] == f"{machine.root}[test]"


def test_second_call_installs_nothing(machine):
    machine.call("test")
    assert len(machine.installs()) == 1
    for arguments in (["test"], []):
        done = machine.call(*arguments)
        assert done.returncode == 0 and "Setting up" not in done.stdout
    assert machine.calls("pip") == []


def test_changed_pins_are_installed_into_the_same_environment(machine):
    machine.call("test")
    (machine.root / ".venv/mine").touch()
    with open(machine.root / "requirements.txt", "a") as file:
        file.write("# newer\n")
    machine.calls("pip")
    machine.call()
    assert (machine.root / ".venv/mine").exists()
    assert machine.installs()[0][-1].endswith("[test]")  # tests had been asked for, and stay


def test_what_follows_test_goes_to_pytest_and_its_exit_code_comes_back(machine):
    done = machine.call("test", "-k", "ring", "--no-browser", PYTEST_CODE="5")
    [given] = machine.calls("pytest")
    assert given[-3:] == ["-k", "ring", "--no-browser"] and given[0] == "-n"
    assert done.returncode == 5
    assert done.stdout.splitlines()[-1] == "== 1 passed =="


# --- Bad machines ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said, expected",
    [
        (
            "ERROR: Could not install packages due to an OSError: "
            "[Errno 28] No space left on device",
            "Free some space",
        ),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by "
            "'NewConnectionError('<HTTPSConnection>: Failed to establish a new connection: "
            "[Errno 101] Network is unreachable')'\n"
            "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 "
            "(from versions: none)\n"
            "ERROR: No matching distribution found for torch==2.13.0",
            "there is no network",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 "
            "(from versions: 2.2.0, 2.2.2)\n"
            "ERROR: No matching distribution found for torch==2.13.0",
            "no wheel of torch 2.13.0 for this machine",
        ),
        (
            "ERROR: No matching distribution found for nbval==0.11.0",
            "has no nbval==0.11.0 for Python",
        ),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "PIP_CERT"),
        (
            "ERROR: Could not install packages due to an OSError: "
            "[Errno 13] Permission denied: 'x'",
            "folder that is yours",
        ),
        ("MemoryError", "Close other programs"),
        ("ERROR: something nobody foresaw", "something nobody foresaw"),
    ],
)
def test_a_failing_pip_is_a_sentence_with_its_remedy_and_the_next_call_repairs(
    machine, said, expected
):
    assert expected in fails_in_one_sentence(machine.call(PIP_SAYS=said))
    assert machine.state() == "installing"
    assert machine.calls("jupyterlab") == []
    (machine.root / ".venv/half-written").touch()
    assert machine.call().returncode == 0
    assert machine.state() == "ready" and not (machine.root / ".venv/half-written").exists()


def test_an_update_that_fails_keeps_the_old_environment(machine):
    machine.call()
    (machine.root / ".venv/mine").touch()
    pins = machine.root / "requirements.txt"
    before = pins.read_text()
    pins.write_text(before + "# newer\n")
    fails_in_one_sentence(machine.call(PIP_SAYS="ConnectTimeoutError"))
    pins.write_text(before)
    assert machine.call(PIP_SAYS="ConnectTimeoutError").returncode == 0
    assert (machine.root / ".venv/mine").exists()


@pytest.mark.parametrize(
    "stub, env",
    [
        ("ensurepip.py", {}),
        (
            None,
            {
                "VENV_SAYS": "The virtual environment was not created successfully because "
                "ensurepip is not available."
            },
        ),
    ],
)
def test_debian_without_venv(machine, stub, env):
    if stub:
        (machine.stubs / stub).write_text("raise ImportError")
    else:
        (machine.stubs / "venv.py").write_text(
            "import os, sys\nif __name__ == '__main__': sys.exit(os.environ['VENV_SAYS'])"
        )
    assert "sudo apt install python3-venv" in fails_in_one_sentence(machine.call(**env))


@pytest.mark.parametrize(
    "system, processor, expected",
    [
        ("Darwin", "x86_64", "Intel"),
        ("Windows", "ARM64", "Windows on ARM"),
    ],
)
def test_platforms_without_a_wheel_are_told_before_anything_is_written(
    start, monkeypatch, capsys, system, processor, expected
):
    monkeypatch.setattr(start.platform, "system", lambda: system)
    monkeypatch.setattr(start.platform, "machine", lambda: processor)
    assert start.main([]) == 1
    assert expected in capsys.readouterr().err
    assert not (start.ROOT / ".venv").exists()


def test_a_32_bit_python(start, monkeypatch, capsys):
    monkeypatch.setattr(start.sys, "maxsize", 2**31 - 1)
    assert start.main([]) == 1
    assert "64-bit" in capsys.readouterr().err


def test_a_full_disk_is_told_before_the_download(start, monkeypatch, capsys):
    monkeypatch.setattr(
        start.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**12, 10**12, 10**9)
    )
    assert start.main([]) == 1
    said = capsys.readouterr().err
    assert "1.0 GB are free" in said and "Free some space" in said


@pytest.mark.parametrize(
    "error, expected",
    [
        (OSError(28, "No space left on device"), "Free some space"),
        (PermissionError(13, "Permission denied", "work/x"), "work/x: Permission denied"),
    ],
)
def test_an_error_while_writing_is_a_sentence(start, monkeypatch, capsys, error, expected):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(start, "set_up", fail)
    assert start.main([]) == 1
    assert expected in capsys.readouterr().err


def test_an_environment_of_someone_else_is_left_alone(machine):
    (machine.root / ".venv").mkdir()
    (machine.root / ".venv/theirs").touch()
    assert "start.py did not make it" in fails_in_one_sentence(machine.call())
    assert (machine.root / ".venv/theirs").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(machine):
    machine.call()
    (machine.root / ".venv/bin/python").unlink()
    done = machine.call()
    assert done.returncode == 0 and "making .venv: done" in done.stdout


def test_a_moved_folder_is_set_up_again(machine):
    machine.call()
    machine.root = machine.root.rename(machine.root.with_name("moved"))
    assert "making .venv: done" in machine.call().stdout


def test_ctrl_c_is_quiet_and_the_next_call_repairs(machine, tmp_path):
    os.mkfifo(tmp_path / "hangs")
    child = subprocess.Popen(
        [sys.executable, "start.py"],
        cwd=machine.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=dict(machine.env, PIP_HANGS=str(tmp_path / "hangs")),
    )
    open(tmp_path / "hangs").close()  # returns when pip has opened the other end
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=generous(30))
    assert child.returncode == 130 and "Traceback" not in out + err
    assert out.splitlines()[-1].startswith("Stopped.")
    assert machine.call().returncode == 0 and machine.state() == "ready"


def test_two_calls_do_not_install_at_once(machine):
    import fcntl

    with open(machine.root / "start.py") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "Another start.py is setting up" in fails_in_one_sentence(machine.call())
    assert machine.call().returncode == 0


# --- The wheel of torch ---------------------------------------------------------------------------


@pytest.fixture
def index(start, monkeypatch):
    """A local stand-in for PyTorch's index, on a Linux machine without an NVIDIA driver."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    ).start()
    monkeypatch.setattr(start, "TORCH_CPU_INDEX", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(start.platform, "system", lambda: "Linux")
    monkeypatch.setattr(start, "has_nvidia_driver", lambda: False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()


def torch_installs(start, monkeypatch, first_code=0):
    """The pip commands that install() gives, the first of which ends with first_code."""
    commands = []

    def run_step(title, command, log):
        commands.append(command)
        return (first_code if len(commands) == 1 else 0), ""

    monkeypatch.setattr(start, "run_step", run_step)
    start.install(start.ROOT, "python", False, None)
    return commands


def test_without_a_gpu_torch_comes_from_the_index_of_small_wheels(start, monkeypatch, index):
    cpu, rest = torch_installs(start, monkeypatch)
    assert cpu[-3:] == ["--extra-index-url", start.TORCH_CPU_INDEX, "torch==2.13.0"]
    assert "--extra-index-url" not in rest


def test_when_that_index_fails_the_plain_wheel_follows(start, monkeypatch, index):
    assert len(torch_installs(start, monkeypatch, first_code=1)) == 2


def test_with_a_driver_the_plain_wheel_is_taken(start, monkeypatch, index):
    monkeypatch.setattr(start, "has_nvidia_driver", lambda: True)
    [only] = torch_installs(start, monkeypatch)
    assert "--extra-index-url" not in only


def test_an_index_that_never_answers_is_given_up(start):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not start.answers(f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.2)


# --- The learner's copies -------------------------------------------------------------------------


def test_copies_hold_no_outputs_and_keep_everything_else(machine):
    machine.call()
    copy = json.loads((machine.root / "work/00_start_here.ipynb").read_text(encoding="utf-8"))
    words, code = copy["cells"]
    assert code["outputs"] == [] and code["execution_count"] is None and code["metadata"] == {}
    assert code["source"] == ["00_start_here"] and words["source"] == ["# Gr\u00fc\u00dfe"]
    assert copy["metadata"] == {"kernelspec": {"name": "python3"}}
    assert (machine.root / "work/deeper/02_more.ipynb").exists()


def test_exercises_are_copied_and_links_lead_to_the_learners_own_copies(machine, start):
    def linked(*links):
        cells = [
            {"cell_type": "markdown", "metadata": {}, "source": [f"[a]({link})" for link in links]}
        ]
        return json.dumps(
            {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        ).encode()

    (machine.root / "exercises").mkdir()
    (machine.root / "exercises/01_messages.ipynb").write_bytes(
        linked("../notebooks/01_messages.ipynb", "../notebooks/glossary.md#rank")
    )
    (machine.root / "notebooks/01_messages.ipynb").write_bytes(
        linked("../exercises/01_messages.ipynb", "../notebooks/glossary.md#rank")
    )
    start.copy_notebooks(machine.root)
    for name, links in (
        (
            "exercises/01_messages.ipynb",
            ["../01_messages.ipynb", "../../notebooks/glossary.md#rank"],
        ),
        ("01_messages.ipynb", ["exercises/01_messages.ipynb", "../notebooks/glossary.md#rank"]),
    ):
        [cell] = json.loads((machine.root / "work" / name).read_text())["cells"]
        assert cell["source"] == [f"[a]({link})" for link in links]
    done = machine.call("--fresh", "exercises/01")
    assert "work/exercises/01_messages (fresh).ipynb is new" in done.stdout


def test_a_learners_file_is_kept_and_the_newer_one_is_spoken_of(machine, start):
    start.copy_notebooks(machine.root)
    mine, course = (
        machine.root / "work/01_messages.ipynb",
        machine.root / "notebooks/01_messages.ipynb",
    )
    mine.write_text("my answers")
    assert "a newer version" not in machine.call().stdout  # the course did not change
    course.write_bytes(notebook("a better text"))
    done = machine.call()
    assert "work/01_messages.ipynb: the course has a newer version" in done.stdout
    assert "python3 start.py --fresh 01_messages" in done.stdout
    assert mine.read_text() == "my answers"


def test_new_outputs_alone_are_no_newer_version(machine, start, capsys):
    start.copy_notebooks(machine.root)
    (machine.root / "work/01_messages.ipynb").write_text("my answers")
    (machine.root / "notebooks/01_messages.ipynb").write_bytes(
        notebook("01_messages", output="another output")
    )
    start.copy_notebooks(machine.root)
    assert capsys.readouterr().out == ""


def test_an_untouched_copy_follows_the_course(machine, start, capsys):
    start.copy_notebooks(machine.root)
    (machine.root / "notebooks/01_messages.ipynb").write_bytes(notebook("a better text"))
    start.copy_notebooks(machine.root)
    assert "a better text" in (machine.root / "work/01_messages.ipynb").read_text()
    assert capsys.readouterr().out == ""


def test_a_file_of_unknown_origin_is_kept(machine, start):
    (machine.root / "work").mkdir()
    (machine.root / "work/01_messages.ipynb").write_text("from somewhere")
    (machine.root / "work/.minidl.json").write_text("not json")
    start.copy_notebooks(machine.root)
    assert (machine.root / "work/01_messages.ipynb").read_text() == "from somewhere"


def test_fresh_puts_the_newer_version_beside_and_installs_nothing(machine, start):
    start.copy_notebooks(machine.root)
    mine = machine.root / "work/01_messages.ipynb"
    mine.write_text("my answers")
    (machine.root / "notebooks/01_messages.ipynb").write_bytes(notebook("a better text"))
    for name in ("01_messages (fresh).ipynb", "01_messages (fresh 2).ipynb"):
        done = machine.call("--fresh", "01")
        assert done.returncode == 0 and f"work/{name} is new" in done.stdout
        assert "a better text" in (machine.root / "work" / name).read_text()
    assert mine.read_text() == "my answers" and not (machine.root / ".venv").exists()
    assert "a newer version" not in machine.call().stdout  # said once, and taken


def test_fresh_of_no_notebook_names_those_there_are(machine):
    assert "00_start_here.ipynb, 01_messages.ipynb" in fails_in_one_sentence(
        machine.call("--fresh", "77")
    )


def test_a_broken_notebook_of_the_course_is_a_sentence(machine):
    (machine.root / "notebooks/01_messages.ipynb").write_text("<<<<<<< HEAD")
    assert "git checkout" in fails_in_one_sentence(machine.call())
