"""Points come from the judge; nothing is graded twice, nothing is left behind, and what cannot be graded says why."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from minidl.grading import handed_in
from minidl.grading.cells import Unfit
from minidl.grading.confine import Ended, Keepers, Limits, clean_environment
from minidl.grading.score import Course, Grading, Settings, earned
from tests import census
from tests.grading import sample

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))


@pytest.fixture
def inbox(tmp_path):
    """A function that hands in a submission under a name; the folder is inbox.folder."""
    folder = tmp_path / "inbox"
    folder.mkdir()

    def hand_in(name, raw):
        path = folder / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw if isinstance(raw, bytes) else sample.data(raw))
        return path

    hand_in.folder = folder
    return hand_in


@pytest.fixture
def grade(tmp_path, inbox):
    """Grade the inbox with the judge that only reads, and without running notebooks."""
    solutions, _ = sample.course(tmp_path / "course")

    def run(paths=None, **settings):
        given = {"jobs": 2, "judged_by": STAND_IN, "shown": False, "solutions": solutions} | settings
        return Grading(Course(solutions), tmp_path / "out", Settings(**given)).run(handed_in.find(paths or [inbox.folder]))

    return run


# --- What a submission earns -----------------------------------------------------------------------------------


def test_each_submission_earns_what_the_judge_says(inbox, grade):
    inbox("ada", sample.submission("Ada", shift=True, twice=True))
    inbox("bo", sample.submission("Bo", shift=sample.WHOLE))
    inbox("cy", sample.exercise())
    results = grade()
    assert {key: earned(result) for key, result in results.items()} == {"ada": (10, 10), "bo": (3, 10), "cy": (0, 10)}
    assert [task["state"] for task in results["cy"]["tasks"]] == ["not done", "wrong"] and results["ada"]["learner"] == "Ada"
    assert results["ada"]["isolation"] == ["a process of its own"]


@pytest.mark.parametrize("name, raw, sentence", [
    ("empty", b"", "empty"), ("cut", sample.data(sample.exercise())[:500], "cut off"), ("picture", b"\x89PNG\r\n", "not a notebook"),
    ("other", json.dumps({"cells": [{"cell_type": "code", "source": "x = 1", "metadata": {}}]}).encode(), "None of the tasks of 90_sample"),
])
def test_what_cannot_be_graded_earns_nothing_and_says_why(inbox, grade, name, raw, sentence):
    inbox(name, raw)
    inbox("ada", sample.submission("Ada", shift=True, twice=True))
    results = grade()
    assert sentence in results[name]["problem"] and earned(results[name]) == (0, 10)
    assert earned(results["ada"]) == (10, 10)


def test_another_exercise_is_told_when_one_is_asked_for(inbox, grade, tmp_path):
    solutions, _ = sample.course(tmp_path / "course")
    other = json.dumps(sample.solutions()).replace("90-", "91-").replace("shift", "turn").replace("twice", "thrice")
    (solutions / "91_other.ipynb").write_text(other)
    inbox("ada", sample.submission("Ada", shift=True, twice=True))
    assert "This is the notebook of exercise 90_sample, not of 91_other" in grade(exercise="91")["ada"]["problem"]
    assert earned(grade()["ada"]) == (10, 10)
    with pytest.raises(Unfit, match="no exercise begins with 55"):
        grade(exercise="55")


def test_a_judge_without_a_result_is_a_problem_that_is_not_kept(inbox, grade, tmp_path):
    inbox("ada", sample.submission("Ada", shift="return x  # CRASH"))
    result = grade()["ada"]
    assert "The judge came to no result. It ended with code 3" in result["problem"] and earned(result) == (0, 10)
    assert not list(tmp_path.glob("out/results/*"))


def test_a_judge_that_takes_too_long_is_ended(inbox, grade, tmp_path):
    inbox("ada", sample.submission("Ada", shift=f"return x  # WAIT {tmp_path / 'seen'} "))
    result = grade(judge=Limits(wall=1))["ada"]
    assert result["problem"].endswith("took too long.") and [task["state"] for task in result["tasks"]] == ["error", "error"]


def test_hidden_lines_in_a_judges_message_become_dots(inbox, grade):
    inbox("ada", sample.submission("Ada", shift="return x  # QUOTE"))
    assert grade()["ada"]["tasks"][0]["message"] == "an error in this line: ..."


def test_the_notebook_itself_is_run_and_says_how_far_it_came(inbox, grade):
    noisy = "import sys, warnings; warnings.warn('a warning'); print('noise', file=sys.stderr); " + sample.RIGHT["90-shift"]
    inbox("ada", sample.submission("Ada", shift=noisy, twice=True))
    inbox("bo", sample.submission("Bo", shift=True, twice="import os; os._exit(0)"))
    results = grade(shown=True)
    assert results["ada"]["notebook"] == "Your notebook ran to its end: 7 of 7 cells without an error."
    assert results["ada"]["checks"] == {"90-shift": True, "90-twice": True} and earned(results["ada"]) == (10, 10)
    assert results["bo"]["checks"] == {"90-shift": True, "90-twice": False}


# --- What was handed in ----------------------------------------------------------------------------------------


def test_submissions_are_found_in_folders_and_zip_files(inbox, tmp_path):
    raw = sample.submission("Ada")
    inbox("ada", raw)
    inbox("bo/90_sample", raw)
    inbox("bo/.ipynb_checkpoints/90_sample-checkpoint", raw)
    with zipfile.ZipFile(inbox.folder / "class.zip", "w") as archive:
        archive.writestr("cy/90 sample.ipynb", sample.data(raw))
        archive.writestr("__MACOSX/cy/._90.ipynb", b"junk")
        archive.writestr("readme.txt", "hello")
    found = handed_in.find([inbox.folder])
    assert [one.key for one in found] == ["ada", "bo--90_sample", "class--cy--90_sample"]
    assert all(one.data() == sample.data(raw) for one in found)
    assert [one.key for one in handed_in.find([inbox.folder / "ada.ipynb", inbox.folder / "ada.ipynb"])][0].startswith("ada")
    with pytest.raises(Unfit, match="there is no"):
        handed_in.find([tmp_path / "nowhere"])


def test_a_zip_file_cannot_reach_outside_of_itself(inbox, grade, tmp_path):
    link = zipfile.ZipInfo("link.ipynb")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(inbox.folder / "all.zip", "w") as archive:
        for name in ("../up.ipynb", "a/../../up.ipynb", "/tmp/absolute.ipynb", "C:\\windows.ipynb", "..\\up.ipynb"):
            archive.writestr(name, b"{}")
        archive.writestr(link, "/etc/passwd")
        archive.writestr("fine.ipynb", sample.data(sample.submission("Ada", shift=True, twice=True)))
    results = grade()
    assert sum("refused" in result["problem"] for result in results.values()) == 6
    assert earned(results["all--fine"]) == (10, 10) and not list(tmp_path.rglob("up.ipynb"))
    assert all(path.parent.name == "results" for path in (tmp_path / "out").rglob("*.json"))


def test_damaged_files_links_and_bombs_are_told(inbox, grade):
    (inbox.folder / "broken.zip").write_bytes(b"PK\x03\x04 no zip file")
    os.symlink("/etc/passwd", inbox.folder / "link.ipynb")
    with zipfile.ZipFile(inbox.folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.ipynb", bytes(60_000_000))
    results = grade()
    assert "damaged" in results["broken"]["problem"] and "link" in results["link"]["problem"] and "at most 20" in results["bomb--bomb"]["problem"]


def test_keys_are_file_names_and_never_the_same(tmp_path):
    for name in ("A b.ipynb", "a/b.ipynb", "a_b.ipynb", "ü" * 50 + ".ipynb"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    keys = [one.key for one in handed_in.find([tmp_path])]
    assert len({key.casefold() for key in keys}) == 4 and all(key.replace("-", "").replace("_", "").isalnum() and key.isascii() for key in keys)


# --- Nothing twice, nothing left behind ------------------------------------------------------------------------


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


GRADE = """
import sys
from tests.grading.test_score import STAND_IN
from minidl.grading import handed_in
from minidl.grading.score import Course, Grading, Settings
solutions, inbox, out = sys.argv[1:]
Grading(Course(solutions), out, Settings(solutions, jobs=2, judged_by=STAND_IN, shown=False)).run(handed_in.find([inbox]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_nobody_behind_and_goes_on_from_there(inbox, grade, tmp_path, number):
    solutions, _ = sample.course(tmp_path / "course")
    inbox("ada", sample.submission("Ada", shift=True, twice=True))
    inbox("bo", sample.submission("Bo", shift=f"return x  # WAIT {tmp_path / 'seen'} "))
    grader = subprocess.Popen([sys.executable, "-c", GRADE, str(solutions), str(inbox.folder), str(tmp_path / "out")],
                              cwd=Path(__file__).parent.parent.parent, env=os.environ | {"TMPDIR": str(tmp_path)}, stderr=subprocess.DEVNULL)
    results = tmp_path / "out" / "results"
    census.eventually(lambda: (tmp_path / "seen").exists() and (results / "ada.json").exists(), 30, "one is done, one is under way")
    judges = [process for process in census._everybody(os.environ[census.TOKEN]) if "stand_in" in process.command]
    assert judges
    grader.send_signal(number)
    grader.wait(20)
    left = census.eventually_empty(lambda: [p for p in census._everybody(os.environ[census.TOKEN]) if "stand_in" in p.command or "keeper" in p.command], 10)
    assert not left and not census.eventually_empty(lambda: list(tmp_path.glob("minidl-grade-*")), 5)
    assert [path.name for path in results.iterdir()] == ["ada.json"]
    before = (results / "ada.json").stat().st_mtime_ns
    inbox("bo", sample.submission("Bo", shift=True))
    assert earned(grade()["bo"]) == (6, 10) and (results / "ada.json").stat().st_mtime_ns == before


# --- Limits ----------------------------------------------------------------------------------------------------


def kept(tmp_path, code, **limits):
    return Keepers().run([sys.executable, "-c", code], tmp_path, Limits(**limits), clean_environment(tmp_path))


@pytest.mark.parametrize("code, limits, why", [
    ("while True: pass", {"wall": 0.5}, "time"), ("import os\nwhile True: os.fork()", {"wall": 20}, "processes"),
    ("b = []\nwhile True: b.append(bytearray(10**7))", {"wall": 20, "together": 10**8}, "memory"),
])
def test_a_program_that_takes_too_much_is_ended(tmp_path, code, limits, why):
    ended = kept(tmp_path, code, **limits)
    assert (ended.why, ended.left) == (why, 0) and ended.words().startswith("It was ended")


def test_limits_of_one_process(tmp_path):
    assert "MemoryError" in kept(tmp_path, "bytearray(10**10)").output
    kept(tmp_path, "open('big', 'wb').write(bytes(10**6))", file_size=1000)
    assert (tmp_path / "big").stat().st_size <= 1000
    assert kept(tmp_path, "while True: pass", cpu=1, wall=30).code < 0


def test_of_much_output_the_end_is_kept(tmp_path):
    ended = kept(tmp_path, "for i in range(10**6): print(i)", output=1000)
    assert ended.code == 0 and len(ended.output) == 1000 and ended.output.endswith("999999\n")


def test_nobody_is_left_of_a_program_that_hides_its_children(tmp_path):
    code = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', 'hidden-one'], start_new_session=True)"
    assert kept(tmp_path, code).left == 0
    assert not [p for p in census._everybody(os.environ[census.TOKEN]) if "hidden-one" in p.command]


def test_the_environment_holds_nothing_of_the_graders(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "1")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert kept(tmp_path, "import os; print(sorted(set(os.environ) & {'SECRET_TOKEN', 'PYTHONPATH'}), os.environ['HOME'])").output == f"[] {tmp_path}\n"


def test_no_program_starts_after_the_end(tmp_path):
    keepers = Keepers()
    keepers.stop()
    assert keepers.run([sys.executable, "-c", "pass"], tmp_path, Limits(), {}) == Ended(-1, "told to end", 0, "")
