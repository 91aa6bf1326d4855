"""What is shown while ranks run: lines as they come, and a bar for the slowest rank."""

import pytest

from minidl.runtime.words import echo


class Screen:
    """All that was shown so far."""

    def __init__(self, capsys):
        self.capsys, self.shown = capsys, ""

    def getvalue(self):
        self.shown += self.capsys.readouterr().out
        return self.shown


@pytest.fixture
def screen(monkeypatch, capsys):
    """Somebody watches; returns the Screen."""
    monkeypatch.setattr(echo, "someone_watches", lambda: True)
    return Screen(capsys)


def test_lines_appear_as_they_come(screen):
    shown = echo.Echo(2)
    shown.lines(1, ["first"])
    assert screen.getvalue() == "1| first\n"
    shown.lines(0, ["second", "third"])
    shown.finish({0: ["second", "third"], 1: ["first"]})
    assert screen.getvalue() == "1| first\n0| second\n0| third\n"


def test_where_no_one_watches_lines_are_sorted_by_rank_at_the_end(monkeypatch, capsys):
    monkeypatch.setenv("MINIDL_OUTPUT", "sorted")
    shown = echo.Echo(2)
    shown.lines(1, ["late rank, early line"])
    shown.progress(0, 1, 2)
    assert capsys.readouterr().out == ""
    shown.finish({1: ["late rank, early line"], 0: ["early rank"]})
    assert capsys.readouterr().out == "0| early rank\n1| late rank, early line\n"


def test_the_bar_shows_the_slowest_rank_and_goes_away(screen):
    shown = echo.Echo(2)
    shown.progress(0, 50, 100)
    assert "slowest rank:   0%" in screen.getvalue()  # rank 1 has not said anything yet
    shown.progress(1, 25, 100)
    shown.bar.refresh()
    assert "slowest rank:  25%" in screen.getvalue() and "25/100" in screen.getvalue()
    shown.lines(0, ["a line above the bar"])
    shown.finish({0: [], 1: []})
    assert "0| a line above the bar\n" in screen.getvalue() and screen.getvalue().endswith("\r")


def test_a_flood_of_lines_is_cut_on_the_screen_only(screen):
    shown = echo.Echo(1)
    for _ in range(30):
        shown.lines(0, ["x"] * 100)
    assert (
        screen.getvalue().count("0| x\n") == echo.MOST_LINES
        and screen.getvalue().count("run.output") == 1
    )


def test_progress_of_a_real_run_reaches_the_screen(screen, worlds):
    def steps(comm):
        for i in range(3):
            comm.progress(i + 1, 3)
            comm.barrier()

    worlds(2).run(steps)
    assert "slowest rank" in screen.getvalue()
