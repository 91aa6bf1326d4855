"""What does a right answer send? Recorded when an exercise is released, without its code.

    exercises/.references/02_collectives.json
      {"draws": {"02 offset": [1, 2, 3]},                     what may be drawn for a student
       "tasks": {task: {"by": ["02 offset"],                  the draws on which this task depends
                        "traces": {"[1]": {"4,12": rows}}}},  drawn values -> size -> messages
       "hints": {task: ["one", "two", "three"]}}

A failed check asks `reference_trace` for the student's own variant.
minidl_grader/course/right_answers.py writes these files.
"""

import json
from itertools import chain

from minidl.learner import notes
from minidl.trace import Event, Trace


def variant_key(values):
    """The drawn values of a variant, as a key of JSON."""
    return json.dumps(list(values))


def recorded_for(task):
    """What was recorded of each exercise that may have this task."""
    number = task.split("-")[0]
    folder = notes.EXERCISES / ".references"
    for path in sorted(folder.glob(f"{number}_*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def recorded_hints(task):
    """The hints of a task, in order; an empty tuple if none were recorded."""
    recorded = (exercise.get("hints", {}).get(task, []) for exercise in recorded_for(task))
    return tuple(chain.from_iterable(recorded))


def reference_trace(task, student, world_size):
    """The Trace of a right answer to `task` for this student; None if none was recorded."""
    for recorded in recorded_for(task):
        entry = recorded["tasks"].get(task)
        if entry is None:
            continue
        drawn = [student.choose(what, recorded["draws"][what]) for what in entry["by"]]
        runs = entry["traces"].get(variant_key(drawn), {})
        for size, rows in runs.items():
            # Any length will do: the picture shows who sends to whom.
            if size.split(",")[0] == str(world_size):
                return trace_of_rows(world_size, rows)
    return None


def trace_of_rows(world_size, rows):
    """A Trace with these messages: a send and a receive for each row."""
    events = []
    for i, (rank, peer, number, nbytes, posted, done) in enumerate(rows):
        send = Event(
            rank=rank,
            thread=0,
            seq=2 * i,
            kind="send",
            comm="world",
            peer=peer,
            number=number,
            shape=(),
            dtype="",
            nbytes=nbytes,
            posted=posted,
            waited=posted,
            done=done,
            span="",
            line="",
            fate="delivered",
        )
        events.append(send)
        events.append(send._replace(rank=peer, peer=rank, seq=2 * i + 1, kind="recv"))
    return Trace(world_size, events)
