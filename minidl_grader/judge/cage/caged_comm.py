"""The Comm of a caged rank: it can only ask.

    comm.start([Recv(x, 0), Send(y, 2)])      noted                          judge: relay.py
    work.wait()                               --[start ..., wait 7]-->         its Comm does it
                                              <--[got, tensors]---

No message, byte or second is counted here; what a rank computes and holds is, on a meter, because its tensors are here.
"""

from contextlib import contextmanager

from minidl.comm import Native, Send, Work
from minidl.runtime.comms.base import RuntimeComm, comm_name, label, landing
from minidl.runtime.metering.device import unseen
from minidl.runtime.words.calling import call, here
from minidl_grader.judge.cage.codec import tensor_bytes
from minidl_grader.judge.cage.jobs import CagedJob


class CagedWork(Work):
    """Ops that the judge has under way."""

    def __init__(self, side, number, ops):
        self.side, self.number, self.result = side, number, None
        self.into = [op.into for op in ops if type(op) is not Send]
        self.sent = [[op.tensor, tensor_bytes(op.tensor)] for op in ops if type(op) is Send]
        if self.sent:
            side.sending[number] = self

    def note_changes(self, line):
        """A send takes what is in the tensor when the other side comes, so tell what has changed since."""
        for i, entry in enumerate(self.sent):
            data = entry and tensor_bytes(entry[0])
            if entry and data != entry[1]:
                entry[1] = data
                line.note("changed", self.number, i, entry[0])

    def wait(self):
        if self.result is None:
            (received,) = self.side.line().ask("wait", self.number, list(here()))
            for i, into in enumerate(self.into):
                if into is not None:
                    into.detach().copy_(received[i])
                    received[i] = into
            self.result = tuple(received)
            self.side.sending.pop(self.number, None)
        return self.result


class MeteredWork(CagedWork):
    """The same on a meter: what is sent is held until it is there, and what comes from when it came, waited for or not."""

    def __init__(self, side, number, ops):
        super().__init__(side, number, ops)
        self.received, side.works[number] = [None] * len(self.into), self

    def met(self, i, tensor):
        """The i-th receive brought this tensor; or, where that is None, the i-th send is there."""
        if tensor is None:
            self.sent[i] = None
            self._forget()
            return
        if self.into[i] is not None:
            self.into[i].detach().copy_(tensor)
            tensor = self.into[i]
        self.received[i] = tensor
        self.side.meter.see(tensor)

    def wait(self):
        if self.result is None:
            self.side.line().ask("wait", self.number, list(here()))
            self.result, self.received = tuple(self.received), None
            self.side.sending.pop(self.number, None)
            self._forget()
        return self.result

    def _forget(self):
        if self.result is not None and not any(
            self.sent
        ):  # with room for every message, a wait may end before it is there
            self.side.works.pop(self.number, None)


class CagedComm(RuntimeComm):
    """The ranks `members`, as one of them sees them. number: how the relay calls this Comm."""

    def __init__(self, side, number, members, origins=()):
        self.node, self.number, self.members, self._origins = side, number, tuple(members), origins
        self.rank, self.world_size = self.members.index(side.rank), len(self.members)
        self._label = label(self.members, side.world_size)
        self.name = comm_name(self._label, origins)

    def start(self, ops):
        side, place, ops, wanted = self.node, here(), list(ops), []
        line = side.line()
        if side.buffered:  # a send takes what is in the tensor now
            ops = [
                Send(op.tensor.detach().clone(), op.to) if type(op) is Send else op for op in ops
            ]
        for op in ops:
            self.peer(op)
            if type(op) is Native:
                raise TypeError(
                    f"a VirtualWorld has no native {op.name}: use minidl.collectives, which sends messages that can be counted"
                )
            if type(op) is Send:
                wanted.append(["send", op.to, op.tensor])
            else:
                landing(op)
                wanted.append(
                    [
                        "recv",
                        op.source,
                        str(op.like.dtype).removeprefix("torch."),
                        list(op.like.shape),
                    ]
                )
        if side.meter is None:
            work = CagedWork(side, side.number(), ops)
            line.note("start", self.number, work.number, list(place), wanted)
            return work
        work = unseen(MeteredWork, side, side.number(), ops)
        line.note("start", self.number, work.number, list(place), wanted)
        line.ask("look")  # what met its other side at once counts at once
        return work

    def group(self, ranks):
        side, ranks = self.node, [int(r) for r in ranks]
        members, number = self.chosen(ranks), side.number()
        side.line().note("group", self.number, number, ranks)
        return CagedComm(side, number, members, self._origins)

    def twin(self):
        number = self.node.number()
        self.node.line().note("twin", self.number, number)
        return CagedComm(self.node, number, self.members, (*self._origins, self._label))

    def background(self, fn, *args):
        side = self.node
        number, job = side.number(), side.number()
        (lane,) = side.line().ask("background", self.number, number, job, list(here()))
        twin = CagedComm(side, number, self.members, (*self._origins, self._label))
        args = tuple(twin if arg is self else arg for arg in args)
        side.jobs[job] = CagedJob(side, job, lambda: call(fn, twin, args, {}))
        return side.lanes[lane].submit(side.jobs[job])

    def lane(self):
        raise NotImplementedError("the judge has the lanes")

    def compute(self, seconds):
        self.node.line().ask("compute", self.number, float(seconds), list(here()))

    def progress(self, i, n):
        """Nobody watches."""

    @contextmanager
    def span(self, name):
        if "/" in name:
            raise ValueError(
                f"a span's name has no slash, because spans nest as outer/inner: {name!r}"
            )
        line = self.node.line()
        line.note("span", self.number, name, list(here()))
        try:
            yield
        finally:
            line.note("unspan")

    def now(self):
        return self.node.line().ask("now", self.number)[0]
