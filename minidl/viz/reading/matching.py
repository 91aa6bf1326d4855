"""Which events are sides of one message or of one collective, and when had every side posted?

    rank 0   send  #0 to 1     posted 1 ms  \\
                                             one key, every side posted at 3 ms
    rank 1   recv  #0 from 0   posted 3 ms  /

Left out: what a rank does before and after that moment; see intervals.
"""


def matching_key(event):
    """What a send shares with its receive, and a collective with its calls on the other ranks."""
    if not event.is_message:
        return event.kind, event.comm, event.number
    # A message goes from its sender, so the two sides of a receive are swapped.
    source, to = event.rank, event.peer
    if event.kind == "recv":
        source, to = to, source
    return "message", event.comm, source, to, event.number


def all_posted(trace):
    """{matching key: when the last of its sides was posted}, in seconds."""
    when = {}
    for event in trace:
        if not event.is_marker:
            key = matching_key(event)
            when[key] = max(event.posted, when.get(key, event.posted))
    return when


def is_lost(message):
    """Whether a message was never received, or its receive never ended."""
    return message.recv is None or message.recv.done is None


def received_and_lost(messages):
    """(received, lost): the messages in two lists, in their order."""
    received = []
    lost = []
    for message in messages:
        (lost if is_lost(message) else received).append(message)
    return received, lost


def started(message):
    """When both sides of a received message had posted it."""
    send, recv = message
    return min(max(send.posted, recv.posted), recv.done)


def travel_seconds(message):
    """How long a received message took, from when both sides had posted it."""
    return message.recv.done - started(message)


def pair_of(message):
    """(source, to): the ranks between which a message goes."""
    return message.send.rank, message.send.peer


def messages_between(trace, start, end):
    """Every message that was under way between two moments; a lost one stays under way forever."""
    return [
        message
        for message in trace.messages()
        if message.send.posted <= end and (is_lost(message) or message.recv.done >= start)
    ]


def unmatched_receives(trace):
    """The receives for which no rank ever posted a send."""
    # A receive that waits for a send that was posted is slow, not unmatched.
    sent = {matching_key(event) for event in trace if event.kind == "send"}
    return [
        event
        for event in trace
        if event.kind == "recv" and event.done is None and matching_key(event) not in sent
    ]
