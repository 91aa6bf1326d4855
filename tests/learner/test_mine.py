"""A passed answer is kept, progress is noted, and a question holds all that a teacher needs."""

import json

import pytest
import torch

from minidl.check import arena as arenas
from minidl.check import check, student
from minidl.check.book import Book, open_book
from minidl.learner import mine
from minidl.learner import notes as progress
from minidl.learner.ask import NothingToAsk, ask
from tests.check.museum import run


class Notebook(arenas.LocalArena):
    """A learner's notebook: checks are shown and not raised, though pytest is there."""

    watched = False


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder as start.py makes it, with one exercise of two tasks, in which checks run."""
    (tmp_path / ".minidl.json").write_text("{}")
    (tmp_path / "exercises").mkdir()
    cells = []
    for task, points in (("90-shift", 4), ("90-other", 6)):
        about = {"minidl": {"role": "check", "task": task}}
        cells.append({"metadata": about, "source": [f"check(f, '{task}').worth({points})"]})
    exercise = tmp_path / "exercises" / "90_sample.ipynb"
    exercise.write_text(json.dumps({"cells": cells}))
    monkeypatch.setattr(progress, "EXERCISES", tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path / "exercises")
    with open_book(Book()), arenas.use(Notebook()):
        student("Ada")
        yield tmp_path


def answer(body):
    """A function `shift` from a cell that takes `offset`, `torch` and `ceil` from other cells."""
    from math import ceil

    names = {"torch": torch, "offset": 2, "ceil": ceil}
    run(
        f"def shift(x, comm):\n    away = torch.tensor(ceil(offset)).item()\n    {body}\n",
        "<an answer cell>",
        names,
    )
    return names["shift"]


RIGHT = """to = (comm.rank + away) % comm.world_size
    return comm.exchange(x, to=to, source=(comm.rank - away) % comm.world_size)"""
WRONG = "return x"


def ask_for(fn, task="90-shift"):
    return (
        check(fn, task)
        .equals(lambda inputs, rank, N: inputs[(rank - 2) % N])
        .over([3, 5], [4])
        .worth(4)
    )


def test_a_passed_answer_is_kept_complete_and_taken_later(work, capsys):
    assert ask_for(answer(RIGHT)).passed
    text = (work / "mine" / "shift.py").read_text()
    assert "offset = 2" in text and "import torch" in text and "from math import ceil" in text
    taken = mine.take("shift", else_=None)
    assert taken.__module__ == "mine_shift" and ask_for(taken).passed
    assert "your own" in capsys.readouterr().out


def test_a_wrong_answer_is_not_kept(work, capsys):
    assert not ask_for(answer(WRONG)).passed
    assert not (work / "mine" / "shift.py").exists() and mine.take("shift", else_=max) is max
    assert "minidl's" in capsys.readouterr().out


def test_progress_counts_the_best(work):
    ask_for(answer(RIGHT))
    ask_for(answer(WRONG))
    [row] = progress.progress().rows()
    assert row == ("90_sample", 1, 2, 4, 10)
    assert (
        "next in 90_sample: 90-other" in repr(progress.progress())
        and "1 of 2" in progress.progress()._repr_html_()
    )


def test_a_broken_note_is_no_obstacle(work):
    (work / "mine").mkdir()
    (work / "mine" / "progress.json").write_text("{ half")
    assert ask_for(answer(RIGHT)).passed and [*progress.progress().rows()][0][1] == 1


def test_a_question_holds_code_seed_error_and_events(work):
    with pytest.raises(NothingToAsk, match="Run the check"):
        ask("90")
    ask_for(
        answer(
            "comm.send(x, to=(comm.rank + away) % comm.world_size)\n"
            "    return comm.recv(x, source=comm.left)"
        )
    )
    text = ask("90").read_text()
    for words in (
        "168935620816750",
        "comm.send(x",
        "Deadlock: rank",
        "wanted a result on every rank",
        "| 0 | send |",
    ):
        assert words in text
    ask_for(answer(RIGHT))
    with pytest.raises(NothingToAsk):
        ask("90")


def test_outside_of_a_learners_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_book(Book()), arenas.use(Notebook()):
        assert ask_for(answer(RIGHT)).passed
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NothingToAsk, match="start.py"):
        ask("90")


def test_what_cannot_be_written_out_is_not_kept(work):
    names = {"table": torch.ones(3)}
    run(
        "def shift(x, comm):\n    table\n    " + RIGHT.replace("away", "2") + "\n",
        "<another cell>",
        names,
    )
    assert ask_for(names["shift"]).passed and not (work / "mine" / "shift.py").exists()
