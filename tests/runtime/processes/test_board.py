"""The board between two mappings of the same file, as two processes see it."""

import pytest

from minidl.runtime.processes.board import CHANNELS, DEPTH, Board

PLACE = ("a.py", 1)


@pytest.fixture
def boards(tmp_path):
    """Two mappings of one board of three ranks."""
    pair = [Board(tmp_path / "board", 3, create=True), Board(tmp_path / "board", 3)]
    yield pair
    for board in pair:
        board.close()


def test_a_descriptor_is_read_by_the_other_side(boards):
    writer, reader = boards
    assert reader.find(1, 77) is None and reader.count(1, 77) == 0
    for number, size in enumerate(("(5, 1) float32", "(6,) int64")):
        writer.open(1, 77).post(number, size, ("In [3]", 9), 10 + number)
    channel = reader.find(1, 77)
    assert reader.count(1, 77) == channel.count() == 2
    assert channel.read(0) == ("(5, 1) float32", ("In [3]", 9), 10)
    assert channel.read(1) == ("(6,) int64", ("In [3]", 9), 11)
    assert channel.read(2) is None and reader.find(2, 77) is None and reader.find(1, 78) is None


def test_channels_are_apart_and_old_descriptors_are_given_up(boards):
    writer, reader = boards
    for number in range(DEPTH + 3):
        assert writer.open(0, 1).count() == number
        writer.open(0, 1).post(number, str(number), PLACE)
    writer.open(0, 2).post(0, "-1", PLACE)
    one, two = reader.find(0, 1), reader.find(0, 2)
    assert one.read(2) is None  # overwritten
    assert one.read(3).words == "3" and one.read(DEPTH + 2).words == str(DEPTH + 2)
    assert two.read(0).words == "-1"


def test_a_new_run_forgets_the_old_one(boards):
    writer, reader = boards
    writer.open(2, 5).post(0, "1", PLACE)
    assert reader.count(2, 5) == 1
    reader.reset()
    writer.forget()
    assert reader.count(2, 5) == 0 and writer.open(2, 5).count() == 0
    writer.open(2, 5).post(0, "8", PLACE)
    assert reader.find(2, 5).read(0).words == "8"


def test_the_version_never_repeats(boards):
    writer, reader = boards
    seen = [reader.version(1)]
    for act in (
        lambda: writer.bump(1),
        lambda: writer.open(1, 1).post(0, "0", PLACE),
        lambda: writer.bump(1),
    ):
        act()
        seen.append(reader.version(1))
    assert len(set(seen)) == 4 and reader.version(0) == 0


def test_file_names_travel(boards):
    writer, reader = boards
    files = ["/tmp/ipykernel/ünï.py", *(f"{i}.py" for i in range(200))]
    for number, file in enumerate(files):
        writer.open(2, 1).post(number, "(4,) float32", (file, number))
    channel = reader.find(2, 1)
    for number, file in enumerate(files):
        assert channel.read(number)[:2] == ("(4,) float32", (file, number))


def test_a_name_that_is_too_long_keeps_its_end(boards):
    writer, reader = boards
    writer.open(2, 1).post(0, "(4,) float32", (f"/{'folder/' * 50}ring.py", 12))
    words, (file, line), _ = reader.find(2, 1).read(0)
    assert (words, line) == ("(4,) float32", 12)
    assert file.endswith("/folder/folder/ring.py") and len(file) > 100


def test_too_many_channels_is_an_error_in_words(boards):
    writer, _ = boards
    for i in range(CHANNELS):
        writer.open(0, i)
    with pytest.raises(ValueError, match="channels"):
        writer.open(0, CHANNELS)
