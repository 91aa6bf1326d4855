"""Only answers and the name come from a submission, wherever they are and whatever the rest is."""

import codecs
import json

import nbformat
import pytest

from minidl_grader.course.cells import SOLUTIONS, read_master, role
from minidl_grader.course.release import release
from minidl_grader.inbox.assemble import assemble
from minidl_grader.inbox.submission import LARGEST, MOST, Unreadable
from tests.minidl_grader import sample
from tests.minidl_grader.sample import find


def put_together(notebook, course=None):
    raw = notebook if isinstance(notebook, bytes) else sample.data(notebook)
    return assemble(raw, sample.solutions(), "90_sample", course)


def answer(made, task, which="judged"):
    return find(getattr(made, which), "answer", task).source


def done():
    return sample.submission("Ada", shift=True, twice=True)


def said(made, words):
    return [note for note in made.notes if words in note]


def test_a_finished_exercise_is_the_master_with_its_answers():
    made = put_together(done())
    assert (made.learner, made.missing, made.refusal, made.notes) == ("Ada", [], "", [])
    assert answer(made, "90-shift") == find(done(), "answer", "90-shift").source
    assert find(made.judged, "hidden", "90-shift").source == sample.HIDDEN
    assert find(made.judged, "answer", "90-twice").metadata["minidl"]["defines"] == ["twice"]
    nbformat.validate(made.judged)
    nbformat.validate(made.shown)


