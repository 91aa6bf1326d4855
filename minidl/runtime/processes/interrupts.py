"""Stop at any moment, and nothing is left half done.

    learner presses Stop -> SIGINT -> noted -> the run is stopped, the ranks are repaired
                                                                       -> KeyboardInterrupt

An exception in the middle of sending a task or of rebuilding connections would leave ranks that
disagree on what follows. So a run notes the signal, reaches its next safe point within half a
second, puts everything in order, and raises at the end.
"""

import signal
import threading


class Interrupts:
    """A context in which SIGINT sets `noted`; if it did, leaving raises KeyboardInterrupt.

    Outside of the main thread Python delivers no signals, and this does nothing.
    """

    def __init__(self):
        self.noted = False
        self._before = None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind, error, traceback):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self.noted:
            raise KeyboardInterrupt from None

    def _note(self, number, frame):
        self.noted = True
