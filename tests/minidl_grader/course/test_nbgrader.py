"""nbgrader gets what it accepts: its metadata, its regions, its checksums, points in parts."""

import ast
import re

import nbformat
import pytest

from minidl_grader.course import nbgrader
from minidl_grader.course.cells import Unfit, role
from minidl_grader.inbox import handed_in, nbgrader_grades
from minidl_grader.inbox.assemble import assemble
from minidl_grader.inbox.score import Course
from tests.minidl_grader import sample

KINDS = {
    "name": (False, True, False),
    "answer": (False, True, False),
    "check": (True, False, True),
    "setup": (False, False, True),
}


def versions():
    made = assemble(
        sample.data(sample.submission("Ada", shift=True)), sample.solutions(), "90_sample"
    )
    return {
        "source": nbgrader.source(sample.solutions(), "90_sample"),
        "release": nbgrader.student_version(sample.solutions(), "90_sample"),
        "submitted": nbgrader.marked(made.shown, {}),
    }


@pytest.mark.parametrize("version", ["source", "release", "submitted"])
def test_metadata_are_those_of_schema_3(version):
    ids = []
    for cell in versions()[version].cells:
        given = cell.metadata.get("nbgrader")
        assert (given is not None) == (role(cell) in KINDS)
        if given is None:
            continue
        assert set(given) <= {
            "schema_version",
            "grade",
            "solution",
            "locked",
            "task",
            "grade_id",
            "points",
            "checksum",
            "cell_type",
        }
        assert (
            given["schema_version"] == 3
            and (given["grade"], given["solution"], given["locked"]) == KINDS[role(cell)]
        )
        assert (
            re.fullmatch(r"[a-zA-Z0-9_-]+", given["grade_id"])
            and ("points" in given) == given["grade"]
        )
        ids.append(given["grade_id"])
    assert len(ids) == len(set(ids)) == 6


def test_the_source_has_solutions_and_hidden_tests_in_nbgraders_regions():
    made = versions()["source"]
    shift, twice = (sample.find(made, "answer", task).source for task in ("90-shift", "90-twice"))
    assert "### BEGIN SOLUTION" in shift and "comm.exchange" in shift and "#|" not in twice
    check = sample.find(made, "check", "90-shift").source.splitlines()
    at = check.index("### BEGIN HIDDEN TESTS")
    assert 'again("90-shift", world_sizes=[5], lengths=[7])' in check[at + 1] and check[
        at + 2 :
    ] == ["### END HIDDEN TESTS", "report.earned"]
    assert sample.find(made, "check", "90-shift").metadata["nbgrader"]["points"] == 6
    ast.parse("\n".join(check))


def test_students_get_stubs_and_nothing_hidden():
    text = nbformat.writes(versions()["release"])
    assert (
        "HIDDEN" not in text
        and "again(" not in text
        and "SOLUTION" not in text
        and "NotImplementedError" in text
    )


def test_checksums_change_with_what_they_stand_for():
    cell = sample.find(versions()["release"], "check", "90-twice")
    before = cell.metadata["nbgrader"]["checksum"]
    assert len(before) == 32 and before == nbgrader.checksum(cell)
    cell.source += " "
    assert nbgrader.checksum(cell) != before


def test_the_checksum_is_nbgraders():
    cell = nbformat.v4.new_code_cell("f(x).earned")
    cell.metadata["nbgrader"] = {
        "schema_version": 3,
        "grade": True,
        "solution": False,
        "locked": True,
        "grade_id": "02-f-check",
        "points": 6,
    }
    assert (
        nbgrader.checksum(cell) == "5fd41a076110c616ad34e2ba766b9df0"
    )  # as nbgrader 0.9.6 computes it


@pytest.mark.parametrize(
    "text, made",
    [
        ("check(f, 't').worth(1)", "report = check(f, 't').worth(1)\nreport.earned"),
        (
            "def g(x):\n    return x\n\n(check(f, 't')\n .worth(1))",
            "def g(x):\n    return x\n\nreport = (check(f, 't')\n .worth(1))\nreport.earned",
        ),
        (
            "(\n    check(f, 't')\n    .worth(1)\n)",
            "report = (\n    check(f, 't')\n    .worth(1)\n)\nreport.earned",
        ),
    ],
)
def test_a_check_ends_with_its_points(text, made):
    assert nbgrader.ending_with_a_number(text, []) == made
    ast.parse(made)


def test_what_nbgrader_would_refuse_is_refused_here():
    with pytest.raises(Unfit, match="must end with its sentence"):
        nbgrader.ending_with_a_number("report = check(f, 't').worth(1)", [])
    double = sample.exercise()
    for cell in double.cells:
        cell.id = "same"
    with pytest.raises(Unfit, match="another grade_id in every cell: same"):
        nbgrader.marked(double, {})


def test_files_lie_where_nbgrader_looks_for_them(tmp_path):
    solutions, _ = sample.course(tmp_path)
    nbgrader.export([], solutions, tmp_path / "nb")
    assert {
        path.relative_to(tmp_path / "nb").as_posix() for path in tmp_path.glob("nb/**/*.ipynb")
    } == {"source/90_sample/90_sample.ipynb", "release/90_sample/90_sample.ipynb"}


def test_graded_submissions_are_exported_with_their_points(inbox, grade, tmp_path):
    inbox("ada", sample.submission("Ada", shift=True))
    inbox("broken", b"")
    nbgrader_grades.export_graded(
        list(grade().values()),
        handed_in.find([inbox.folder]),
        Course(tmp_path / "course" / "solutions"),
        tmp_path / "nb",
    )
    lines = (tmp_path / "nb" / "grades.csv").read_text().splitlines()
    assert lines[1] == "90_sample,,,ada,,,,6.0,0.0,6.0,10.0" and lines[2].startswith(
        "90_sample,,,broken,,,,0"
    )
    assert (
        "comm.exchange"
        in (tmp_path / "nb" / "submitted" / "ada" / "90_sample" / "90_sample.ipynb").read_text()
    )
    assert not (tmp_path / "nb" / "submitted" / "broken").exists()