@pytest.mark.parametrize("path", sorted(SOLUTIONS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_an_exercise_as_it_was_handed_out_leads_to_no_note_but_the_name(path):
    master = read_master(path)
    made = assemble(sample.data(release(master, path.stem)), master, path.stem)
    assert [note for note in made.notes if "name" not in note] == [] and made.missing == []


def test_the_kernels_copy_holds_nothing_hidden():
    made = put_together(done())
    assert not [
        cell for cell in made.shown.cells if role(cell) == "hidden"
    ] and "again(" not in nbformat.writes(made.shown)
    assert "SOLUTION" not in nbformat.writes(made.shown) and "SOLUTION" not in nbformat.writes(
        made.judged
    )


def test_edited_checks_do_not_count_and_are_reported():
    notebook = done()
    find(notebook, "check", "90-shift").source = 'print("all right")'
    find(notebook, "setup").source += "\ncheck = print"
    made = put_together(notebook)
    assert (
        find(made.judged, "check", "90-shift").source == sample.CHECK_SHIFT
        and find(made.judged, "setup").source == sample.SETUP
    )
    assert said(made, "Edited checks were ignored: cells 2, 5.")


def test_deleted_checks_are_put_back():
    notebook = done()
    notebook.cells.remove(find(notebook, "check", "90-twice"))
    made = put_together(notebook)
    assert find(made.judged, "check", "90-twice").source == sample.CHECK_TWICE and said(
        made, "put back: 90-twice"
    )


def test_a_deleted_answer_is_the_stub_again():
    notebook = done()
    notebook.cells.remove(find(notebook, "answer", "90-shift"))
    made = put_together(notebook)
    assert (
        made.missing == ["90-shift"]
        and "NotImplementedError" in answer(made, "90-shift")
        and "return 2 * x" in answer(made, "90-twice")
    )
    assert said(made, "90-shift is missing")


def test_of_doubled_answers_the_first_counts():
    notebook, other = done(), sample.submission(shift="return x")
    notebook.cells.append(find(other, "answer", "90-shift"))
    made = put_together(notebook)
    assert "comm.exchange" in answer(made, "90-shift") and said(
        made, "has 2 answer cells: cell 4 counts"
    )


def test_of_a_cell_split_in_two_the_half_with_the_function_counts():
    notebook = done()
    half = find(notebook, "answer", "90-shift").copy()
    half.source = "import torch"
    notebook.cells.insert(1, half)
    assert "comm.exchange" in answer(put_together(notebook), "90-shift")


def test_the_order_of_cells_does_not_matter():
    notebook = done()
    notebook.cells.reverse()
    made = put_together(notebook)
    assert made.judged == put_together(done()).judged and made.learner == "Ada" and made.notes == []


@pytest.mark.parametrize("keep_ids", [True, False])
def test_cells_without_metadata_are_found_by_id_or_by_what_they_define(keep_ids):
    notebook = done()
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {}
        cell.id = cell.id if keep_ids else f"c{number}"
    made = put_together(notebook)
    assert "comm.exchange" in answer(made, "90-shift") and "2 * x" in answer(made, "90-twice")
    assert made.learner == "Ada" and made.missing == []
    assert bool(said(made, "recognised by what it defines")) != keep_ids


def test_added_cells_do_not_count():
    notebook = done()
    notebook.cells.insert(3, sample.cell("import minidl.check as g\ng.check = print"))
    made = put_together(notebook)
    assert "g.check" not in nbformat.writes(made.judged) and said(
        made, "you added do not count: cell 3"
    )


def test_tags_and_directives_to_nbval_are_dropped():
    notebook = done()
    given = find(notebook, "answer", "90-shift")
    given.metadata["tags"] = ["raises-exception", "nbval-skip"]
    given.source = "# NBVAL_SKIP\n" + given.source
    made = put_together(notebook)
    cell = find(made.shown, "answer", "90-shift")
    assert (
        "tags" not in cell.metadata
        and "# (NBVAL_)SKIP" in cell.source
        and said(made, "Tags on answer cells were dropped: cell 4")
    )


def test_an_answer_turned_into_text_is_told():
    notebook = done()
    find(notebook, "answer", "90-shift").cell_type = "markdown"
    made = put_together(notebook)
    assert made.missing == ["90-shift"] and said(made, "stands in a text cell")


def test_magics_are_left_out_and_keep_their_lines():
    notebook = done()
    given = find(notebook, "answer", "90-shift")
    given.source = "%%time\n" + given.source + "\n!ls /"
    made = put_together(notebook)
    assert answer(made, "90-shift").splitlines()[0] == "# %%time" and answer(
        made, "90-shift"
    ).endswith("# !ls /")


def test_what_is_no_python_is_passed_on_as_it_is():
    notebook = done()
    find(notebook, "answer", "90-shift").source = "def shift(x, comm:\n  return"
    assert answer(put_together(notebook), "90-shift") == "def shift(x, comm:\n  return"


def test_an_endless_answer_is_left_out():
    notebook = done()
    find(notebook, "answer", "90-shift").source += "\n" + "# \n" * 100_000
    made = put_together(notebook)
    assert "NotImplementedError" in answer(made, "90-shift") and said(made, "was left out")


@pytest.mark.parametrize(
    "source, name",
    [
        ('learner = "Ada"', "Ada"),
        ("learner  =  'Ada   Lovelace'  # me", "Ada Lovelace"),
        ('learner = ""', ""),
        ("learner = Ada", ""),
        ('learner = open("/etc/passwd").read()', ""),
        ('learner = "A" "da"', "Ada"),
        ('learner = f"{1+1}"', ""),
        ("learner = 7", ""),
        ('import os\nlearner = "Ada"', ""),
        ("learner = '" + "x" * 5000 + "'", "x" * 100),
        (r'learner = "A\x00\nd\u202ea"', "A d a"),
        ("", ""),
    ],
)
def test_the_name_is_read_and_never_executed(source, name):
    notebook = done()
    find(notebook, "name").source = source
    made = put_together(notebook)
    assert made.learner == name and find(made.judged, "name").source == f"learner = {name!r}"
    assert bool(said(made, "variant of no name")) == (name == "")


ENCODINGS = {
    "BOM": lambda raw: codecs.BOM_UTF8 + raw,
    "CRLF": lambda raw: raw.replace(b"\\n", b"\\r\\n").replace(b"\n", b"\r\n"),
    "CR": lambda raw: raw.replace(b"\\n", b"\\r"),
    "UTF-16": lambda raw: raw.decode().encode("utf-16"),
    "padded": lambda raw: b"\n\n" + raw + b"\n\n",
}


@pytest.mark.parametrize("change", list(ENCODINGS))
def test_line_ends_and_byte_order_marks_change_nothing(change):
    made = put_together(ENCODINGS[change](sample.data(done())))
    assert made.judged == put_together(done()).judged and made.notes == []


def old_format(notebook):
    cells = [
        {
            "cell_type": cell.cell_type,
            "metadata": cell.metadata,
            ("input" if cell.cell_type == "code" else "source"): cell.source.splitlines(True),
        }
        for cell in notebook.cells
    ]
    return json.dumps(
        {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}
    ).encode()


def test_a_notebook_in_format_3_is_read():
    assert put_together(old_format(done())).judged == put_together(done()).judged


@pytest.mark.parametrize(
    "raw, sentence",
    [
        (b"", "empty"),
        (b"\0" * 100, "empty"),
        (b"hello", "not a notebook"),
        (b'{"cells": [', "cut off"),
        (b"[1, 2]", "not a notebook"),
        (b"null", "not a notebook"),
        (b'{"cells": []}', "no cells"),
        (b"[" * 200_000, "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"x" * (LARGEST + 1), "20 MB; at most 20"),
        (
            b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system",
            "cannot be read",
        ),
        (b'{"cells": {"a": 1}}', "no cells"),
        (json.dumps({"cells": [{}] * (MOST + 1)}).encode(), "at most 2000"),
    ],
)
def test_what_is_no_notebook_is_refused_in_words(raw, sentence):
    with pytest.raises(Unreadable, match=sentence):
        put_together(raw)


def test_nonsense_in_place_of_cells_is_left_out():
    notebook = json.loads(sample.data(done()))
    notebook["cells"] += [
        7,
        None,
        {"cell_type": [], "source": {"a": 1}, "metadata": 3},
        {"cell_type": "code", "source": [1, "x"], "metadata": {"minidl": []}},
        {
            "cell_type": "code",
            "source": "\ud800 = 1",
            "id": 5,
            "metadata": {"minidl": {"role": ["answer"], "task": {}}},
        },
    ]
    assert (
        answer(put_together(json.dumps(notebook).encode()), "90-shift")
        == find(done(), "answer", "90-shift").source
    )


def other_course():
    master = sample.solutions()
    for cell in master.cells:
        if "task" in cell.metadata.get("minidl", {}):
            cell.metadata["minidl"]["task"] = cell.metadata["minidl"]["task"].replace("90", "91")
            cell.source = cell.source.replace("shift", "turn").replace("twice", "thrice")
    return master


def test_another_exercises_notebook_is_recognised():
    made = put_together(
        sample.data(sample.release(other_course(), "91_other")), {"91_other": other_course()}
    )
    assert (
        made.refusal
        == "This is the notebook of exercise 91_other, not of 90_sample. Hand in 90_sample.ipynb."
        and made.judged is None
    )
    assert (
        "None of the tasks"
        in put_together(nbformat.v4.new_notebook(cells=[sample.cell("x = 1")])).refusal
    )
