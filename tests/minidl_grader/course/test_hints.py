"""Hints leave the source of a check, and nothing else does."""

import ast

from minidl_grader.course.hints import without_hints


def test_hints_are_taken_out_whole():
    source = (
        'oracle = 1\n(check(f, "t").equals(oracle)      # Grüße: a comment\n .read("round 3")\n'
        ' .hints("one (with a bracket)",\n        "two " "and more", "three").worth(4))\n'
    )
    text, clues = without_hints(source)
    assert clues == ["one (with a bracket)", "two and more", "three"]
    assert (
        text == 'oracle = 1\n(check(f, "t").equals(oracle)      # Grüße: a comment\n'
        ' .read("round 3").worth(4))\n'
    )
    ast.parse(text)


def test_a_check_without_hints_stays():
    assert without_hints('check(f, "t").worth(1)') == ('check(f, "t").worth(1)', [])
