"""Who sent what to whom, and when?

    rank 0  ----o///////-------------->     an arrow, from the posting of the send
                 `---.                      to the end of the receive
    rank 1  ##########/v--o////////////     #### the rank computes   //// it is blocked and waits
                           `--x             broken, with a cross: it was never received
    rank 2  -------------------------->

After Lamport 1978, "Time, clocks, and the ordering of events in a distributed system". Many
messages are drawn as bundles: one arrow for all messages of a pair in a slice of the time.
Left out: spans, and what background threads wait for; see timeline.
"""

from collections import defaultdict
from operator import attrgetter
from statistics import median

from minidl.viz.drawing.palette import FAINT, INK
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Box, Label, Path
from minidl.viz.drawing.units import bytes_text, count_text, counts_text, seconds_text
from minidl.viz.pictures.rows import Timescale, message_words, rank_rows, rank_scene
from minidl.viz.reading.findings import left_out, messages_finding
from minidl.viz.reading.intervals import clip, legible, main_lanes, window
from minidl.viz.reading.matching import (
    is_lost,
    messages_between,
    pair_of,
    received_and_lost,
)

MOST = 400  # arrows that a reader can tell apart, and half as many as hatched stretches
HEAVIEST = 120  # bundles that are drawn if there are more than MOST
NAMED = 40  # collectives that have room for their names
SENT = ("number", "comm", "shape", "dtype", "nbytes", "posted")  # what the table says of a send


def lamport(trace, since=None, until=None):
    """The picture of all messages between ranks, or of those from `since` to `until` seconds.

    Raises ValueError if `until` does not lie after `since`.
    """
    start, end = window(trace, since, until)
    scale = Timescale(start, end)
    rows = rank_rows(trace.world_size)
    messages = messages_between(trace, start, end)
    received, lost = received_and_lost(messages)
    bundles, bundled_words = _bundles(messages, received, start, end)
    computing, _ = _main_lanes_between(trace, "computing", start, end)
    waiting, bins = _main_lanes_between(trace, "waiting", start, end)
    calls = _longest_collectives(trace, start, end)

    # What lies below is drawn first: the rank's line, what it does, and the messages on top.
    scene = rank_scene(messages_finding(trace, messages), rows, scale.axis())
    ends = (scale.at(start), scale.at(end))
    scene.add("ranks", [Path(ends, (row.y, row.y), FAINT) for row in rows])
    scene.add("computing", scale.boxes(computing, rows, "computing", 0.14), legend=True)
    scene.add("waiting", scale.boxes(waiting, rows, "waiting", 0.3), "hatched", legend=True)
    frames = [_collective_frame(event, scale, rows) for event in calls]
    scene.add("collective", frames, "outline", legend=True)
    if len(calls) <= NAMED:
        scene.add("names", [_collective_name(event, scale) for event in calls])
    scene.add("message", [_arrow(bundle, scale, rows) for bundle in bundles], legend=True)
    stubs = [scale.arrow(message, rows, _message_hover(message)) for message in lost[:MOST]]
    scene.add("never received", stubs, legend=True)

    words = _arrow_words(messages, bundled_words)
    if any(waiting.values()):
        words += " Hatched: the rank waits."
    if bins:
        slice_text = seconds_text((end - start) / bins)
        words += f" Shown for whole slices of {slice_text} of which half or more is waiting."
    if lost:
        words += " A broken arrow with a cross was never received."
    scene.caption = words + left_out(trace)
    summary = counts_text(rank=len(rows), message=len(messages))
    return Picture("lamport", summary, scene, _message_table(messages))


def _main_lanes_between(trace, activity, start, end):
    """(lanes, bins) of the main threads between start and end, made coarse if there are many."""
    # Only what lies between start and end counts, so a part of a large run is drawn in full.
    clipped = {}
    for rank, stretches in main_lanes(trace, activity, end).items():
        clipped[rank] = clip(stretches, start, end)
    return legible(clipped, start, end, 2 * MOST)


def _longest_collectives(trace, start, end):
    """The native collectives between start and end; the longest ones if there are many.

    A call that never ended is done at `end`.
    """
    # A call that is open lasts to the end of what is shown.
    calls = []
    for event in trace:
        if event.is_collective and event.posted <= end:
            done = event.done or end
            if done >= start:
                calls.append(event._replace(done=done))
    return sorted(calls, key=lambda event: event.done - event.posted)[-MOST:]


