"""A program ends: by itself, at a limit, or when it is told to. Nobody whom it has started is left
then.
"""

import os
import sys

import pytest

from minidl_grader.judge.confine import Ended, Keepers, Limits, clean_environment
from tests import census
from tests.deadlines import generous


def kept(tmp_path, code, **limits):
    return Keepers().run(
        [sys.executable, "-c", code], tmp_path, Limits(**limits), clean_environment(tmp_path)
    )


@pytest.mark.parametrize(
    "code, limits, why",
    [
        ("while True: pass", {"wall": 0.5}, "time"),
        ("import os\nwhile True: os.fork()", {"wall": generous(20)}, "processes"),
        (
            "b = []\nwhile True: b.append(bytearray(10**7))",
            {"wall": generous(20), "together": 10**8},
            "memory",
        ),
    ],
)
def test_a_program_that_takes_too_much_is_ended(tmp_path, code, limits, why):
    ended = kept(tmp_path, code, **limits)
    assert (ended.why, ended.left) == (why, 0) and ended.words().startswith("It was ended")


def test_limits_of_one_process(tmp_path):
    assert "MemoryError" in kept(tmp_path, "bytearray(10**10)").output
    kept(tmp_path, "open('big', 'wb').write(bytes(10**6))", file_size=1000)
    assert (tmp_path / "big").stat().st_size <= 1000
    assert kept(tmp_path, "while True: pass", cpu=1, wall=generous(30)).code < 0


def test_of_much_output_the_end_is_kept(tmp_path):
    ended = kept(tmp_path, "for i in range(10**6): print(i)", output=1000)
    assert ended.code == 0 and len(ended.output) == 1000 and ended.output.endswith("999999\n")


def test_nobody_is_left_of_a_program_that_hides_its_children(tmp_path):
    code = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', 'hidden-one'], start_new_session=True)"
    assert kept(tmp_path, code).left == 0
    assert not [p for p in census.everybody(os.environ[census.TOKEN]) if "hidden-one" in p.command]


def test_the_environment_holds_nothing_of_the_graders(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "1")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert (
        kept(
            tmp_path,
            "import os; print(sorted(set(os.environ) & {'SECRET_TOKEN', 'PYTHONPATH'}), os.environ['HOME'])",
        ).output
        == f"[] {tmp_path}\n"
    )


def test_no_program_starts_after_the_end(tmp_path):
    keepers = Keepers()
    keepers.stop()
    assert keepers.run([sys.executable, "-c", "pass"], tmp_path, Limits(), {}) == Ended(
        -1, "told to end", 0, ""
    )
