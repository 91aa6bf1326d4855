"""An instructor's two commands, as they are typed, with the real judge."""

import json
import sys

import pytest

from minidl import cli
from tests.minidl_grader import sample


@pytest.mark.slow
def test_release_and_grade_from_the_command_line(inbox, tmp_path, capsys):
    solutions, _ = sample.course(tmp_path / "course")
    exercises, out = tmp_path / "exercises", tmp_path / "grades"
    assert (
        cli.main(["release", "90", "--solutions", str(solutions), "--exercises", str(exercises)])
        == 0
    )
    given = json.loads((exercises / "90_sample.ipynb").read_text(encoding="utf-8"))
    for cell in given["cells"]:
        role = cell["metadata"].get("minidl", {})
        if role.get("role") == "name":
            cell["source"] = ['learner = "Ada"']
        elif role.get("task") == "90-twice" and role["role"] == "answer":
            cell["source"] = "".join(cell["source"]).replace("return x", "return 2 * x")
    inbox("ada", json.dumps(given).encode())
    inbox("empty", b"")
    call = [
        "grade",
        str(inbox.folder),
        "--solutions",
        str(solutions),
        "--out",
        str(out),
        "--points-only",
        "--nbgrader",
    ]
    assert cli.main(call) == 1
    told = capsys.readouterr().out
    assert (
        "ada         Ada      90_sample       4  10      0      4" in told
        and "1 could not be graded: empty." in told
    )
    assert "ada,Ada,90_sample,4.0,10.0,0.0,4.0," in (out / "grades.csv").read_text()
    assert (out / "nbgrader" / "submitted" / "ada" / "90_sample" / "90_sample.ipynb").exists()
    result = json.loads((out / "results" / "ada.json").read_text())
    assert [task["state"] for task in result["tasks"]] == ["not done", "passed"] and result[
        "isolation"
    ]
    written = (out / "results" / "ada.json").stat().st_mtime_ns
    assert cli.main(call) == 1 and (out / "results" / "ada.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "call", [["release", "17"], ["grade", "nowhere"], ["grade", sys.executable, "--exercise", "99"]]
)
def test_what_cannot_be_done_is_a_sentence(call, capsys):
    assert cli.main(call) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("minidl: ")
