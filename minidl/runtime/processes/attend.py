"""One run, seen from the kernel: gather what ranks report, notice when it cannot end well.

    ranks --done, failed, output, progress, ...--> Attendance --> Facts, and the ranks' records
                                                       |
                         a rank died?  all doomed?  out of time?  then stop the rest, and say why

The kernel only ever waits on pipes, so Stop always works. This module finds the facts; report.py
puts them into words, and world.py starts and repairs the ranks.
"""

import os
import pickle
import time
from multiprocessing.connection import wait

from minidl.runtime.words.deadlock import Need, doomed
from minidl.runtime.words.facts import Facts

TICK = 0.05  # seconds between looks at the board
SLOWEST = 0.5  # the same, once nothing has changed for a while
GRACE = 0.1  # after a first failure, for other ranks to report theirs
LINK_GRACE = 0.5  # after a broken connection, for its cause to be known
STOP = 1.0  # for a rank to stop when it is asked to; then it is killed
ANSWER = 0.3  # for a rank to say where it is


class Attendance:
    """One run on `ranks`, {rank: launch.Rank}.

    facts    what is known of it
    records  rank -> (recorded rows, values, what was metered)
    began    on time.perf_counter(), which all processes share
    """

    def __init__(self, ranks, board, launcher, timeout, echo, folder, on_death):
        self.ranks = ranks
        self.board = board
        self.launcher = launcher
        self.echo = echo
        self.on_death = on_death
        self.facts = Facts(tuple(ranks), timeout)
        self.records = {}
        self.began = time.perf_counter()
        self.pending = set(ranks)
        self.unsound = set()  # ranks that were stopped in the middle of an import
        self._files = {rank: os.path.join(folder, f"rank{rank}.out") for rank in ranks}
        self._sizes = {rank: os.path.getsize(file) for rank, file in self._files.items()}
        self._failed_at = None
        self._look_at = self.began + TICK
        self._pause = TICK
        self._last_versions = {}
        self._question = 0
        self._answers = {}  # rank -> {thread: Whereabouts}, to the last question
        self._versions = {}  # rank -> its version on the board when it answered

    def attend(self, interrupts):
        """Wait until the run has ended, or stop it if it cannot end well or the learner says so."""
        try:
            while self.pending:
                self._listen(self._look_at - time.perf_counter())
                if interrupts.noted:
                    self._stop("interrupted")
                self._look()
        finally:
            self._kill_pending()  # none is left, unless something here went wrong
            self.echo.finish(self.facts.lines)

    # --- What ranks report -----------------------------------------------------------------------

    def _listen(self, seconds):
        conns = {self.ranks[rank].conn: rank for rank in self.pending}
        for ready in wait([*conns, *self.launcher.waitable()], max(0.0, seconds)):
            if ready in conns:
                self._receive(conns[ready])
        for rank in list(self.pending):
            if self.ranks[rank].ended() is not None:
                while rank in self.pending:  # what it reported before it ended
                    self._receive(rank)

    def _receive(self, rank):
        process = self.ranks[rank]
        try:
            if process.conn.poll():
                kind, *args = pickle.loads(process.conn.recv_bytes())
            elif process.ended() is not None:
                raise EOFError
            else:
                return
        except (EOFError, OSError):
            self._wait_for_end(rank)
            return
        getattr(self, f"_on_{kind}")(rank, *args)

    def _wait_for_end(self, rank):
        process = self.ranks[rank]
        deadline = time.perf_counter() + STOP
        while process.ended() is None and time.perf_counter() < deadline:
            wait(self.launcher.waitable(), 0.05)
        self.pending.discard(rank)
        self.facts.died[rank] = process.ended()
        # What C code wrote, which the rank could not send any more.
        with open(self._files[rank], "rb") as file:
            file.seek(self._sizes[rank])
            self.facts.lines[rank] += file.read(10_000).decode(errors="replace").splitlines()
        self.on_death.died(rank, set(self.pending))
        self._fail()

    def _on_output(self, rank, text):
        lines = text.split("\n")
        self.facts.lines[rank] += lines
        self.echo.lines(rank, lines)

    def _on_progress(self, rank, i, n):
        self.echo.progress(rank, i, n)

    def _on_loaded(self, rank, module):
        self.launcher.load(module)

    def _on_unsound(self, rank):
        self.unsound.add(rank)

    def _on_done(self, rank, result, record):
        self.facts.results[rank] = result
        self._ended(rank, record)

    def _on_forgotten(self, rank, places):
        self.facts.forgotten[rank] = places

    def _on_failed(self, rank, failure, record):
        self.facts.failures[rank] = failure
        self._ended(rank, record)
        self._fail()

    def _on_broken(self, rank, record):
        self._ended(rank, record)

    def _ended(self, rank, record):
        self.records[rank] = record
        self.pending.discard(rank)

    def _on_mismatch(self, rank, disagreement):
        self.facts.mismatch = self.facts.mismatch or disagreement
        self._fail()

    def _on_crashing(self, rank, moment, record):
        self.facts.crashing[rank] = moment
        self.records[rank] = record

    def _on_where(self, rank, question, version, main, threads):
        if question == self._question:
            self._answers[rank] = threads
            self._versions[rank] = version
            self.facts.main[rank] = main

    def _on_connected(self, rank):
        """A late answer of a repair that was given up."""

    def _fail(self):
        if self._failed_at is None:
            self._failed_at = time.perf_counter()
        self._look_at = min(self._look_at, self._failed_at + TICK)

    # --- Can it still end well? ------------------------------------------------------------------

    def _look(self):
        facts = self.facts
        now = time.perf_counter()
        if not self.pending or now < self._look_at:
            return
        self._look_at = now + TICK
        if self._failed_at is not None and self._has_failed():
            if now - self._failed_at >= self._grace():
                self._stop("another rank failed")
        elif facts.timeout is not None and now - self.began > facts.timeout:
            facts.timed_out = True
            self._stop("out of time")
        elif self._find_deadlock():
            self._stop("deadlock")
        elif facts.timeout is not None:
            self._look_at = min(self._look_at, max(now, self.began + facts.timeout + 1e-3))

    def _has_failed(self):
        facts = self.facts
        return bool(facts.failures or facts.mismatch or self.on_death.ends_run(facts.died))

    def _grace(self):
        """Seconds to wait after a failure: longer if its cause may still be reported."""
        facts = self.facts
        raised = not all(failure.link for failure in facts.failures.values())
        return GRACE if facts.mismatch or facts.died or raised else LINK_GRACE

    def _find_deadlock(self):
        versions = {rank: self.board.version(rank) for rank in self.pending}
        unchanged = [rank for rank in versions if versions[rank] == self._last_versions.get(rank)]
        all_unchanged = len(unchanged) == len(versions)
        self._pause = min(2 * self._pause, SLOWEST) if all_unchanged else TICK
        self._last_versions = versions
        if not unchanged:
            return False
        self._look_at += self._pause - TICK
        self._ask_where()
        stuck = doomed({rank: self._threads(rank) for rank in self.ranks})
        # A rank that has moved since it answered may have met a need of the others.
        moved = any(self.board.version(rank) != self._versions[rank] for rank, _ in stuck)
        if not moved and not self._has_failed():
            self.facts.stuck = stuck
        return bool(self.facts.stuck)

    def _threads(self, rank):
        """The threads of a rank as deadlock.doomed reads them: thread -> None, or its Needs."""
        if rank not in self.pending:
            return {}
        if rank not in self.facts.where:
            return {0: None}  # no answer: it computes
        return {ident: thread.needs for ident, thread in self.facts.where[rank].items()}

    def _ask_where(self):
        """Ask every rank where its threads are, and note the answers in the facts."""
        self._question += 1
        self._answers = {}
        for rank in self.pending:
            self.ranks[rank].send("where", self._question)
        deadline = time.perf_counter() + ANSWER
        # No rank begins to run meanwhile: those that are pending now were all asked.
        while time.perf_counter() < deadline and not self.pending <= self._answers.keys():
            self._listen(deadline - time.perf_counter())
        # Only now, when all have answered, does the board say which needs are not met: a rank may
        # have posted what another lacked between the two answers.
        self.facts.where = {}
        for rank, threads in self._answers.items():
            own = self.facts.where[rank] = {}
            for ident, thread in threads.items():
                own[ident] = thread._replace(needs=self._unmet(thread.needs))

    def _unmet(self, needs):
        """The Needs among those of a guard that have not been posted; None for a running thread."""
        if needs is None:
            return None
        unmet = []
        for need in needs:
            if isinstance(need, Need):  # the end of a thread, of which the board knows nothing
                unmet.append(need)
            elif not self.board.has_any(need):
                unmet.append(Need(tuple(post.rank for post in need)))
        return unmet

    # --- Stop it ---------------------------------------------------------------------------------

    def _stop(self, reason):
        """Wake and stop every rank that still runs; kill those that do not answer."""
        if not self.facts.stuck:
            self._ask_where()
        for rank in self.pending:
            self.ranks[rank].send("break", reason)
        deadline = time.perf_counter() + STOP
        while self.pending and time.perf_counter() < deadline:
            self._listen(deadline - time.perf_counter())
        self._kill_pending()

    def _kill_pending(self):
        facts = self.facts
        for rank in sorted(self.pending):
            self.ranks[rank].kill()
            facts.killed.append(rank)
        self.pending.clear()
        facts.replaced = sorted({*facts.died, *facts.killed, *self.unsound})
