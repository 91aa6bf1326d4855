"""Of what a process wrote before its end, the lines that explain it."""

import pytest

from minidl.runtime.words.last_words import last_words

GLOO = "[enforce fail at /pytorch/gloo/transport/tcp/pair.cc:456] op.preamble.length <= op.nbytes. "
LINUX = ["terminate called after throwing an instance of 'gloo::EnforceNotMet'", "  what():  "]
MAC = ["libc++abi: terminating due to uncaught exception of type gloo::EnforceNotMet: "]


def dump(*threads, own=None):
    """What faulthandler writes of these threads, each (file, line, function), innermost first."""
    lines = ["Fatal Python error: Aborted", ""]
    for i, frames in enumerate(threads):
        word = "Current thread" if i == own else "Thread"
        lines.append(f"{word} 0x{i + 16:016x} (most recent call first):")
        lines += [f'  File "{file}", line {line} in {name}' for file, line, name in frames]
        lines.append("")
    return [*lines, "Extension modules: numpy._core._multiarray_umath"]


@pytest.mark.parametrize("heading", [LINUX, MAC])
def test_an_uncaught_error_of_cpp_is_told_with_the_line_of_the_main_thread(heading):
    output = ["mine", *heading]
    output[-1] += GLOO + "8 vs 4. Is there a mismatch in your code?"
    control = [("/usr/lib/python3.11/threading.py", 12, "run")]
    lane = [("/lessons/lane.py", 3, "beside")]
    main = [("/lessons/answer.py", 5, "unequal"), ("/lessons/answer.py", 9, "<module>")]
    found = last_words([*output, *dump(lane, control, main)])
    sentence = "op.preamble.length <= op.nbytes. 8 vs 4. Is there a mismatch in your code?"
    assert found.words == [sentence, "Fatal Python error: Aborted"]
    assert found.stack == [
        ("/lessons/answer.py", 9, "<module>"),
        ("/lessons/answer.py", 5, "unequal"),
    ]
    assert found.remedy()[0].startswith("8 bytes arrived where 4 were expected: every rank must")


def test_the_thread_that_failed_goes_before_the_main_thread():
    lane = [("/lessons/lane.py", 3, "beside")]
    main = [("/lessons/answer.py", 5, "unequal")]
    found = last_words(dump(lane, main, own=0))
    assert found.stack == [("/lessons/lane.py", 3, "beside")] and found.remedy() == []


def test_else_the_last_three_lines():
    assert last_words(["one", "two", "", "three", "four", ""]) == (["two", "three", "four"], [])
    assert last_words([]) == ([], [])
