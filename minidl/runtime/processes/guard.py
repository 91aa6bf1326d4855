"""Before a message is posted: do both sides agree? While a thread waits: for which posts?

    rank 0: publish "message 3 to rank 1: (4,)"       rank 1: publish "message 3 from rank 0: (8,)"
            read rank 1's entry: none yet, so post            read rank 0's: another shape, so raise

gloo kills a receiver whose message is too long and does not report one that is too short, so the
comparison comes first. The waits noted here answer the question "where are you?" (`snapshot`); the
verdict over all ranks is in deadlock.py. Left out: how the bytes travel (gloo.py), and how an entry
on the board is written (descriptions.py).
"""

import threading
import time
from contextlib import contextmanager

from minidl.errors import NotInCell
from minidl.runtime.comms.node import Broken
from minidl.runtime.processes.board import DEPTH, Post
from minidl.runtime.processes.descriptions import (
    NATIVE,
    RECV,
    SEND,
    description,
    key,
    native_description,
)
from minidl.runtime.words.facts import Claim, Whereabouts, disagreement
from minidl.runtime.words.stacks import all_stacks

SLOWEST = 1e-3  # seconds between looks at the board


def paused(slowest=SLOWEST):
    """Yields without end, with a pause before each that grows from 10 us."""
    pause = 1e-5
    while True:
        yield
        time.sleep(pause)
        pause = min(2 * pause, slowest)


def await_event(event, check):
    """Return when a threading.Event is set; `check` raises if it never will be."""
    while not event.wait(0.1):  # short, so that an interrupt is noticed
        check()


