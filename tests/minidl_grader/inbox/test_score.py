"""Points come from the judge; nothing is graded twice, and no process or file is left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minidl_grader.course.cells import Unfit
from minidl_grader.inbox.score import earned
from minidl_grader.judge.confine import Limits
from tests import census
from tests.deadlines import generous
from tests.minidl_grader import sample

# --- What a submission earns ----------------------------------------------------------------------


def test_each_submission_earns_what_the_judge_says(inbox, grade):
    inbox("ada", sample.submission("Ada", shift=True, twice=True))
    inbox("bo", sample.submission("Bo", shift=sample.WHOLE))
    inbox("cy", sample.exercise())
    results = grade()
    assert {key: earned(result) for key, result in results.items()} == {
        "ada": (10, 10),
        "bo": (3, 10),
        "cy": (0, 10),
    }
    assert [task["state"] for task in results["cy"]["tasks"]] == ["not done", "wrong"] and results[
        "ada"
    ]["learner"] == "Ada"
    assert results["ada"]["isolation"] == ["a process of its own"]


@pytest.mark.parametrize(
    "name, raw, sentence",
    [
        ("empty", b"", "empty"),
        ("cut", sample.data(sample.exercise())[:500], "cut off"),
        ("picture", b"\x89PNG\r\n", "not a notebook"),
        (
            "other",
            json.dumps(
                {"cells": [{"cell_type": "code", "source": "x = 1", "metadata": {}}]}
            ).encode(),
            "None of the tasks of 90_sample",
        ),
    ],
)
def test_what_cannot_be_graded_earns_nothing_and_says_why(inbox, grade, name, raw, sentence):
    inbox(name, raw)
    inbox("ada", sample.submission("Ada", shift=True, twice=True))
    results = grade()
    assert sentence in results[name]["problem"] and earned(results[name]) == (0, 10)
    assert earned(results["ada"]) == (10, 10)


def test_another_exercise_is_told_when_one_is_asked_for(inbox, grade, tmp_path):
    solutions, _ = sample.course(tmp_path / "course")
    other = (
        json.dumps(sample.solutions())
        .replace("90-", "91-")
        .replace("shift", "turn")
        .replace("twice", "thrice")
    )
    (solutions / "91_other.ipynb").write_text(other)
    inbox("ada", sample.submission("Ada", shift=True, twice=True))
    assert (
        "This is the notebook of exercise 90_sample, not of 91_other"
        in grade(exercise="91")["ada"]["problem"]
    )
    assert earned(grade()["ada"]) == (10, 10)
    with pytest.raises(Unfit, match="no exercise begins with 55"):
        grade(exercise="55")


def test_a_judge_without_a_result_is_a_problem_that_is_not_kept(inbox, grade, tmp_path):
    inbox("ada", sample.submission("Ada", shift="return x  # CRASH"))
    result = grade()["ada"]
    assert "The judge came to no result. It ended with code 3" in result["problem"] and earned(
        result
    ) == (0, 10)
    assert not list(tmp_path.glob("out/results/*"))


def test_a_judge_that_takes_too_long_is_ended(inbox, grade, tmp_path):
    inbox("ada", sample.submission("Ada", shift=f"return x  # WAIT {tmp_path / 'seen'} "))
    result = grade(judge=Limits(wall=1))["ada"]
    assert result["problem"].endswith("took too long.") and [
        task["state"] for task in result["tasks"]
    ] == ["error", "error"]


def test_hidden_lines_in_a_judges_message_become_dots(inbox, grade):
    inbox("ada", sample.submission("Ada", shift="return x  # QUOTE"))
    assert grade()["ada"]["tasks"][0]["message"] == "an error in this line: ..."


@pytest.mark.slow
def test_the_notebook_itself_is_run_and_says_how_far_it_came(inbox, grade):
    noisy = (
        "import sys, warnings; warnings.warn('a warning'); print('noise', file=sys.stderr); "
        + sample.RIGHT["90-shift"]
    )
    inbox("ada", sample.submission("Ada", shift=noisy, twice=True))
    inbox("bo", sample.submission("Bo", shift=True, twice="import os; os._exit(0)"))
    results = grade(shown=True)
    assert (
        results["ada"]["notebook"] == "Your notebook ran to its end: 7 of 7 cells without an error."
    )
    assert results["ada"]["checks"] == {"90-shift": True, "90-twice": True} and earned(
        results["ada"]
    ) == (10, 10)
    assert results["bo"]["checks"] == {"90-shift": True, "90-twice": False}
    assert results["ada"]["isolation_of_notebook"]


# --- Nothing twice, nothing left behind -----------------------------------------------------------


def test_what_is_done_is_not_done_again(inbox, grade, tmp_path):
    inbox("ada", sample.submission("Ada", shift=True))
    grade()
    stored = tmp_path / "out" / "results" / "ada.json"
    kept = json.loads(stored.read_text())
    stored.write_text(json.dumps(kept | {"learner": "from the file"}))
    assert grade()["ada"]["learner"] == "from the file"
    inbox("ada", sample.submission("Ada", shift=True, twice=True))
    assert grade()["ada"]["learner"] == "Ada" and earned(grade()["ada"]) == (10, 10)
    stored.write_text("half a fi")
    assert earned(grade()["ada"]) == (10, 10)


def test_another_version_or_other_limits_grade_again(inbox, grade, tmp_path):
    inbox("ada", sample.submission("Ada", shift=True))
    marks = [
        grade(**settings)["ada"]["digest"]
        for settings in ({}, {"version": "2"}, {"judge": Limits(wall=generous(9))}, {})
    ]
    assert marks[0] == marks[3] and len(set(marks)) == 3


GRADE = """
import sys
from tests.minidl_grader.conftest import STAND_IN
from minidl_grader.inbox import handed_in
from minidl_grader.inbox.score import Course, Grading, Settings
solutions, inbox, out = sys.argv[1:]
settings = Settings(solutions, jobs=2, judged_by=STAND_IN, shown=False, version="1")
Grading(Course(solutions), out, settings).run(handed_in.find([inbox]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_nobody_behind_and_goes_on_from_there(inbox, grade, tmp_path, number):
    solutions, _ = sample.course(tmp_path / "course")
    inbox("ada", sample.submission("Ada", shift=True, twice=True))
    inbox("bo", sample.submission("Bo", shift=f"return x  # WAIT {tmp_path / 'seen'} "))
    grader = subprocess.Popen(
        [sys.executable, "-c", GRADE, str(solutions), str(inbox.folder), str(tmp_path / "out")],
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    results = tmp_path / "out" / "results"
    census.eventually(
        lambda: (tmp_path / "seen").exists() and (results / "ada.json").exists(),
        30,
        "one is done, one is under way",
    )
    judges = [
        process
        for process in census.everybody(os.environ[census.TOKEN])
        if "stand_in" in process.command
    ]
    assert judges
    grader.send_signal(number)
    grader.wait(generous(20))
    left = census.eventually_empty(
        lambda: [
            p
            for p in census.everybody(os.environ[census.TOKEN])
            if "stand_in" in p.command
            or "minidl_grader.judge" in p.command
            or "keeper" in p.command
        ],
        10,
    )
    assert not left and not census.eventually_empty(
        lambda: list(tmp_path.glob("minidl-grade-*")), 5
    )
    assert [path.name for path in results.iterdir()] == ["ada.json"]
    before = (results / "ada.json").stat().st_mtime_ns
    inbox("bo", sample.submission("Bo", shift=True))
    assert earned(grade()["bo"]) == (6, 10) and (results / "ada.json").stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is kept warm")
def test_a_killed_grader_leaves_no_warm_process_and_no_kernel(inbox, tmp_path):
    solutions, _ = sample.course(tmp_path / "course")
    inbox("ada", sample.submission("Ada", shift="import time; time.sleep(600)"))
    code = GRADE.replace(", judged_by=STAND_IN, shown=False", "")
    grader = subprocess.Popen(
        [sys.executable, "-c", code, str(solutions), str(inbox.folder), str(tmp_path / "out")],
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )

    def warm():
        everybody = census.everybody(os.environ[census.TOKEN])
        return [process for process in everybody if "minidl_grader.judge" in process.command]

    # Two warm processes, a keeper, three of the cage (the last is pytest), the kernel.
    census.eventually(lambda: len(warm()) >= 7, 60, "a kernel runs")
    grader.kill()
    grader.wait(generous(20))
    assert not census.eventually_empty(warm, 10)
    assert not census.eventually_empty(lambda: list(tmp_path.glob("minidl-*")), 5)
