"""`minidl check 90` runs the exercise, not the notebook of that number, and shows what is lost."""

import pytest

from minidl import cli
from minidl.learner import commands
from tests.minidl_grader import sample

pytestmark = pytest.mark.slow


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A learner's folder with a notebook and an exercise of one number."""
    (tmp_path / "exercises").mkdir()
    (tmp_path / ".minidl.json").write_text("{}")
    (tmp_path / "90_sample.ipynb").write_bytes(sample.data(sample.solutions()))
    monkeypatch.setattr(commands.notes, "EXERCISES", tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_CURRENT_TEST")

    def hand(notebook):
        (tmp_path / "exercises" / "90_sample.ipynb").write_bytes(sample.data(notebook))

    return hand


def test_check_says_what_is_missing_and_what_passes(work, capsys, monkeypatch):
    work(sample.submission("Ada", twice=True, shift=sample.WHOLE))
    assert cli.main(["check", "90"]) == 1
    told = capsys.readouterr().out
    assert (
        "exercises/90_sample.ipynb" in told
        and "90-shift: 3 of 6 points" in told
        and "wanted 1, found 2" in told
    )
    assert "90-twice" not in told
    assert cli.main(["progress"]) == 0 and "1 of 2  tasks" in capsys.readouterr().out
    assert cli.main(["ask", "90"]) == 0 and "ask_90.md" in capsys.readouterr().out
    work(sample.submission("Ada", twice=True, shift=True))
    monkeypatch.chdir("exercises")
    assert cli.main(["check", "90"]) == 0
    assert "Every check passes.\n10 points are noted" in capsys.readouterr().out
    assert cli.main(["ask", "90"]) == 1


def test_an_exercise_that_is_not_there(work, capsys):
    assert cli.main(["check", "77"]) == 1 and "No exercise '77'" in capsys.readouterr().out
