"""An inbox for submissions of the sample exercise, and a grader with a judge that only reads."""

import sys
from pathlib import Path

import pytest

from minidl_grader.inbox import handed_in
from minidl_grader.inbox.score import Course, Grading, Settings
from tests.minidl_grader import sample

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
        given = {
            "jobs": 2,
            "judged_by": STAND_IN,
            "shown": False,
            "solutions": solutions,
            "version": "1",
        } | settings
        return Grading(Course(solutions), tmp_path / "out", Settings(**given)).run(
            handed_in.find(paths or [inbox.folder])
        )

    return run
