"""How soon is it known that a kernel has died?  nbval waits until the cell's time is over; this looks each half second.

in_kernel.py puts this file, as conftest.py, beside the notebook that it runs. It knows nothing of minidl, whose import
would cost a second.
"""

import time
from queue import Empty

from nbval.kernel import RunningKernel

LOOK = 0.5  # seconds between two looks
ask = RunningKernel.get_message


def get_message(self, stream, timeout=None):
    """A message of the kernel. Raises Empty when the time is over, and as soon as there is no kernel any more."""
    if stream != "shell" or timeout is None:
        return ask(self, stream, timeout)
    deadline = time.monotonic() + timeout
    while True:
        try:
            return ask(self, stream, max(min(LOOK, deadline - time.monotonic()), 0))
        except Empty:
            if time.monotonic() >= deadline or not self.is_alive():
                raise


RunningKernel.get_message = get_message
