"""Before a message is posted: do both sides agree? While a thread waits: for whom?

    rank 0: publish "message 3 to rank 1: (4,) float32"     rank 1: publish "message 3 from rank 0: (8,) float32"
            read rank 1's descriptor: nothing yet, post             read rank 0's: another shape, raise, post nothing

gloo kills a receiver whose message is too long and says nothing of one that is too short, so the
comparison comes first. The waits noted here answer the question "where are you?" (`snapshot`); the
verdict over all ranks is deadlock.py's. Left out: how the bytes travel (distributed.py).
"""

import threading

import torch

from minidl.comm import Native, Recv, Send
from minidl.errors import MismatchError, NotInCell
from minidl.runtime.board import DEPTH
from minidl.runtime.calling import stack_lines

SEND, RECV, NATIVE = 0, 1, 2
DTYPES = sorted({d for d in vars(torch).values() if isinstance(d, torch.dtype)}, key=str)
DTYPE_INDEX = {dtype: i for i, dtype in enumerate(DTYPES)}
NATIVES = ("all_reduce", "reduce", "broadcast", "all_gather", "reduce_scatter", "gather", "scatter", "all_to_all", "barrier")
SAME_SHAPE = ("all_reduce", "reduce", "broadcast", "all_gather", "reduce_scatter", "gather")
OPS = ("sum", "product", "min", "max")


class Broken(BaseException):
    """The run is over for this rank: somebody else failed, or the learner pressed Stop."""


def key(context, peer, direction):
    """The number that names a channel on the board."""
    return context << 24 | (peer + 1) << 2 | direction


def describe(tensor):
    """(code, four sizes) of a tensor; further sizes are folded into the last."""
    shape = tensor.shape
    sizes = [*shape, 0, 0, 0, 0][:4] if len(shape) <= 4 else [*shape[:3], hash(tuple(shape[3:])) & 0x7FFFFFFFFFFFFFFF]
    return (DTYPE_INDEX[tensor.dtype] | len(shape) << 8, *sizes)


def spell(descriptor):
    """A descriptor in words: "(4, 2) float32"."""
    code, *sizes = descriptor[:5]
    n = code >> 8 & 0xFF
    shape = tuple(sizes[:n]) if n <= 4 else (*sizes[:3], "...")
    return f"{shape} {str(DTYPES[code & 0xFF]).removeprefix('torch.')}"


