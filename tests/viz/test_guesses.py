"""Guess beside truth: what is said about open, right, near and wrong guesses."""

import pytest

from minidl.viz.pictures.guesses import Guesses


def verdicts(guesses, truth):
    guess = Guesses()
    guess.update(guesses)
    return [row[-1] for row in guess.beside(truth)]


def test_open_guesses_are_not_judged():
    guess = Guesses()
    guess["messages"] = ...
    assert [tuple(row) for row in guess.beside({"messages": 12, "hangs": "one"})] == [
        ("messages", "not guessed", "12", ""),
        ("hangs", "not guessed", "one", ""),
    ]
    assert repr(guess) == "Guesses(0 of 1 made)"


@pytest.mark.parametrize(
    "guess, happened, verdict",
    [
        (12, 12, "right"),
        ("One ", "one", "right"),
        (0.3, 0.3, "right"),
        (6, 12, "2 times too low"),
        (24, 12, "2 times too high"),
        (11, 12, "1.09 times too low"),
        (0.29, 0.3, "close"),
        (3, 0, "too high"),
        (0, 3, "too low"),
        ("two", "one", "not this time"),
        ("two", 2, "not this time"),
        (True, 1, "right"),
        (-1, 5, "too low"),
    ],
)
def test_a_guess_is_set_beside_what_happened(guess, happened, verdict):
    assert verdicts({"q": guess}, {"q": happened}) == [verdict]


def test_a_guess_that_nothing_answers_is_named():
    with pytest.raises(ValueError, match="'mesages'.*the questions are: messages"):
        verdicts({"mesages": 3}, {"messages": 12})


def test_it_shows_as_a_table_and_escapes_what_the_reader_wrote():
    guess = Guesses(messages="<b>4</b>")
    html = guess.beside({"messages": 12})._repr_html_()
    assert "&lt;b&gt;4" in html and "<b>" not in html
    assert "messages  <b>4</b>" in repr(guess.beside({"messages": 12}))
