"""Columns, pairing and counting of hand-made events."""

import pickle

import pytest

from minidl.trace import Event, Trace


def event(rank, seq, kind, peer=-1, number=0, nbytes=8, posted=0.0, done=1.0, comm="world"):
    return Event(
        rank,
        0,
        seq,
        kind,
        comm,
        peer,
        number,
        (2,),
        "float32",
        nbytes,
        posted,
        posted,
        done,
        "",
        "In [1], line 1",
        "delivered",
    )


def exchange():
    """Ranks 0 and 1 each send two messages; the last one of rank 1 is never received."""
    return [
        event(0, 0, "send", 1, 0),
        event(0, 1, "send", 1, 1, nbytes=4, posted=2.0, done=3.5),
        event(0, 2, "recv", 1, 0),
        event(1, 0, "recv", 0, 0),
        event(1, 1, "recv", 0, 1, nbytes=4),
        event(1, 2, "send", 0, 0),
        event(1, 3, "send", 0, 1, posted=1.0, done=None),
        event(1, 4, "all_reduce"),
        event(0, 4, "all_reduce"),
    ]


def test_columns_are_sorted_by_rank_then_order():
    trace = Trace(2, reversed(exchange()))
    assert trace.columns["rank"] == [0] * 4 + [1] * 5
    assert trace.columns["seq"] == [0, 1, 2, 4, 0, 1, 2, 3, 4]
    assert len(trace) == 9 and list(trace)[0] == exchange()[0]


def test_messages_pair_sends_with_receives():
    messages = Trace(2, exchange()).messages()
    assert [(m.send.rank, m.send.number, m.recv is None) for m in messages] == [
        (0, 0, False),
        (1, 0, False),
        (1, 1, True),
        (0, 1, False),
    ]  # in the order of posting
    assert all(
        m.recv is None or (m.recv.rank, m.recv.peer) == (m.send.peer, m.send.rank) for m in messages
    )


def test_messages_of_different_groups_do_not_meet():
    trace = Trace(2, [event(0, 0, "send", 1, comm="0,1+1"), event(1, 0, "recv", 0)])
    assert trace.messages()[0].recv is None


def test_counts():
    trace = Trace(2, exchange())
    assert trace.sent() == [2, 2]
    assert trace.sent("nbytes") == [12, 16]
    assert trace.collectives() == {"all_reduce": 2}
    assert trace.seconds() == 3.5
    with pytest.raises(ValueError, match="messages"):
        trace.sent("bits")


def test_where_keeps_what_is_asked_for():
    trace = Trace(2, exchange())
    assert len(trace.where(kind="send", rank=1)) == 2
    with pytest.raises(ValueError, match="no colour"):
        trace.where(colour="red")


def test_an_empty_trace_and_an_unknown_picture():
    assert len(Trace(3)) == 0 and Trace(3).sent() == [0, 0, 0] and Trace(3).seconds() == 0.0
    with pytest.raises(AttributeError, match="lamport"):
        assert Trace(3).potrait


def test_a_trace_survives_pickling():
    trace = pickle.loads(pickle.dumps(Trace(2, exchange())))
    assert list(trace) == list(Trace(2, exchange()))


def test_columns_that_come_later_are_made_once_and_travel():
    made = []

    def later():
        made.append(1)
        return Trace(2, exchange()).columns, {(0, 0): [1.0]}

    trace = Trace(2, later=later)
    assert not made
    assert (
        trace.sent() == Trace(2, exchange()).sent()
        and trace.values == {(0, 0): [1.0]}
        and made == [1]
    )
    travelled = pickle.loads(pickle.dumps(Trace(2, later=later)))
    assert list(travelled) == list(Trace(2, exchange())) and travelled.values == {(0, 0): [1.0]}


@pytest.mark.parametrize(
    "kind, message, marker, collective",
    [
        ("send", True, False, False),
        ("recv", True, False, False),
        ("compute", False, True, False),
        ("span", False, True, False),
        ("all_reduce", False, False, True),
        ("barrier", False, False, True),
        ("a kind of tomorrow", False, False, False),
    ],
)
def test_each_kind_of_event_belongs_to_one_family(kind, message, marker, collective):
    found = event(0, 0, kind)
    assert (found.is_message, found.is_marker, found.is_collective) == (message, marker, collective)


def test_a_kind_that_is_not_declared_is_not_counted_as_a_collective():
    assert Trace(1, [event(0, 0, "post"), event(0, 1, "barrier")]).collectives() == {"barrier": 1}


def test_the_place_of_an_event_is_its_file_and_line():
    assert event(0, 0, "send").place == ("In [1]", 1)
    assert event(0, 0, "send")._replace(line="my, line 3.py, line 12").place == (
        "my, line 3.py",
        12,
    )
    assert event(0, 0, "send")._replace(line="").place == ("", None)
