"""The Comm of a caged rank: it can only ask.

    comm.start([Recv(x, 0), Send(y, 2)])      noted                          judge: relay.py
    work.wait()                               --[start ..., wait 7]-->         its Comm does it
                                              <--[got, tensors]---

No message, byte or second is counted here; what a rank computes and holds is, on a meter, because
its tensors are here. The judge keeps the record, so the record of this side only tells it.
"""

from minidl.comm import Send, Work
from minidl.runtime.comms.base import RuntimeComm
from minidl.runtime.comms.record import dtype_name
from minidl.runtime.metering.device import unseen
from minidl.runtime.words.calling import calling_place
from minidl_grader.judge.cage.codec import tensor_bytes
from minidl_grader.judge.cage.jobs import CagedJob


class CagedComm(RuntimeComm):
    """The ranks `members`, as one of them sees them. number: how the relay calls this Comm."""

    number = 0

    def _introduce(self, parent, ranks):
        side = self.node
        self.number = side.number()
        if ranks is not None:
            side.line().note("group", parent.number, self.number, [int(rank) for rank in ranks])

    def _submit(self, twin, function):
        side = self.node
        job = CagedJob(side, side.number(), function)
        place = list(calling_place())
        (lane,) = side.line().ask("background", self.number, twin.number, job.number, place)
        side.jobs[job.number] = job
        return side.lanes[lane].submit(job)

    def _sleep(self, seconds):
        self.node.line().ask("compute", self.number, float(seconds), list(calling_place()))

    def _mark(self, kind, time=None):
        mark = super()._mark(kind, time)
        if kind == "span":
            name = mark.path.rpartition("/")[2]
            self.node.line().note("span", self.number, name, list(mark.place))
        return mark

    def _start(self, ops, peers, posting):
        side = self.node
        if side.buffered:  # a send takes what is in the tensor now
            ops = [Send(op.tensor.detach().clone(), op.to) if op.sends else op for op in ops]
        wanted = []
        for op in ops:
            if op.sends:
                wanted.append(["send", op.to, op.tensor])
            else:
                wanted.append(["recv", op.source, dtype_name(op.like.dtype), list(op.like.shape)])
        line = side.line()
        if side.meter is None:
            work = CagedWork(side, side.number(), ops)
        else:
            work = unseen(MeteredWork, side, side.number(), ops)
        line.note("start", self.number, work.number, list(posting.place), wanted)
        if side.meter is not None:
            line.ask("look")  # what met its other side at once counts at once
        return work


class CagedWork(Work):
    """Ops that the judge has under way."""

    def __init__(self, side, number, ops):
        self.side = side
        self.number = number
        self.result = None
        self.into = [op.into for op in ops if not op.sends]
        self.sent = [[op.tensor, tensor_bytes(op.tensor)] for op in ops if op.sends]
        if self.sent:
            side.sending[number] = self

    def note_changes(self, line):
        """Report what has changed in tensors that are being sent.

        A send takes what is in the tensor when the other side posts.
        """
        for i, entry in enumerate(self.sent):
            data = entry and tensor_bytes(entry[0])
            if entry and data != entry[1]:
                entry[1] = data
                line.note("changed", self.number, i, entry[0])

    def wait(self):
        if self.result is None:
            (received,) = self.side.line().ask("wait", self.number, list(calling_place()))
            self.result = tuple(
                landed(tensor, into) for tensor, into in zip(received, self.into, strict=True)
            )
            self.side.sending.pop(self.number, None)
        return self.result


class MeteredWork(CagedWork):
    """The same on a meter: a message counts from when it meets its other side."""

    def __init__(self, side, number, ops):
        super().__init__(side, number, ops)
        self.received = [None] * len(self.into)
        side.works[number] = self

    def met(self, i, tensor):
        """The i-th receive brought this tensor; if that is None, the i-th send has ended."""
        if tensor is None:
            self.sent[i] = None
            self._forget()
            return
        self.received[i] = landed(tensor, self.into[i])
        self.side.meter.see(self.received[i])

    def wait(self):
        if self.result is None:
            self.side.line().ask("wait", self.number, list(calling_place()))
            self.result = tuple(self.received)
            self.received = None
            self.side.sending.pop(self.number, None)
            self._forget()
        return self.result

    def _forget(self):
        # If there is room for every message, a wait may end before the message has arrived.
        if self.result is not None and not any(self.sent):
            self.side.works.pop(self.number, None)


def landed(tensor, into):
    """`into` with what was received in it; the tensor itself if there is no `into`."""
    if into is None:
        return tensor
    into.detach().copy_(tensor)
    return into
