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
from statistics import median

from minidl.viz.drawing.palette import ALARM, FAINT, INK, arrow_color
from minidl.viz.drawing.picture import Picture, Table
from minidl.viz.drawing.scene import Arrow, Box, Label, Path
from minidl.viz.drawing.units import bytes_text, count_text, seconds_text
from minidl.viz.pictures.rows import Timescale, rank_rows, rank_scene
from minidl.viz.reading.findings import left_out, messages_finding
from minidl.viz.reading.intervals import clip, legible, main_lanes, window
from minidl.viz.reading.matching import is_lost, messages_between, pair_of

MOST = 400  # arrows that a reader can tell apart, and half as many as hatched stretches
HEAVIEST = 120  # bundles that are drawn if there are more than MOST
NAMED = 40  # collectives that have room for their names
COLUMNS = (
    "source",
    "to",
    "number",
    "comm",
    "shape",
    "dtype",
    "nbytes",
    "posted",
    "done",
    "span",
    "line",
    "fate",
)


def lamport(trace, since=None, until=None):
    """The picture of all messages between ranks, or of those from `since` to `until` seconds.

    Raises ValueError if `until` does not lie after `since`.
    """
    start, end = window(trace, since, until)
    n = trace.world_size
    scale = Timescale(start, end)
    rows = rank_rows(n)
    messages = messages_between(trace, start, end)
    lost = [message for message in messages if is_lost(message)]
    bundles, bundled_words = _bundles(messages, start, end)
    computing, _ = _main_lanes_between(trace, "computing", start, end)
    waiting, bins = _main_lanes_between(trace, "waiting", start, end)
    calls = _longest_collectives(trace, start, end)

    scene = rank_scene(messages_finding(trace, messages), n, scale.axis())
    lines = [Path((scale.at(start), scale.at(end)), (rank, rank), FAINT) for rank in range(n)]
    scene.add("ranks", lines)
    scene.add("computing", scale.boxes(computing, rows, "computing", 0.14), legend=True)
    scene.add("waiting", scale.boxes(waiting, rows, "waiting", 0.3), "hatched", legend=True)
    frames = [_collective_frame(event, scale, rows) for event in calls]
    scene.add("collective", frames, "outline", legend=True)
    if len(calls) <= NAMED:
        scene.add("names", [_collective_name(event, scale) for event in calls])
    scene.add("message", [_arrow(bundle, scale, n) for bundle in bundles], legend=True)
    stubs = [_stub(message, scale) for message in lost[:MOST]]
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
    summary = f"{count_text(n, 'rank')}, {count_text(len(messages), 'message')}"
    return Picture("lamport", summary, scene, _message_table(messages))


def _main_lanes_between(trace, activity, start, end):
    """(lanes, bins) of the main threads between start and end, made coarse if there are many."""
    lanes = main_lanes(trace, activity, end)
    clipped = {rank: clip(stretches, start, end) for rank, stretches in lanes.items()}
    return legible(clipped, start, end, 2 * MOST)


def _longest_collectives(trace, start, end):
    """The native collectives between start and end; the longest ones if there are many.

    A call that never ended is done at `end`.
    """
    calls = [
        event._replace(done=event.done or end)
        for event in trace
        if event.is_collective and event.posted <= end
    ]
    seen = [event for event in calls if event.done >= start]
    return sorted(seen, key=lambda event: event.done - event.posted)[-MOST:]


def _collective_frame(event, scale, rows):
    """A frame around a native collective on its rank's row."""
    hover = f"{event.kind}\n{bytes_text(event.nbytes)}\n{event.line}"
    row = rows[event.rank]
    return Box(scale.at(event.posted), scale.at(event.done), row.y, 0.5, row.color, hover)


def _collective_name(event, scale):
    """The name of a native collective, above its frame."""
    middle = (event.posted + event.done) / 2
    return Label(scale.at(middle), event.rank - 0.37, event.kind, INK, "middle")


def _bundles(messages, start, end):
    """(bundles, words): lists of received messages that share an arrow, and a caption about them.

    A bundle is one message if there are few, else all messages of a pair of ranks in a slice of the
    time; the words are "" for few messages.
    """
    received = [message for message in messages if not is_lost(message)]
    if len(messages) <= MOST:
        return [[message] for message in received], ""
    slices = max(1, MOST // len(set(map(pair_of, messages))))
    groups = defaultdict(list)
    for message in received:
        at = int((message.send.posted - start) / (end - start) * slices)
        groups[pair_of(message), min(max(at, 0), slices - 1)].append(message)
    bundles = sorted(groups.values(), key=_bundle_nbytes, reverse=True)
    words = f"{len(messages):,} messages, drawn as {len(groups):,} bundles"
    if len(bundles) > MOST:
        bundles = bundles[:HEAVIEST]
        words = (
            f"{len(messages):,} messages, drawn as the {HEAVIEST} bundles of most bytes, "
            f"of {len(groups):,}"
        )
    return sorted(bundles, key=lambda bundle: bundle[0].send.posted), words


def _bundle_nbytes(bundle):
    return sum(message.send.nbytes for message in bundle)


def _arrow(bundle, scale, n):
    """An arrow for a message or a bundle, from the send's posting to the receive's end."""
    send = bundle[0].send
    # Medians: one late message does not turn the arrow of its bundle.
    posted = median(message.send.posted for message in bundle)
    done = median(message.recv.done for message in bundle)
    hover = _message_hover(bundle[0])
    width = 1.5
    if len(bundle) > 1:
        count = count_text(len(bundle), "message")
        hover = (
            f"rank {send.rank} to rank {send.peer}\n{count}, {bytes_text(_bundle_nbytes(bundle))}"
        )
        width = 1.0 + min(2, len(bundle).bit_length() // 3)
    color = arrow_color(send.rank, n)
    return Arrow(scale.at(posted), send.rank, scale.at(done), send.peer, color, hover, width)


def _stub(message, scale):
    """A broken arrow towards the rank that never received the message."""
    send = message.send
    end = send.posted + 0.03 * (scale.end - scale.start)
    lean = 0.42 if send.peer > send.rank else -0.42
    return Arrow(
        scale.at(send.posted),
        send.rank,
        scale.at(end),
        send.rank + lean,
        ALARM,
        _message_hover(message),
        broken=True,
    )


def _message_hover(message):
    """What stands in the box that appears over an arrow."""
    send, recv = message
    words = [
        f"rank {send.rank} to rank {send.peer}, message #{send.number}",
        f"{send.shape} {send.dtype}, {bytes_text(send.nbytes)}",
    ]
    if is_lost(message):
        words.append("never received")
    else:
        words.append(f"{seconds_text(recv.done - send.posted)} from posting to end")
    words += [send.span, send.line]
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
    rows = []
    for message in messages:
        send, recv = message
        rows.append(
            (
                send.rank,
                send.peer,
                send.number,
                send.comm,
                send.shape,
                send.dtype,
                send.nbytes,
                send.posted,
                recv.done if recv else None,
                send.span,
                send.line,
                "unfinished" if is_lost(message) else send.fate,
            )
        )
    return Table(COLUMNS, rows)