def _collective_frame(event, scale, rows):
    """A frame around a native collective on its rank's row."""
    start = scale.at(event.posted)
    end = scale.at(event.done)
    row = rows[event.rank]
    hover = f"{event.kind}\n{bytes_text(event.nbytes)}\n{event.line}"
    return Box(start, end, row.y, 0.5, row.color, hover)


def _collective_name(event, scale):
    """The name of a native collective, above its frame."""
    middle = (event.posted + event.done) / 2
    return Label(scale.at(middle), event.rank - 0.37, event.kind, INK, "middle")


def _bundles(messages, received, start, end):
    """(bundles, words): lists of received messages that share an arrow, and a caption about them.

    A bundle is one message if there are few, else all messages of a pair of ranks in a slice of the
    time; the words are "" for few messages.
    """
    if len(messages) <= MOST:
        return [[message] for message in received], ""
    # as many slices of the time as leave MOST bundles, if each pair has one in each slice
    pairs = set(map(pair_of, messages))
    slices = max(1, MOST // len(pairs))
    groups = defaultdict(list)
    for message in received:
        share = (message.send.posted - start) / (end - start)
        # A message may have been posted before the part of the time that is shown.
        number = min(max(int(share * slices), 0), slices - 1)
        groups[pair_of(message), number].append(message)
    bundles = sorted(groups.values(), key=_bundle_nbytes, reverse=True)
    drawn = f"{len(groups):,} bundles"
    if len(bundles) > MOST:
        bundles = bundles[:HEAVIEST]
        drawn = f"the {HEAVIEST} bundles of most bytes, of {len(groups):,}"
    # back in the order of time
    bundles.sort(key=lambda bundle: bundle[0].send.posted)
    return bundles, f"{len(messages):,} messages, drawn as {drawn}"


def _bundle_nbytes(bundle):
    return sum(message.send.nbytes for message in bundle)


def _arrow(bundle, scale, rows):
    """An arrow for a message or a bundle, from the send's posting to the receive's end."""
    arrow = scale.arrow(bundle[0], rows, _message_hover(bundle[0]))
    if len(bundle) == 1:
        return arrow
    # Medians: one late message does not turn the arrow of its bundle.
    posted = median(message.send.posted for message in bundle)
    done = median(message.recv.done for message in bundle)
    source, to = pair_of(bundle[0])
    size = f"{count_text(len(bundle), 'message')}, {bytes_text(_bundle_nbytes(bundle))}"
    return arrow._replace(
        x0=scale.at(posted),
        x1=scale.at(done),
        hover=f"rank {source} to rank {to}\n{size}",
        width=1.0 + min(2, len(bundle).bit_length() // 3),  # 4 and 32 messages: a step thicker
    )


def _message_hover(message):
    """What stands in the box that appears over an arrow."""
    send, recv = message
    words = [message_words(send)]
    if is_lost(message):
        words.append("never received")
    else:
        words.append(f"{seconds_text(recv.done - send.posted)} from posting to end")
    words += [send.span, send.line]
    # "delivered" and "unfinished" can be seen in the picture; a fault cannot.
    if send.fate not in ("delivered", "unfinished"):
        words.append(send.fate)
    return "\n".join(filter(None, words))


def _arrow_words(messages, bundled_words):
    """How to read the arrows."""
    if not messages:
        return "No message was sent."
    count = bundled_words or count_text(len(messages), "message")
    words = f"{count}: each arrow runs from the posting of the send to the end of the receive."
    if bundled_words:
        words += (
            " A thicker arrow stands for more messages; "
            "lamport(since=, until=) shows a part in full."
        )
    return words


def _message_table(messages):
    """One row a message."""
    said_of = attrgetter(*SENT)
    rows = []
    for message in messages:
        send, recv = message
        done = recv.done if recv else None
        fate = "unfinished" if is_lost(message) else send.fate
        where = (send.span, send.line)
        rows.append((*pair_of(message), *said_of(send), done, *where, fate))
    return Table(("source", "to", *SENT, "done", "span", "line", "fate"), rows)
