"""An exercise is the solution without what must stay hidden, in the same bytes each time."""

import ast
import json

import nbformat
import pytest

from minidl_grader.course import cells
from minidl_grader.course import release as releases
from minidl_grader.course.cells import Unfit
from tests.minidl_grader import sample


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted(cells.SOLUTIONS.glob("*.ipynb")), ids=lambda path: path.stem
)
def test_the_exercises_are_what_the_solutions_give(path):
    assert not list(releases.differing(releases.release_files(path))), "call: minidl release"


def test_every_exercise_has_a_solution():
    assert {path.name for path in cells.EXERCISES.glob("*.ipynb")} == {
        path.name for path in cells.SOLUTIONS.glob("*.ipynb")
    }


def test_releasing_twice_gives_the_same_bytes(tmp_path, capsys):
    solutions, _ = sample.course(tmp_path)
    for folder in ("one", "two"):
        assert releases.release_all(solutions=solutions, exercises=tmp_path / folder) == 0
    one, two = (sorted((tmp_path / folder).rglob("*.*")) for folder in ("one", "two"))
    assert [p.name for p in one] == [p.name for p in two] and [
        p.read_bytes() for p in one if p.is_file()
    ] == [p.read_bytes() for p in two if p.is_file()]
    assert any(p.name == "90_sample.json" for p in one)
    assert releases.release_all(solutions=solutions, exercises=tmp_path / "one", check=True) == 0
    (tmp_path / "one" / "90_sample.ipynb").write_text("{}")
    assert releases.release_all(solutions=solutions, exercises=tmp_path / "one", check=True) == 1
    assert "differs from its solutions: 90_sample.ipynb" in capsys.readouterr().out


def test_outputs_and_ids_of_the_master_do_not_matter():
    other = sample.solutions()
    for cell in other.cells:
        cell.id = cell.id[::-1]
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="42")], 7
    assert nbformat.writes(releases.release(other, "90_sample")) == nbformat.writes(
        sample.exercise()
    )


def test_stubs_keep_signature_docstring_and_what_is_handed_out():
    exercise = sample.exercise()
    shift, twice = (
        sample.find(exercise, "answer", task).source for task in ("90-shift", "90-twice")
    )
    assert shift.splitlines()[0] == "def shift(x, comm):" and '"""Rank r returns' in shift
    assert (
        shift.endswith('    raise NotImplementedError("not done yet")') and "exchange" not in shift
    )
    assert twice.endswith("\n    return x") and "2 * x\n" not in twice.replace('"""', "\n")
    assert sample.find(exercise, "name").source == 'learner = ""'


def test_nothing_hidden_is_in_the_exercise():
    text = nbformat.writes(sample.exercise())
    assert (
        "hidden" not in text
        and "SOLUTION" not in text
        and "again(" not in text
        and "outputs_hidden" not in text
    )
    assert {cell.id for cell in sample.exercise().cells} >= {
        "90-shift-answer",
        "90-shift-check",
        "90-at-00",
    }


def test_several_regions_in_one_cell():
    source = (
        "SIZE = 4\ndef f(x):\n"
        "    ### BEGIN SOLUTION\n    #| y = ...\n    y = x + 1\n    ### END SOLUTION\n"
        "    z = 2 * y\n"
        "    ### BEGIN SOLUTION\n    return z\n    ### END SOLUTION\n"
        "### BEGIN SOLUTION\n#| ANSWER = None\nANSWER = 42\n### END SOLUTION"
    )
    assert releases.stub_of(source).splitlines() == [
        "SIZE = 4",
        "def f(x):",
        "    y = ...",
        "    z = 2 * y",
        '    raise NotImplementedError("not done yet")',
        "ANSWER = None",
    ]


REGION = "    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION"


@pytest.mark.parametrize(
    "source, sentence",
    [
        ("def f(x):\n    return x", "cell 4 .answer of 90-shift.: it has no ### BEGIN SOLUTION"),
        ("def f(x):\n    ### BEGIN SOLUTION\n    return x", "without ### END SOLUTION"),
        ("def f(x):\n    return x\n    ### END SOLUTION", "closes or opens nothing"),
        (
            "def f(x):\n    ### BEGIN SOLUTION\n    #| return (\n    return x\n"
            "    ### END SOLUTION",
            "the stub does not parse",
        ),
        (
            "def f(x):\n    ### BEGIN SOLUTION\n    return (\n    ### END SOLUTION",
            "the solution does not parse",
        ),
        ("### BEGIN SOLUTION\nSIZE = 3\n### END SOLUTION", "outside of a function"),
        (
            "### BEGIN SOLUTION\n#| pass\ndef f(x):\n    return x\n### END SOLUTION",
            "the solution defines f, the stub nothing",
        ),
        (
            "### BEGIN SOLUTION\n#| def f(x): ...\ndef f(x, y):\n    return x\n### END SOLUTION",
            "signature or docstring",
        ),
    ],
)
def test_an_answer_that_cannot_be_handed_out_is_refused(source, sentence):
    master = sample.solutions()
    sample.find(master, "answer", "90-shift").source = source
    with pytest.raises(Unfit, match=sentence):
        releases.release(master, "90_sample")


def copy_of_shift(master):
    master.cells.append(sample.find(master, "answer", "90-shift").copy())


def unchecked(master):
    master.cells.remove(sample.find(master, "check", "90-twice"))


def told_in_the_text(master):
    master.cells[3].source += f"\n\nThe judge also says `{sample.HIDDEN}`."


def solution_in_setup(master):
    sample.find(master, "setup").source += "\n### BEGIN SOLUTION"


def unknown_role(master):
    master.cells[2].metadata["minidl"]["role"] = "secret"


def name_that_calls(master):
    sample.find(master, "name").source = "learner = input()"


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (copy_of_shift, "the task id 90-shift occurs twice"),
        (unchecked, "one answer and one check: see 90-twice"),
        (told_in_the_text, "a line of the hidden cell of 90-shift stands in the exercise"),
        (solution_in_setup, "outside an answer cell"),
        (unknown_role, "cannot have the role 'secret'"),
        (name_that_calls, "learner = "),
    ],
)
def test_a_master_that_is_no_exercise_is_refused(spoil, sentence):
    master = sample.solutions()
    spoil(master)
    with pytest.raises(Unfit, match=sentence):
        releases.release(master, "90_sample")


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    (tmp_path / "91_broken.ipynb").write_text("not JSON")
    with pytest.raises(Unfit, match="91_broken.ipynb cannot be read"):
        releases.release_files(tmp_path / "91_broken.ipynb")
    with pytest.raises(Unfit, match="begins with 17"):
        cells.masters(["17"], tmp_path)


def test_the_sample_is_what_it_says():
    assert (
        ast.literal_eval(sample.find(sample.submission("Bo"), "name").source.split("=")[1].strip())
        == "Bo"
    )
    assert json.loads(sample.data(sample.submission(shift=True)))["nbformat"] == 4
