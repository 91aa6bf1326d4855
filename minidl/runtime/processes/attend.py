"""One run, seen from the kernel: hand out the work, gather what comes, notice when it cannot end well.

    ranks --done, failed, output, progress, ...--> Attendance --> results and rows, or what went wrong
                                                       |
                             a rank died?  all doomed?  out of time?  then stop the rest, and say why

The kernel only ever waits on pipes, so Stop always works. This module finds facts; report.py puts
them into words, and world.py starts and repairs the ranks.
"""

import os
import pickle
import time
from multiprocessing.connection import wait

from minidl.runtime.words.deadlock import Need, doomed

TICK = 0.05  # seconds between looks at the board
SLOWEST = 0.5  # the same, once nothing has changed for a while
GRACE = 0.1  # after a first failure, for others to tell theirs
LINK_GRACE = 0.5  # after a broken connection, for its cause to be known
STOP = 1.0  # for a rank to stop when it is told to; then it is killed
ANSWER = 0.3  # for a rank to say where it is


class Attendance:
    """The facts of one run.

    results    rank -> pickled result                  records rank -> (recorded rows, values, what was metered)
    failures   rank -> description of what it raised   lines   rank -> printed lines
    died       rank -> exit code                       killed  ranks that had to be killed to stop them
    mismatch   what two ranks disagree on, or None     stuck   {(rank, thread)} in a certain deadlock
    where      rank -> {thread: (needs, what, lines)}, as last asked     main    rank -> its main thread
    """

    def __init__(self, ranks, board, launcher, timeout, echo, folder):
        self.ranks, self.board, self.launcher, self.echo = ranks, board, launcher, echo
        self._files = {rank: os.path.join(folder, f"rank{rank}.out") for rank in ranks}
        self._sizes = {rank: os.path.getsize(file) for rank, file in self._files.items()}
        self.timeout = timeout
        self.began = time.perf_counter()
        self.pending = set(ranks)
        self.results, self.records, self.failures, self.lines = (
            {},
            {},
            {},
            {rank: [] for rank in ranks},
        )
        self.died, self.killed, self.crashing = {}, [], {}
        self.mismatch, self.stuck, self.timed_out = None, set(), False
        self.where, self.main, self.versions, self._question = {}, {}, {}, 0
        self._failed_at, self._look_at, self._pause = None, self.began + TICK, TICK
        self._last_versions = {}

    @property
    def well(self):
        """Did every rank return, and did they agree on every message? A rank may have caught a MismatchError."""
        return len(self.results) == len(self.ranks) and self.mismatch is None

    @property
    def replaced(self):
        """The ranks that get a new process after this run."""
        return sorted({*self.died, *self.killed})

    def attend(self, interrupts):
        """Wait until the run is over, or has been stopped because it cannot end well or the learner said so."""
        try:
            while self.pending:
                self._listen(self._look_at - time.perf_counter())
                if interrupts.noted:
                    self._stop("interrupted")
                self._look()
        finally:
            self._kill_pending()  # none is left, unless something here went wrong
            self.echo.finish(self.lines)

    def _listen(self, seconds):
        conns = {self.ranks[rank].conn: rank for rank in self.pending}
        for ready in wait([*conns, *self.launcher.waitable()], max(0.0, seconds)):
            if ready in conns:
                self._receive(conns[ready])
        for rank in [r for r in self.pending if self.ranks[r].ended() is not None]:
            while rank in self.pending:  # what it said before it ended
                self._receive(rank)

    def _receive(self, rank):
        try:
            if self.ranks[rank].conn.poll():
                kind, *args = pickle.loads(self.ranks[rank].conn.recv_bytes())
            elif self.ranks[rank].ended() is not None:
                raise EOFError
            else:
                return
        except (EOFError, OSError):
            self._wait_for_end(rank)
            return
        getattr(self, f"_on_{kind}")(rank, *args)

    def _wait_for_end(self, rank):
        deadline = time.perf_counter() + STOP
        while self.ranks[rank].ended() is None and time.perf_counter() < deadline:
            wait(self.launcher.waitable(), 0.05)
        self.pending.discard(rank)
        status = self.ranks[rank].ended()
        self.died[rank] = status
        with open(
            self._files[rank], "rb"
        ) as file:  # what C code wrote, which nobody could send any more
            file.seek(self._sizes[rank])
            self.lines[rank] += file.read(10_000).decode(errors="replace").splitlines()
        self._fail()

    def _on_output(self, rank, lines):
        self.lines[rank] += lines.split("\n")
        self.echo.lines(rank, lines.split("\n"))

    def _on_progress(self, rank, i, n):
        self.echo.progress(rank, i, n)

    def _on_done(self, rank, result, record):
        self.results[rank], self.records[rank] = result, record
        self.pending.discard(rank)

    def _on_failed(self, rank, description, record):
        self.failures[rank], self.records[rank] = description, record
        self.pending.discard(rank)
        self._fail()

    def _on_broken(self, rank, reason, lines, record):
        self.records[rank] = record
        self.pending.discard(rank)

    def _on_mismatch(self, rank, *what):
        self.mismatch = self.mismatch or what
        self._fail()

    def _on_crashing(self, rank, moment, record):
        self.crashing[rank], self.records[rank] = moment, record

    def _on_where(self, rank, question, version, main, threads):
        if question == self._question:
            self.where[rank], self.main[rank], self.versions[rank] = threads, main, version

    def _on_connected(self, rank):
        """A late answer of a repair that was given up."""

    def _fail(self):
        if self._failed_at is None:
            self._failed_at = time.perf_counter()
        self._look_at = min(self._look_at, self._failed_at + TICK)

    def _look(self):
        now = time.perf_counter()
        if not self.pending or now < self._look_at:
            return
        self._look_at = now + TICK
        if self._failed_at is not None:
            certain = (
                self.mismatch
                or self.died
                or any(f["kind"] != "link" for f in self.failures.values())
            )
            if now - self._failed_at >= (GRACE if certain else LINK_GRACE):
                self._stop("another rank failed")
        elif self.timeout is not None and now - self.began > self.timeout:
            self.timed_out = True
            self._stop("out of time")
        elif self._find_deadlock():
            self._stop("deadlock")
        elif self.timeout is not None:
            self._look_at = min(self._look_at, max(now, self.began + self.timeout + 1e-3))

    def _find_deadlock(self):
        versions = {rank: self.board.version(rank) for rank in self.pending}
        still = [rank for rank in versions if versions[rank] == self._last_versions.get(rank)]
        self._pause = min(2 * self._pause, SLOWEST) if len(still) == len(versions) else TICK
        self._last_versions = versions
        if not still:
            return False
        self._look_at += self._pause - TICK
        self._ask_where()
        threads = {rank: self._threads(rank) for rank in self.ranks}
        stuck = doomed(threads)
        if (
            all(self.board.version(rank) == self.versions[rank] for rank, _ in stuck)
            and not self._failed_at
        ):
            self.stuck = stuck
        return bool(self.stuck)

    def _threads(self, rank):
        """rank's threads as deadlock.doomed wants them: thread -> None, or the Needs that are not met."""
        if rank not in self.pending:
            return {}
        if rank not in self.where:
            return {0: None}  # no answer: it computes
        return {t: self.unmet(needs) for t, (needs, _, _) in self.where[rank].items()}

    def unmet(self, needs):
        """The Needs among (rank, key, number) triples that nobody has posted; None for a running thread."""
        if needs is None:
            return None
        return [
            Need(-1, thread=key) if peer is None else Need(peer)
            for peer, key, number in needs
            if peer is None or self.board.count(peer, key) <= number
        ]

    def _ask_where(self):
        self._question += 1
        self.where, asked = {}, list(self.pending)
        for rank in asked:
            self.ranks[rank].send("where", self._question)
        deadline = time.perf_counter() + ANSWER
        while (
            any(r in self.pending and r not in self.where for r in asked)
            and time.perf_counter() < deadline
        ):
            self._listen(deadline - time.perf_counter())

    def _stop(self, reason):
        """Wake and stop every rank that still runs; kill those that do not answer."""
        if not self.stuck:
            self._ask_where()
        for rank in self.pending:
            self.ranks[rank].send("break", reason)
        deadline = time.perf_counter() + STOP
        while self.pending and time.perf_counter() < deadline:
            self._listen(deadline - time.perf_counter())
        self._kill_pending()

    def _kill_pending(self):
        for rank in sorted(self.pending):
            self.ranks[rank].kill()
            self.killed.append(rank)
        self.pending.clear()
