"""The judge's side of a rank: it does what its rank asks in a VirtualWorld, and believes nothing.

    rank 2  --[start ..., wait 7]-->  Relay of rank 2  --start, wait-->  the judge's Comm:
            <--[is, tensors]--------                                     matched, timed, counted

A message is a list of requests, a request its name and values. The method's prefix says what
follows:

    note_  nothing is sent back; an error is kept until the next question
    ask_   an answer, or the error that the rank's line then raises
    end_   nothing more; the thread's work is over

A request of another form, out of turn, or too large ends the rank, with a sentence.
"""

import inspect
import signal
from typing import NamedTuple

import torch

from minidl.comm import Recv, Send
from minidl_grader.judge.cage.account import Rogue, whole
from minidl_grader.judge.cage.caged_metering import MOST_FLOPS, believed
from minidl_grader.judge.cage.channel import Closed, Late
from minidl_grader.judge.cage.codec import DTYPES, CodecError, shape_of
from minidl_grader.judge.cage.places import at, lines_of, place_of, raise_at


class Trouble(Exception):
    """What ended a rank from outside its function; see _blame."""


class CallEnd(NamedTuple):
    """How a call ended on a rank. printed: (the first lines, how many there were)."""

    result: object
    after: tuple | None
    printed: tuple


class Relay:
    """Serves one thread of a rank.

    spans  those that the thread has opened;  owed: an error that the next answer brings, or None
    """

    def __init__(self, account, channel):
        self.account = account
        self.channel = channel
        self.spans = []
        self.owed = None

    def serve(self):
        """Do what the thread asks until it is over.

        Returns a CallEnd, or None for a background job.
        """
        try:
            while True:
                for request in self._requests():
                    kind, method, values = _request(request)
                    if kind == "end":
                        return method(self, *values)
                    self._do(kind, method, values)
        except (Closed, Late, CodecError, Rogue) as error:
            self._blame(error)

    def _requests(self):
        message = self.channel.receive()
        if not isinstance(message[0], list):
            raise Rogue("a message without requests")
        return message

    def _do(self, kind, method, values):
        """Carry out one request.

        The Comm's own complaints go to the rank and are raised at the learner's line.
        """
        answer = None
        try:
            if self.owed is None or kind == "note":
                answer = method(self, *values)
        except (Rogue, Trouble):
            raise
        except Exception as error:
            self.owed = self.owed or error
        if kind == "note":
            return
        error = self.owed
        self.owed = None
        if error is None:
            self.channel.send("is", *self.news(), *(answer or ()))
        else:
            self.channel.send("raise", type(error).__name__, str(error))

    def news(self):
        """What an answer brings on a meter: (the time, [[work, i, tensor]] of messages that met).

        A tensor came; None says that a send has met its receive.
        """
        account = self.account
        if account.meters is None:
            return ()
        node = account.comms[0].node
        met = []
        for ticket, tensor in account.meters.news(node.rank):
            number = account.numbers.get(ticket.posting)
            if number is not None:  # else its start has failed, and the rank learns of that
                alike = [other for other in ticket.posting.tickets if other.sends is ticket.sends]
                met.append([number, alike.index(ticket), tensor])
        return node.strand().clock, met

    def _at(self, place, function):
        """Call `function()` from the learner's line, so that the record and errors name it."""
        return at(place_of(place, self.account.cells), function)

    def _comm(self, number):
        return self.account.known(self.account.comms, number)

    # --- What a rank can ask ------------------------------------------------------------------

    def note_start(self, comm, number, place, ops):
        """Start sends and receives."""
        account = self.account
        comm = self._comm(comm)
        if not isinstance(ops, list):
            raise Rogue("ops that are not a list")
        started = [_op(op, account) for op in ops]
        work = self._at(place, lambda: comm.start(started))
        sent = [op.tensor for op in started if isinstance(op, Send)]
        account.add(account.works, number, (work, sent))
        account.numbers[work.posting] = number

    def note_changed(self, number, i, tensor):
        """A tensor being sent has changed: a send takes what it holds when it meets its receive."""
        _, sent = self.account.known(self.account.works, number)
        if type(i) is not int or not 0 <= i < len(sent) or not _alike(sent[i], tensor):
            raise Rogue("a change of a tensor that was not sent")
        self.account.charge(tensor.nbytes)
        sent[i].copy_(tensor)  # a send that has met its receive has been copied already

    def ask_wait(self, number, place):
        """Wait for what was started.

        Answers with the tensors received, which on a meter came as news.
        """
        work, _ = self.account.known(self.account.works, number)
        received = self._at(place, work.wait)
        del self.account.works[number]
        return [list(received)] if self.account.meters is None else []

    def note_group(self, comm, number, ranks):
        """Make a group."""
        if not isinstance(ranks, list):
            raise Rogue("a group that is not a list of ranks")
        members = [whole(rank) for rank in ranks]
        self.account.add(self.account.comms, number, self._comm(comm).group(members))

    def ask_compute(self, comm, seconds, place):
        """Let virtual time pass."""
        comm = self._comm(comm)
        if type(seconds) is not float or not 0 <= seconds < 1e9:
            raise ValueError(
                f"compute() takes a finite number of seconds, 0 or more, not {seconds!r}"
            )
        self._at(place, lambda: comm.compute(seconds))

    def ask_flops(self, flops):
        """The rank has computed: let the time pass that its Device takes."""
        meters = self.account.meters
        if meters is None or meters.device is None or not 0 <= whole(flops) < MOST_FLOPS:
            raise Rogue("FLOPs where they are not counted")
        meters.compute(self.account.comms[0].node, flops)

    def ask_look(self):
        """Answer with the news alone."""

    def ask_finish(self):
        """The function has returned: wait for what it left under way."""
        self.account.comms[0].node.finish()

    def ask_now(self, comm):
        """Answer with the virtual time."""
        return [self._comm(comm).now()]

    def note_span(self, comm, name, place):
        """Open a span."""
        if not isinstance(name, str) or len(name) > 200:
            raise Rogue("a span without a name")
        span = self._comm(comm).span(name)
        self._at(place, span.__enter__)
        self.spans.append(span)

    def note_unspan(self):
        """Close the innermost span."""
        if not self.spans:
            raise Rogue("the end of a span that never began")
        self.spans.pop().__exit__(None, None, None)

    def ask_background(self, comm, twin, job, place):
        """Put a job into the Comm's lane, where `twin` will be its Comm.

        Answers with the lane's number.
        """
        account = self.account
        parent = self._comm(comm)
        lane = account.lanes.setdefault(parent.twin_name, len(account.lanes))
        relay = Relay(account, account.process.lane(lane))
        work = self._at(place, lambda: parent.background(_in_lane, relay, whole(twin)))
        account.add(account.jobs, job, work)
        return [lane]

    def ask_join(self, job, place):
        """Wait for a background job."""
        self._at(place, self.account.known(self.account.jobs, job).wait)

    # --- How its work ends --------------------------------------------------------------------

    def end_done(self, result, after, reading, printed):
        """The function returned."""
        self._take(reading)
        self.account.settled = True
        after = tuple(after) if isinstance(after, (list, tuple)) else None
        return CallEnd(result, after, _printed(printed))

    def _take(self, reading):
        """Note the rank's own reading of its meter, if one is expected."""
        meters = self.account.meters
        if (reading is None) != (meters is None):
            raise Rogue("a reading that is not expected, or none where one is")
        if meters is None:
            return
        rank = self.account.comms[0].rank
        charged = None if meters.device is None else meters.charged.get(rank, 0)
        try:
            meters.told[rank] = believed(reading, charged)
        except ValueError as error:
            raise Rogue(str(error)) from None

    def end_failed(self, kind, message, lines, printed):
        """The function, or a background job, raised an exception."""
        if printed is not None:  # it was the main thread's
            self.account.settled = True
        if not isinstance(kind, str) or not isinstance(message, str):
            raise Rogue("an error without words")
        name = kind[:80] if kind[:80].isidentifier() else "Exception"
        error = type(name, (Exception,), {})(message[:4000])
        raise_at(lines_of(lines, self.account.cells), error)

    def end_end(self):
        """A background job is done; its result stays on the rank."""

    def end_over(self):
        """The rank has unwound, though the judge has not said that the run is over."""
        self.account.settled = True
        raise Rogue("the end of a run that was not over")

    def _blame(self, error):
        """End the rank and raise what happened to it, in words, at the line where it was."""
        account = self.account
        process = account.process
        if isinstance(error, Late):
            account.grace()
            kind = "late"
            words = "did not come to an end in time"
            lines = _innermost(process.where(), account.cells)
        elif isinstance(error, Closed):
            kind = "died"
            words = death(process.cage.ended(process.pid, 1.0))
            lines = _innermost(process.last_words(), account.cells)
        else:
            kind = "rogue"
            words = f"sent what no Comm sends: {error}"
            lines = []
        account.trouble = account.trouble or kind
        process.end()
        raise_at(lines, type(NAMES[kind], (Trouble,), {})(words))