class Guard:
    """One rank's side of the board, and the list of its blocked threads.

    report   called with a Disagreement
    active   the ranks that take part in this run; None for all
    broken   why the run has ended, once it has
    blocked  thread -> what it waits for, a PostedOp or a ThreadJob
    idle     threads that only wait for work of their own rank
    control  the thread that answers questions, which is never counted
    """

    def __init__(self, board, rank, report):
        self.board = board
        self.rank = rank
        self.report = report
        self.lock = threading.Lock()
        self.idle = set()
        self.control = None
        self._fence = threading.Lock()
        self.begin(None)

    def begin(self, active):
        """A new run starts on the ranks `active`."""
        self.board.forget()
        self._mine = {}  # (context, peer, sends) -> this rank's BoardChannel
        self._theirs = {}  # the same -> the peer's BoardChannel that answers it
        self.active = active
        self.broken = None
        self.blocked = {}

    def check(self):
        """Raise Broken if the run has ended."""
        if self.broken:
            raise Broken(self.broken)

    # --- Do both sides agree? --------------------------------------------------------------------

    def publish(self, tensor, sends, context, peer, posting):
        """Publish what this rank is about to post and compare with the peer; returns its number.

        Called with `lock` held. Raises MismatchError, NotInCell, or ValueError past DEPTH messages.
        """
        self.check()
        channel = (context, peer, sends)
        mine = self._mine.get(channel) or self._open(*channel)
        number = mine.count()
        ours = description(tensor.shape, tensor.dtype, tensor.is_cuda)
        if number >= DEPTH - 1:
            self._leave_room(number, channel)
        mine.post(number, ours, posting.place, int(posting.time * 1e9))
        with self._fence:
            theirs = self._theirs.get(channel) or self._find(*channel)
            entry = theirs and theirs.read(number)
        if entry is not None and entry.words != ours:
            verb, other_verb = ("sends", "expects") if sends else ("expects", "sends")
            own = Claim(self.rank, verb, ours, posting.place)
            other = Claim(peer, other_verb, entry.words, entry.place)
            self._disagree(disagreement("message", number, own, other))
        return number

    def publish_native(self, op, context, members, place):
        """The same for a native collective: compare with every member that has posted its own."""
        self.check()
        if self.active is not None and not set(members) <= set(self.active):
            raise NotInCell(
                f"{op.name} needs all ranks of its group, but the cell runs on "
                f"{self._active_ranks()} only"
            )
        ours = native_description(op)
        channel = key(context, -1, NATIVE)
        mine = self.board.open(self.rank, channel)
        number = mine.count()
        mine.post(number, ours, place)
        entries = {}
        with self._fence:
            for member in members:
                theirs = self.board.find(member, channel)
                entries[member] = theirs and theirs.read(number)
        for member, entry in entries.items():
            if entry is not None and entry.words != ours:
                own = Claim(self.rank, "calls", ours, place)
                other = Claim(member, "calls", entry.words, entry.place)
                self._disagree(disagreement("collective", number, own, other))
        return number

    def peer_posted(self, part):
        """The second of the run in which the peer posted its side of a message; None if not yet."""
        theirs = self._find(part.on.context, part.peer, part.kind == "send")
        entry = theirs and theirs.read(part.number)
        return entry and entry.nanoseconds * 1e-9

    def _open(self, context, peer, sends):
        if self.active is not None and peer not in self.active:
            raise NotInCell(
                f"rank {peer} is not in this cell: it runs on {self._active_ranks()} only"
            )
        channel = key(context, peer, SEND if sends else RECV)
        mine = self._mine[context, peer, sends] = self.board.open(self.rank, channel)
        return mine

    def _active_ranks(self):
        return f"ranks {', '.join(map(str, self.active))}"

    def _find(self, context, peer, sends):
        """The peer's BoardChannel that answers this one; None before it has posted there."""
        theirs = self.board.find(peer, key(context, self.rank, RECV if sends else SEND))
        if theirs is not None:
            self._theirs[context, peer, sends] = theirs
        return theirs

    def _leave_room(self, number, channel):
        _, peer, sends = channel
        theirs = self._find(*channel)
        if number - (theirs.count() if theirs else 0) >= DEPTH - 1:
            way = f"to rank {peer} that it has not received"
            if not sends:
                way = f"from rank {peer} that it has not sent"
            raise ValueError(
                f"{DEPTH - 1} messages are under way {way}: wait for some of them first"
            )

    def _disagree(self, found):
        self.report(found)
        # What this rank would post now no longer fits what the others wait for.
        self.broken = "ranks disagree"
        raise found.error()

    # --- What must be posted before a wait can end? ----------------------------------------------

    def needs(self, part):
        """What must be posted before this part can end.

        A list of needs; each is a tuple of Posts, any one of which is enough.
        """
        if part.peer >= 0:
            answer = RECV if part.kind == "send" else SEND
            channel = key(part.on.context, self.rank, answer)
            return [(Post(part.peer, channel, part.number),)]
        root = None if part.root is None else part.on.members[part.root]
        if part.kind in ("broadcast", "scatter"):
            return self._posted_by([root], part)
        if part.kind in ("reduce", "gather") and root != self.rank:
            return []
        return self.everybody(part)

    def everybody(self, part):
        """The needs of a collective that ends only when all members have posted it."""
        return self._posted_by(part.on.members, part)

    def _posted_by(self, ranks, part):
        channel = key(part.on.context, -1, NATIVE)
        return [(Post(rank, channel, part.number),) for rank in ranks if rank != self.rank]

    def met(self, needs):
        """Whether all of these needs have been posted."""
        return all(self.board.has_any(need) for need in needs)

    # --- Where is every thread? ------------------------------------------------------------------

    def block(self, waiting):
        """This thread is about to wait for `waiting`, which has needs(guard) and blocked()."""
        self.blocked[threading.get_ident()] = waiting
        self.board.bump(self.rank)
        if self.broken:  # read after the others can see that this thread waits
            self.unblock()
            raise Broken(self.broken)

    def unblock(self):
        """This thread goes on."""
        self.blocked.pop(threading.get_ident(), None)
        self.board.bump(self.rank)

    @contextmanager
    def not_counted(self):
        """A context for a thread that will not post by itself."""
        ident = threading.get_ident()
        self.idle.add(ident)
        try:
            yield
        finally:
            self.idle.discard(ident)  # another thread may get its number

    def snapshot(self):
        """Where every thread of this rank is: (version, {thread: Whereabouts}).

        Their needs are Posts, met or not: see needs(). The version is read first: what changes
        afterwards changes the version.
        """
        version = self.board.version(self.rank)
        blocked = dict(self.blocked)
        threads = {}
        for ident, lines in all_stacks().items():
            waiting = blocked.get(ident)
            if waiting is not None:
                threads[ident] = Whereabouts(waiting.needs(self), waiting.blocked(), lines)
            elif ident != self.control and ident not in self.idle:
                threads[ident] = Whereabouts(None, None, lines)
        return version, threads
