"""A report shows yes or no in words and colour, the failing case, the picture, folded hints."""

import json

import nbformat
import pytest

from minidl import Uniform
from minidl.check import arena as arenas
from minidl.check import check, student
from minidl.check.book import Book, open_book
from minidl.check.references import reference_trace
from minidl.check.show import failure_picture, report_html
from minidl.learner import notes
from minidl_grader.course.right_answers import recorded_references
from tests.check.museum import VirtualArena, run

ANSWER = """def shift(x, comm):
    to = (comm.rank + k) % comm.world_size
    source = (comm.rank - k) % comm.world_size
    return comm.exchange(x, to=to, source=source)
"""
TWICE = ANSWER.replace(
    "    return", "    comm.exchange(x, to=comm.right, source=comm.left)\n    return"
)
CHECK = (
    "check(shift, '90-shift').equals(lambda inputs, rank, N: inputs[(rank - k) % N])"
    ".over([3, 5], [4, 8]).sends(messages=1)"
    ".read('notebook 90, round 1').hints('<one>', 'two', 'three').worth(4)"
)


def notebook():
    """Setup, answer and check of one task, which depends on one of two draws."""
    setup = """from minidl.check import check, student
me = student(learner)
k = me.choose('90 k', [1, 2])
other = me.choose('90 other', [1, 2, 3])"""
    cells = [
        ("name", "", "learner = 'Ada'"),
        ("setup", "", setup),
        ("answer", "90-shift", ANSWER),
        ("check", "90-shift", CHECK),
    ]
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                source, metadata={"minidl": {"role": role} | ({"task": task} if task else {})}
            )
            for role, task, source in cells
        ]
    )


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    (tmp_path / ".references").mkdir()
    (tmp_path / ".references" / "90_sample.json").write_text(
        json.dumps(recorded_references(notebook()))
    )
    monkeypatch.setattr(notes, "EXERCISES", tmp_path)


def report_of(answer):
    names = {"check": check, "k": student("Ada").choose("90 k", [1, 2])}
    run(answer, "<an answer>", names)
    return eval(CHECK, names)


@pytest.fixture(autouse=True)
def own_book():
    with open_book(Book()), arenas.use(VirtualArena()):
        yield


def test_a_reference_is_recorded_for_each_draw_that_matters_and_no_other():
    found = recorded_references(notebook())
    assert found["tasks"]["90-shift"]["by"] == ["90 k"]
    assert set(found["tasks"]["90-shift"]["traces"]) == {"[1]", "[2]"}
    assert set(found["tasks"]["90-shift"]["traces"]["[2]"]) == {"3,4", "5,4"}
    assert "exchange" not in json.dumps(found)


def test_the_reference_of_a_students_own_variant_is_found(recorded):
    me = student("Ada")
    k = me.choose("90 k", [1, 2])
    trace = reference_trace("90-shift", me, 5)
    assert {(e.rank, e.peer) for e in trace.where(kind="send")} == {
        (rank, (rank + k) % 5) for rank in range(5)
    }
    assert reference_trace("90-shift", me, 6) is None and reference_trace("90-other", me, 5) is None


def test_a_failed_check_shows_the_case_the_picture_and_folded_hints(recorded):
    report = report_of(TWICE)
    text = report_html(report)
    assert "&#10003; yes" in text and "&#10007; no" in text and "2 of 4 points" in text
    assert "The smallest case that fails: 3 ranks, 4 elements." in text and "Given: rank 0 " in text
    assert (
        text.count("<details>") == 3
        and "&lt;one&gt;" in text
        and "Read again: notebook 90, round 1." in text
    )
    drawn = failure_picture(report)
    assert (
        drawn.title == "Yours sends 6 messages, a right answer 3 messages" and drawn.svg() in text
    )
    assert "<script" not in text and "http://" not in text.replace("http://www.w3.org", "")


def test_the_message_to_blame_is_the_second_one(recorded):
    [layer] = [
        layer
        for layer in failure_picture(report_of(TWICE)).scene.layers
        if layer.name == "to blame"
    ]
    assert len(layer.shapes) == 1 and layer.shapes[0].x0 == 1.0  # posted after one step


def test_a_deadlock_is_told_with_lines_and_all_is_escaped():
    stuck = """def shift(x, comm):
    comm.send(x, to=comm.right)          # <b>
    return comm.recv(x, source=comm.left)
"""
    text = report_html(report_of(stuck))
    assert (
        "Deadlock: rank 0 waits for rank" in text and "# &lt;b&gt;" in text and "<b>\n" not in text
    )


def test_a_stub_is_one_line():
    assert (
        report_html(
            report_of("def shift(x, comm):\n    raise NotImplementedError('not done yet')\n")
        )
        == "<b>90-shift</b>: not done yet (4 points)"
    )


def test_a_challenge_is_drawn_with_its_bound_and_the_papers_algorithm():
    track = CHECK.replace(
        ".worth(4)",
        ".races(on=Uniform(), ranks=4, length=8, bound=2e-5, rival=('a detour', twice)).worth(0)",
    )
    names = {"check": check, "k": student("Ada").choose("90 k", [1, 2]), "Uniform": Uniform}
    run(TWICE.replace("shift", "twice"), "<a rival>", names)
    run(ANSWER, "<an answer>", names)
    text = report_html(eval(track, names))
    assert "Faster than a detour: " in text and "lower bound" in text and "yours, now" in text


def test_what_passes_shows_no_hint():
    text = report_html(report_of(ANSWER))
    assert "4 of 4 points" in text and "<details>" not in text and "<svg" not in text
