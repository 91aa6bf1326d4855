"""The judge's side of a rank: a strand of the judge's VirtualWorld that does what its rank asks, and believes nothing.

    rank 2  --[start ..., wait 7]-->  Relay of rank 2  --start, wait-->  the judge's Comm: matched, timed, counted
            <--[got, tensors]-------

Every request has a fixed form. One that has another form, comes out of turn, or is too large ends the rank, with a sentence.
"""

import signal
import time

import torch

from minidl.comm import Recv, Send
from minidl_grader.judge.cage.caged_metering import MOST_FLOPS, believed
from minidl_grader.judge.cage.channel import Closed, Late
from minidl_grader.judge.cage.codec import DTYPES, CodecError, shape_of
from minidl_grader.judge.cage.places import at, lines_of, place_of, raise_at

GRACE = 0.25  # seconds
MOST_OPS, MOST_BYTES = 400_000, 1 << 30  # of one rank in one run


class Rogue(Exception):
    """A rank sent something that its Comm never sends."""


class Trouble(Exception):
    """What ended a rank from outside its function. kind: "late", "died" or "rogue"; ranks' errors are named after it."""

    kind = ""


class Ended:
    """A function's end on a rank: what it returned, its inputs afterwards, what it printed."""

    def __init__(self, result, after, printed):
        self.result, self.after, self.printed = result, after, printed


class Account:
    """What a rank has under way in one run, over all its threads.

    company  the accounts of all ranks of this run, as long as there is time
    meters   None, or the ToldMeters of a metered run;  numbers: how the rank calls what it posted at once
    settled  has its main thread told its end, or that it has unwound?
    trouble  None, or what ended it from outside: "late", "died", "rogue"
    """

    def __init__(self, process, cells, company, meters=None):
        self.process, self.cells, self.company, self.meters = process, cells, company, meters
        self.numbers, self.comms, self.works, self.jobs = {}, {}, {}, {}
        self.ops, self.nbytes, self.lanes = 0, 0, {}
        self.settled, self.trouble = False, None

    def grace(self):
        """Once in a run: one rank has used up the time, so let those that are done tell it."""
        if self.company:
            deadline = time.monotonic() + GRACE
            for other in self.company:
                other.process.limit(deadline)
            self.company.clear()  # the list is shared

    def add(self, kind, number, value):
        """Note something under a number that must be new."""
        if number in kind:
            raise Rogue("a number is used twice")
        kind[number] = value

    def charge(self, nbytes):
        """Count an op against what one run may use."""
        self.ops, self.nbytes = self.ops + 1, self.nbytes + nbytes
        if self.ops > MOST_OPS or self.nbytes > MOST_BYTES:
            raise Rogue(
                f"more than {MOST_OPS:,} sends and receives, or {MOST_BYTES >> 30} GB, in one run"
            )


def whole(value):
    """A whole number, or Rogue."""
    if type(value) is not int or not -1 << 53 < value < 1 << 53:
        raise Rogue("a number is none")
    return value


