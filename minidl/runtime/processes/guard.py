"""Before a message is posted: do both sides agree? While a thread waits: for whom?

    rank 0: publish "message 3 to rank 1: (4,) float32"     rank 1: publish "message 3 from rank 0: (8,) float32"
            read rank 1's descriptor: nothing yet, post             read rank 0's: another shape, raise, post nothing

gloo kills a receiver whose message is too long and says nothing of one that is too short, so the
comparison comes first. The waits noted here answer the question "where are you?" (`snapshot`); the
verdict over all ranks is deadlock.py's. Left out: how the bytes travel (gloo.py).
"""

import threading
from contextlib import contextmanager
from functools import lru_cache

import torch

from minidl.comm import Recv, Send
from minidl.errors import MismatchError, NotInCell
from minidl.runtime.processes.board import DEPTH
from minidl.runtime.words.stacks import all_stacks

SEND, RECV, NATIVE = 0, 1, 2
DTYPES = sorted({d for d in vars(torch).values() if isinstance(d, torch.dtype)}, key=str)
DTYPE_INDEX = {dtype: i for i, dtype in enumerate(DTYPES)}
NATIVES = (
    "all_reduce",
    "reduce",
    "broadcast",
    "all_gather",
    "reduce_scatter",
    "gather",
    "scatter",
    "all_to_all",
    "barrier",
)
SAME_SHAPE = ("all_reduce", "reduce", "broadcast", "all_gather", "reduce_scatter", "gather")
ROOTED = ("broadcast", "scatter", "reduce", "gather")
REDUCING = ("all_reduce", "reduce", "reduce_scatter")
OPS = ("sum", "product", "min", "max")


class Broken(BaseException):
    """The run is over for this rank: somebody else failed, or the learner pressed Stop."""


def key(context, peer, direction):
    """The number that names a channel on the board."""
    return context << 24 | (peer + 1) << 2 | direction


@lru_cache(4096)
def description(shape, dtype, on_gpu=False):
    """Five integers: dtype, number of dimensions and kind of memory, then four sizes; further sizes are folded into the last."""
    n = len(shape)
    sizes = (
        (*shape, 0, 0, 0, 0)[:4]
        if n <= 4
        else (*shape[:3], hash(tuple(shape[3:])) & 0x7FFFFFFFFFFFFFFF)
    )
    return DTYPE_INDEX[dtype] | n << 8 | on_gpu << 16, *sizes


def spell(description):
    """A description in words: "(4, 2) float32", "(4, 2) float32 on a GPU"."""
    code, *sizes = description
    n = code >> 8 & 0xFF
    shape = tuple(sizes[:n]) if n <= 4 else (*sizes[:3], "...")
    return (
        f"{shape} {str(DTYPES[code & 0xFF]).removeprefix('torch.')}{' on a GPU' * (code >> 16 & 1)}"
    )


def spell_native(description):
    """A native collective's description in words: "all_reduce((4,) float32, sum)"."""
    code = description[0]
    name, op, root = NATIVES[code >> 32 & 0xFF], OPS[code >> 40 & 0xF], (code >> 44) - 1
    words = [spell(description)] if name in SAME_SHAPE else []
    words += [op] if name in REDUCING else []
    words += [f"root {root}"] if root >= 0 else []
    return f"{name}({', '.join(words)})"