class Guard:
    """One rank's side of the board, and the list of its blocked threads."""

    def __init__(self, board, rank, report):
        self.board, self.rank, self.report = board, rank, report
        self.lock = threading.Lock()
        self._fence = threading.Lock()
        self.active = None                 # the ranks that take part in this run; None for all
        self.broken = None                 # why the run is over, once it is
        self.blocked = {}                  # thread -> (needs, what) ; needs are (rank, key, number)
        self.idle = set()                  # threads that only wait for work of their own rank
        self.control = None                # the thread that answers, never counted

    def begin(self, active):
        """A new run starts on the ranks `active`."""
        self.board.forget()
        self.active = active
        self.broken = None
        self.blocked.clear()

    def publish(self, op, context, peer, place):
        """Tell what this rank is about to post, and compare with the peer; returns the message's number.

        Called with `lock` held. Raises MismatchError, NotInCell, or ValueError past DEPTH messages.
        """
        if self.broken:
            raise Broken(self.broken)
        if self.active is not None and peer not in self.active:
            raise NotInCell(f"rank {peer} is not in this cell: it runs on ranks {', '.join(map(str, self.active))} only")
        sending = type(op) is Send
        mine, theirs = (key(context, peer, SEND), key(context, self.rank, RECV)) if sending else \
                       (key(context, peer, RECV), key(context, self.rank, SEND))
        if self.board.count(self.rank, mine) - self.board.count(peer, theirs) >= DEPTH - 1:
            raise ValueError(f"{DEPTH - 1} messages are under way {'to' if sending else 'from'} rank {peer} that it has not "
                             f"{'received' if sending else 'sent'}: wait for some of them first")
        descriptor = describe(op.tensor if sending else op.like)
        number = self.board.post(self.rank, mine, (*descriptor, self._place(place), 0))
        with self._fence:
            other = self.board.read(peer, theirs, number)
        if other is not None and tuple(other[:5]) != descriptor:
            self._disagree(sending, peer, number, descriptor, place, other)
        return number

    def publish_native(self, op, context, members, place):
        """The same for a native collective: compare with every member that has come this far."""
        if self.broken:
            raise Broken(self.broken)
        if self.active is not None and not set(members) <= set(self.active):
            raise NotInCell(f"{op.name} needs all ranks of its group, but the cell runs on ranks {', '.join(map(str, self.active))} only")
        code = NATIVES.index(op.name) << 32 | OPS.index(op.op) << 40 | (0 if op.root is None else op.root + 1) << 44
        tensor = op.tensor if op.name in SAME_SHAPE else None
        first, *sizes = describe(tensor) if tensor is not None else (0, 0, 0, 0, 0)
        channel = key(context, -1, NATIVE)
        number = self.board.post(self.rank, channel, (code | first, *sizes, self._place(place), 0))
        with self._fence:
            for member in members:
                other = self.board.read(member, channel, number)
                if other is not None and (other[0] != code | first or other[1:5] != sizes):
                    self._disagree_native(op, member, number, (code | first, *sizes), place, other)
        return number

    def needs(self, op, context, peer, number, members):
        """What must be posted before this op can end: (rank, key, number) each."""
        if type(op) is Send:
            return [(peer, key(context, self.rank, RECV), number)]
        if type(op) is Recv:
            return [(peer, key(context, self.rank, SEND), number)]
        root = None if op.root is None else members[op.root]
        if op.name in ("broadcast", "scatter"):
            awaited = [] if root == self.rank else [root]
        elif op.name in ("reduce", "gather") and root != self.rank:
            awaited = []
        else:
            awaited = [m for m in members if m != self.rank]
        return [(m, key(context, -1, NATIVE), number) for m in awaited]

    def block(self, needs, what):
        """This thread is about to wait; `what` is (op, comm, peer, number, place, leftover)."""
        if self.broken:
            raise Broken(self.broken)
        with self.lock:
            self.blocked[threading.get_ident()] = (needs, what)
            self.board.bump(self.rank, +1)

    def unblock(self):
        """This thread goes on."""
        with self.lock:
            if self.blocked.pop(threading.get_ident(), None) is not None:
                self.board.bump(self.rank, -1)

    def snapshot(self, frames):
        """Where every thread of this rank is: (version, {thread: (needs, what, lines)}).

        needs is None for a thread that runs; `frames` is sys._current_frames().
        """
        with self.lock:
            threads = {}
            for ident, frame in frames.items():
                if ident == self.control or (ident in self.idle and ident not in self.blocked):
                    continue
                needs, what = self.blocked.get(ident, (None, None))
                threads[ident] = (needs, self._in_words(what), stack_lines(frame))
            return self.board.version(self.rank), threads

    def _in_words(self, what):
        if what is None:
            return None
        op, comm, peer, number, place, leftover = what
        if isinstance(op, Native):
            return (op.name, comm, -1, number, place, leftover, "")
        if isinstance(op, (Send, Recv)):
            tensor = op.tensor if isinstance(op, Send) else op.like
            return ("send" if isinstance(op, Send) else "recv", comm, peer, number, place, leftover, spell(describe(tensor)))
        return ("background", comm, -1, number, place, leftover, "")

    def _place(self, place):
        return self.board.file_index(self.rank, place[0]) << 32 | place[1]

    def _other_place(self, rank, cell):
        return self.board.file_name(rank, cell >> 32), cell & 0xFFFFFFFF

    def _disagree(self, sending, peer, number, descriptor, place, other):
        sides = [(self.rank, "sends" if sending else "expects", spell(descriptor), place),
                 (peer, "expects" if sending else "sends", spell(other), self._other_place(peer, other[5]))]
        source, to = sides if sending else sides[::-1]
        self._raise("message", number, source, to)

    def _disagree_native(self, op, member, number, descriptor, place, other):
        def side(rank, descriptor, place):
            code = descriptor[0]
            name = NATIVES[code >> 32 & 0xFF]
            root = (code >> 44) - 1
            words = spell(descriptor) if name in SAME_SHAPE else "any shape"
            by = f", {OPS[code >> 40 & 0xF]}" if name in ("all_reduce", "reduce", "reduce_scatter") else ""
            return rank, "calls", f"{name}({words}{by}{f', root {root}' if root >= 0 else ''})", place
        first, second = sorted([side(self.rank, descriptor, place), side(member, other, self._other_place(member, other[5]))])
        self._raise("collective", number, first, second)

    def _raise(self, what, number, one, two):
        self.report(what, number, one, two)
        raise MismatchError(f"{what} {number}: rank {one[0]} {one[1]} {one[2]}, but rank {two[0]} {two[1]} {two[2]}",
                            ranks=(one[0], two[0]))