class Relay:
    """Serves one thread of a rank. comm: what the thread calls number `first`."""

    def __init__(self, account, channel):
        self.account, self.channel = account, channel
        self.spans, self.owed = [], None  # owed: an error that the next answer brings

    def serve(self):
        """Do what the rank asks until it tells its end; returns Ended, or None for the end of a background job."""
        try:
            while True:
                for request in self._requests():
                    if not isinstance(request, list) or not request or request[0] not in FORMS:
                        raise Rogue(f"a request of no known kind: {str(request)[:60]}")
                    name, *args = request
                    if len(args) != FORMS[name]:
                        raise Rogue(f"{name!r} with {len(args)} values")
                    if name in ENDS:
                        return ENDS[name](self, *args)
                    self._do(name, args)
        except (Closed, Late, CodecError, Rogue) as error:
            self._blame(error)

    def _requests(self):
        message = self.channel.receive()
        if not isinstance(message[0], list):
            raise Rogue("a message without requests")
        return message

    def _do(self, name, args):
        """Carry out one request; the Comm's own complaints go to the rank, at the learner's line."""
        answer = None
        try:
            if self.owed is None or name not in ASKED:
                answer = getattr(self, f"_{name}")(*args)
        except (Rogue, Trouble):
            raise
        except Exception as error:
            self.owed = self.owed or error
        if name in ASKED:
            error, self.owed = self.owed, None
            self.channel.send(
                "raise", type(error).__name__, str(error)
            ) if error is not None else self.channel.send("is", *self.news(), *answer)

    def news(self):
        """On a meter, what an answer brings besides: the time, and which messages have met their other side since the last one."""
        account, told = self.account, []
        if account.meters is None:
            return ()
        node = account.comms[0].node
        for ticket, tensor in account.meters.news(node.rank):
            if (
                ticket.posting in account.numbers
            ):  # else its start has failed, and the rank is told that
                alike = [each for each in ticket.posting.tickets if each.sends is ticket.sends]
                told.append([account.numbers[ticket.posting], alike.index(ticket), tensor])
        return node.strand().clock, told

    # --- What a rank can ask -------------------------------------------------------------------------------------

    def _start(self, comm, number, place, ops):
        comm, account, wanted, sent = self._comm(comm), self.account, [], []
        if not isinstance(ops, list):
            raise Rogue("ops that are no list")
        for op in ops:
            match op:
                case ["send", int(to), torch.Tensor() as tensor]:
                    account.charge(tensor.nbytes)
                    wanted.append(Send(tensor, whole(to)))
                    sent.append(tensor)
                case ["recv", int(source), str(dtype), list(shape)] if dtype in DTYPES:
                    like = torch.empty(shape_of(shape), dtype=DTYPES[dtype], device="meta")
                    account.charge(like.nbytes)
                    wanted.append(Recv(like, whole(source)))
                case _:
                    raise Rogue(f"an op of no known kind: {str(op)[:60]}")
        work = at(place_of(place, account.cells), lambda: comm.start(wanted))
        account.add(account.works, whole(number), (work, sent))
        account.numbers[work.posting] = number

    def _changed(self, number, i, tensor):
        _, sent = self._known(self.account.works, number)
        if (
            type(i) is not int
            or not 0 <= i < len(sent)
            or not isinstance(tensor, torch.Tensor)
            or (sent[i].shape, sent[i].dtype) != (tensor.shape, tensor.dtype)
        ):
            raise Rogue("a change of a tensor that was not sent")
        self.account.charge(tensor.nbytes)
        sent[i].copy_(tensor)  # what has met its other side has been copied already

    def _wait(self, number, place):
        work, _ = self._known(self.account.works, number)
        received = at(place_of(place, self.account.cells), work.wait)
        del self.account.works[number]
        return [list(received)] if self.account.meters is None else []  # told when they came

    def _group(self, comm, number, ranks):
        if not isinstance(ranks, list):
            raise Rogue("a group of no list")
        self.account.add(
            self.account.comms, whole(number), self._comm(comm).group([whole(r) for r in ranks])
        )

    def _compute(self, comm, seconds, place):
        comm = self._comm(comm)
        if type(seconds) is not float or not 0 <= seconds < 1e9:
            raise ValueError(
                f"compute() takes a number of seconds that is not negative, not {seconds!r}"
            )
        at(place_of(place, self.account.cells), lambda: comm.compute(seconds))
        return []

    def _flops(self, flops):
        meters, node = self.account.meters, self.account.comms[0].node
        if meters is None or meters.device is None or not 0 <= whole(flops) < MOST_FLOPS:
            raise Rogue("FLOPs that nobody asked for")
        meters.compute(node, flops)
        return []

    def _look(self):
        return []

    def _finish(self):
        self.account.comms[0].node.finish()
        return []

    def _now(self, comm):
        return [self._comm(comm).now()]

    def _span(self, comm, name, place):
        if not isinstance(name, str) or len(name) > 200:
            raise Rogue("a span without a name")
        span = self._comm(comm).span(name)
        at(place_of(place, self.account.cells), span.__enter__)
        self.spans.append(span)

    def _unspan(self):
        if not self.spans:
            raise Rogue("the end of a span that never began")
        self.spans.pop().__exit__(None, None, None)

    def _background(self, comm, twin, job, place):
        account, parent = self.account, self._comm(comm)
        lane = account.lanes.setdefault(parent.twin_name, len(account.lanes))
        if lane >= len(account.process.lanes):
            raise RuntimeError(
                f"here a rank has room for the background work of {len(account.process.lanes)} communicators"
            )
        relay = Relay(account, account.process.lanes[lane])
        work = at(
            place_of(place, account.cells), lambda: parent.background(_in_lane, relay, whole(twin))
        )
        account.add(account.jobs, whole(job), work)
        return [lane]

    def _join(self, job, place):
        at(place_of(place, self.account.cells), self._known(self.account.jobs, job).wait)
        return []

    # --- Its end -------------------------------------------------------------------------------------------------

    def _done(self, result, after, reading, printed):
        self._take(reading)
        self.account.settled = True
        return Ended(
            result,
            tuple(after) if isinstance(after, (list, tuple)) else None,
            self._printed(printed),
        )

    def _take(self, reading):
        """The rank's own reading, where one was asked for."""
        meters, rank = self.account.meters, self.account.comms[0].rank
        if (reading is None) is not (meters is None):
            raise Rogue("a reading that nobody asked for, or none")
        if meters is not None:
            try:
                meters.told[rank] = believed(
                    reading, None if meters.device is None else meters.charged.get(rank, 0)
                )
            except ValueError as error:
                raise Rogue(str(error)) from None

    def _failed(self, kind, message, lines, printed):
        self.account.settled = self.account.settled or printed is not None
        if not (isinstance(kind, str) and isinstance(message, str)):
            raise Rogue("an error without words")
        name = kind[:80] if kind[:80].isidentifier() else "Exception"
        raise_at(lines_of(lines, self.account.cells), type(name, (Exception,), {})(message[:4000]))

    def _over(self):
        self.account.settled = True
        raise Rogue("the end of a run that was not over")

    def _end(self):
        return None

    # --- What is wrong with it -----------------------------------------------------------------------------------

    def _comm(self, number):
        return self._known(self.account.comms, number)

    def _known(self, kind, number):
        if type(number) is not int or number not in kind:
            raise Rogue("a number that stands for nothing")
        return kind[number]

    def _printed(self, printed):
        match printed:
            case [list(lines), int(count)] if all(isinstance(line, str) for line in lines):
                return lines, count
        raise Rogue("output of no known form")

    def _blame(self, error):
        """End the rank and raise what happened to it, in words, at the line where it was."""
        account = self.account
        if isinstance(error, Late):
            account.grace()
            kind, words, lines = (
                "late",
                "did not come to an end in time",
                _innermost(account.process.where(), account.cells),
            )
        elif isinstance(error, Closed):
            lines = _innermost(account.process.last_words(), account.cells)
            kind, words = "died", death(account.process.cage.ended(account.process.pid, 1.0))
        else:
            kind, words, lines = "rogue", f"sent what no Comm sends: {error}", []
        account.trouble = account.trouble or kind
        account.process.end()
        raise_at(lines, type(NAMES[kind], (Trouble,), {"kind": kind})(words))


NAMES = {"late": "RankTimeout", "died": "RankDied", "rogue": "RankError"}
FORMS = {
    "start": 4,
    "changed": 3,
    "wait": 2,
    "group": 3,
    "compute": 3,
    "now": 1,
    "span": 3,
    "unspan": 0,
    "background": 4,
    "join": 2,
    "done": 4,
    "flops": 1,
    "look": 0,
    "finish": 0,
    "failed": 4,
    "end": 0,
    "over": 0,
}
ASKED = ("wait", "compute", "now", "background", "join", "flops", "look", "finish")
ENDS = {"done": Relay._done, "failed": Relay._failed, "end": Relay._end, "over": Relay._over}


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
    if status == -signal.SIGXCPU or status == -signal.SIGKILL:
        return "was killed: out of CPU time or memory, or by itself"
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"ended with exit code {status}: os._exit, or a library that gave up"