class Guard:
    """One rank's side of the board, and the list of its blocked threads."""

    def __init__(self, board, rank, report):
        self.board, self.rank, self.report = board, rank, report
        self.lock = threading.Lock()
        self._fence = threading.Lock()
        self._places = {}  # (file, line) -> its integer on the board
        self._mine, self._theirs = (
            {},
            {},
        )  # (context, peer, sending) -> this rank's Channel, and the peer's that answers it
        self.active = None  # the ranks that take part in this run; None for all
        self.broken = None  # why the run is over, once it is
        self.blocked = {}  # thread -> what it waits for
        self.idle = set()  # threads that only wait for work of their own rank
        self.control = None  # the thread that answers, never counted

    def begin(self, active):
        """A new run starts on the ranks `active`."""
        self.board.forget()
        self._mine.clear()
        self._theirs.clear()
        self.active = active
        self.broken = None
        self.blocked.clear()

    def publish(self, tensor, sending, context, peer, place):
        """Tell what this rank is about to post, and compare with the peer; returns the message's number.

        Called with `lock` held. Raises MismatchError, NotInCell, or ValueError past DEPTH messages.
        """
        if self.broken:
            raise Broken(self.broken)
        channel = (context, peer, sending)
        mine = self._mine.get(channel) or self._open(*channel)
        number, told = mine.count(), description(tensor.shape, tensor.dtype, tensor.is_cuda)
        if number >= DEPTH - 1:
            self._leave_room(number, channel)
        mine.post(number, told, self._places.get(place) or self._place(place))
        with self._fence:
            theirs = self._theirs.get(channel) or self._find(*channel)
            other = theirs and theirs.read(number)
        if other is not None and other[1:6] != told:
            self._disagree(sending, peer, number, told, place, other)
        return number

    def _open(self, context, peer, sending):
        if self.active is not None and peer not in self.active:
            raise NotInCell(
                f"rank {peer} is not in this cell: it runs on ranks {', '.join(map(str, self.active))} only"
            )
        mine = self._mine[context, peer, sending] = self.board.open(
            self.rank, key(context, peer, SEND if sending else RECV)
        )
        return mine

    def _find(self, context, peer, sending):
        """The peer's Channel that answers this one; None before it has posted there."""
        theirs = self.board.find(peer, key(context, self.rank, RECV if sending else SEND))
        if theirs is not None:
            self._theirs[context, peer, sending] = theirs
        return theirs

    def _leave_room(self, number, channel):
        _, peer, sending = channel
        theirs = self._find(*channel)
        if number - (theirs.count() if theirs else 0) >= DEPTH - 1:
            raise ValueError(
                f"{DEPTH - 1} messages are under way {'to' if sending else 'from'} rank {peer} that it has not "
                f"{'received' if sending else 'sent'}: wait for some of them first"
            )

    def publish_native(self, op, context, members, place):
        """The same for a native collective: compare with every member that has come this far."""
        if self.broken:
            raise Broken(self.broken)
        if self.active is not None and not set(members) <= set(self.active):
            raise NotInCell(
                f"{op.name} needs all ranks of its group, but the cell runs on ranks {', '.join(map(str, self.active))} only"
            )
        code = (
            NATIVES.index(op.name) << 32
            | OPS.index(op.op) << 40
            | (0 if op.root is None else op.root + 1) << 44
        )
        tensor = op.tensor if op.name in SAME_SHAPE else None
        first, *sizes = (
            (0, 0, 0, 0, 0)
            if tensor is None
            else description(tensor.shape, tensor.dtype, tensor.is_cuda)
        )
        told, channel = (code | first, *sizes), key(context, -1, NATIVE)
        mine = self.board.open(self.rank, channel)
        number = mine.count()
        mine.post(number, told, self._places.get(place) or self._place(place))
        with self._fence:
            others = [(member, self.board.find(member, channel)) for member in members]
            others = [
                (member, theirs.read(number)) for member, theirs in others if theirs is not None
            ]
        for member, other in others:
            if other is not None and other[1:6] != told:
                self._disagree_native(member, number, told, place, other)
        return number

    def needs(self, part):
        """What must be posted before this part can end: (rank, key, number) each."""
        op, context, number = part.op, part.comm.context, part.number
        if type(op) is Send:
            return [(part.peer, key(context, self.rank, RECV), number)]
        if type(op) is Recv:
            return [(part.peer, key(context, self.rank, SEND), number)]
        members = part.comm.members
        if op.name not in ROOTED:
            return self.everybody(part)
        root = None if op.root is None else members[op.root]
        if op.name in ("broadcast", "scatter"):
            awaited = [] if root == self.rank else [root]
        else:
            awaited = [m for m in members if m != self.rank] if root == self.rank else []
        return [(m, key(context, -1, NATIVE), number) for m in awaited]

    def everybody(self, part):
        """The needs of a collective that ends only when all members have come."""
        return [
            (m, key(part.comm.context, -1, NATIVE), part.number)
            for m in part.comm.members
            if m != self.rank
        ]

    def block(self, waiting):
        """This thread is about to wait for `waiting`: something with needs(guard) and in_words()."""
        self.blocked[threading.get_ident()] = waiting
        self.board.bump(self.rank)
        if self.broken:  # looked at after it is known that this thread waits
            self.unblock()
            raise Broken(self.broken)

    def unblock(self):
        """This thread goes on."""
        self.blocked.pop(threading.get_ident(), None)
        self.board.bump(self.rank)

    @contextmanager
    def not_counted(self):
        """A context for a thread that will not post by itself; afterwards another thread may get its number."""
        ident = threading.get_ident()
        self.idle.add(ident)
        try:
            yield
        finally:
            self.idle.discard(ident)

    def snapshot(self):
        """Where every thread of this rank is: (version, {thread: (needs, words, lines)}).

        needs is None for a thread that runs. The version is read first: what changes afterwards changes
        the version.
        """
        version, blocked, threads = self.board.version(self.rank), dict(self.blocked), {}
        for ident, lines in all_stacks().items():
            if ident == self.control or (ident in self.idle and ident not in blocked):
                continue
            waiting = blocked.get(ident)
            needs, words = (
                (None, None) if waiting is None else (waiting.needs(self), waiting.in_words())
            )
            threads[ident] = (needs, words, lines)
        return version, threads

    def _place(self, place):
        cell = self._places[place] = self.board.file_index(self.rank, place[0]) << 32 | place[1]
        return cell

    def _other_place(self, rank, cell):
        return self.board.file_name(rank, cell >> 32), cell & 0xFFFFFFFF

    def _disagree(self, sending, peer, number, told, place, other):
        sides = [
            (self.rank, "sends" if sending else "expects", spell(told), place),
            (
                peer,
                "expects" if sending else "sends",
                spell(other[1:6]),
                self._other_place(peer, other[6]),
            ),
        ]
        source, to = sides if sending else sides[::-1]
        self._raise("message", number, source, to)

    def _disagree_native(self, member, number, told, place, other):
        sides = [
            (self.rank, "calls", spell_native(told), place),
            (member, "calls", spell_native(other[1:6]), self._other_place(member, other[6])),
        ]
        self._raise("collective", number, *sorted(sides))

    def _raise(self, what, number, one, two):
        self.report(what, number, one, two)
        self.broken = "ranks disagree"  # what this rank would post now no longer fits what the others wait for
        raise MismatchError(
            f"{what} {number}: rank {one[0]} {one[1]} {one[2]}, but rank {two[0]} {two[1]} {two[2]}",
            ranks=(one[0], two[0]),
        )