NAMES = {"late": "RankTimeout", "died": "RankDied", "rogue": "RankError"}
METHODS = {  # "wait": ("ask", Relay.ask_wait, 2)
    name.partition("_")[2]: (
        name.partition("_")[0],
        method,
        len(inspect.signature(method).parameters) - 1,
    )
    for name, method in vars(Relay).items()
    if name.startswith(("note_", "ask_", "end_"))
}


def _request(request):
    """(kind, method, values) of a request from a rank."""
    match request:
        case [str(name), *values] if name in METHODS:
            pass
        case _:
            raise Rogue(f"a request of no known kind: {str(request)[:60]}")
    kind, method, expected = METHODS[name]
    if len(values) != expected:
        raise Rogue(f"{name!r} with {len(values)} values")
    return kind, method, values


def _op(given, account):
    """The Send or Recv that a rank describes.

    A receive's tensor is the rank's: here only its form matters.
    """
    match given:
        case ["send", int(to), torch.Tensor() as tensor]:
            op = Send(tensor, whole(to))
            account.charge(tensor.nbytes)
        case ["recv", int(source), str(dtype), list(shape)] if dtype in DTYPES:
            like = torch.empty(shape_of(shape), dtype=DTYPES[dtype], device="meta")
            op = Recv(like, whole(source))
            account.charge(like.nbytes)
        case _:
            raise Rogue(f"an op of no known kind: {str(given)[:60]}")
    return op


def _alike(ours, theirs):
    if not isinstance(theirs, torch.Tensor):
        return False
    return ours.shape == theirs.shape and ours.dtype == theirs.dtype


def _printed(printed):
    match printed:
        case [list(lines), int(count)] if all(isinstance(line, str) for line in lines):
            return lines, count
    raise Rogue("output of no known form")


def _in_lane(relay, twin, comm):
    """A background job, as the judge's lane runs it: let the rank's thread go and serve it."""
    relay.account.add(relay.account.comms, twin, comm)
    relay.channel.send("go", *relay.news())
    relay.serve()


def _innermost(stacks, cells):
    """The lines of the stack that has most of the learner's own."""
    return max((lines_of(stack, cells) for stack in stacks.values()), key=len, default=[])


def death(status):
    """How a process ended, in words."""
    if status is None:
        return "closed its connection"
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return "was killed: it used up its CPU time or memory, or killed itself"
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"ended with exit code {status}: os._exit, or a library that gave up"
