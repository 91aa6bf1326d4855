"""Record everything that goes through a Comm, as rows of trace.Event.

    start(ops)      a row per op: posted
    work.wait()     the same rows: waited, done

A TracedComm wraps another Comm and overrides `start`, so nothing slips by it. gloo tells that an op
is over only after its wait, so `done` is never earlier than `waited`. Where a rank has a GPU, what it does there has the
GPU's own times (gpu.py): spans, and messages between GPUs. They become seconds when the run is over.
"""

import itertools
import math
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from minidl.comm import Native, Recv, Send, Work
from minidl.runtime.comms.base import WrappedComm
from minidl.runtime.gpu.gpu_clock import settle
from minidl.runtime.words.calling import here

SEQ, POSTED, WAITED, DONE, FATE = 2, 10, 11, 12, 15  # columns of an Event
FEW = 8  # elements of a sent tensor whose values are kept


@lru_cache
def dtype_name(dtype):
    """ "float32" for torch.float32."""
    return str(dtype).removeprefix("torch.")


@lru_cache(4096)
def measures(shape, dtype):
    """(shape, dtype, nbytes) as the columns of an Event have them."""
    return tuple(shape), dtype_name(dtype), math.prod(shape) * dtype.itemsize


class Recorder:
    """The rows of one rank in one run: lists in the order of Event's fields, the line as (file, line). meter: its Meter, or None; gpu the same."""

    def __init__(self, rank, gpu=None):
        self.rank, self.rows, self.values, self.meter, self.gpu = rank, [], {}, None, gpu
        self.seq, self.path = itertools.count(), ContextVar("spans", default="")
        self.threads = {threading.get_ident(): 0}

    def settled(self):
        """The rows, with the GPU's times as seconds."""
        if self.gpu is not None:
            settle(self.rows, (POSTED, WAITED, DONE), self.gpu)
        return self.rows

    def row(self, kind, comm, peer, number, tensor, posted, place):
        """Begin an event and return its row, to be completed later."""
        thread = self.threads.setdefault(threading.get_ident(), len(self.threads))
        shape, dtype, nbytes = (
            ((), "", 0) if tensor is None else measures(tensor.shape, tensor.dtype)
        )
        row = [
            self.rank,
            thread,
            next(self.seq),
            kind,
            comm,
            peer,
            number,
            shape,
            dtype,
            nbytes,
            posted,
            None,
            None,
            self.path.get(),
            place,
            "unfinished",
        ]
        self.rows.append(row)
        return row


class TracedWork(Work):
    """Completes the rows of its ops as they end."""

    def __init__(self, work, rows, now):
        self.work, self.rows, self.now = work, rows, now

    def wait(self):
        received, at = (), self.now()
        for part, row in zip(self.work.parts, self.rows):
            if row[WAITED] is None:
                row[WAITED] = at
            received += part.wait()
            at = self.now()
            if row[DONE] is None:
                row[DONE], row[FATE] = at, part.fate
                moments = getattr(part, "moments", None)
                if moments is not None:
                    row[POSTED], row[DONE] = moments
        return received


class TracedComm(WrappedComm):
    """A Comm whose every operation is recorded."""

    def __init__(self, inner, recorder):
        super().__init__(inner)
        self.recorder, self.now = recorder, inner.now

    def wrap(self, inner):
        return TracedComm(inner, self.recorder)

    def start(self, ops):
        ops = list(ops)
        posted = self.now()
        work = self.inner.start(ops)
        rows = []
        for op, part in zip(ops, work.parts):
            kind, tensor = self._kind(op)
            row = self.recorder.row(
                kind, self.name, part.peer, part.number, tensor, posted, work.place
            )
            if kind == "send" and tensor.numel() <= FEW:
                self.recorder.values[row[SEQ]] = tensor.flatten().tolist()
            rows.append(row)
        return TracedWork(work, rows, self.now)

    def compute(self, seconds):
        row = self.recorder.row("compute", self.name, -1, 0, None, self.now(), here())
        row[WAITED] = row[POSTED]
        self.inner.compute(seconds)
        row[DONE], row[FATE] = self.now(), "delivered"

    @contextmanager
    def span(self, name):
        if "/" in name:
            raise ValueError(
                f"a span's name has no slash, because spans nest as outer/inner: {name!r}"
            )
        path = self.recorder.path
        token = path.set(f"{path.get()}/{name}".lstrip("/"))
        now = self.now if self.recorder.gpu is None else self.recorder.gpu.mark
        row = self.recorder.row("span", self.name, -1, 0, None, now(), here())
        try:
            with self.inner.span(name):
                yield
        finally:
            row[WAITED] = row[POSTED]
            row[DONE], row[FATE] = now(), "delivered"
            path.reset(token)

    @staticmethod
    def _kind(op):
        if type(op) is Send:
            return "send", op.tensor
        if type(op) is Recv:
            return "recv", op.like
        assert type(op) is Native
        return op.name, op.tensor if op.tensor is not None else op.output
