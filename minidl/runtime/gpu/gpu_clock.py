"""When did a GPU do it? The program only hands work over, and runs ahead of it.

    program   launch forward . launch backward . Send |........ wait ........|
    GPU                 | forward           | backward          | transfer  |

By the program's clock, forward took no time. So a moment is an event on a stream: the GPU notes the
time when it gets there. Two events are seconds apart once the GPU has passed both; `begin` ties its
clock to the run's. Left out: what is sent (nccl.py), and which moments are of interest (record.py).
"""

from dataclasses import dataclass

import torch


@dataclass(slots=True)
class GpuMoment:
    """A point on the GPU's time; if the GPU never got there, the time when the program asked."""

    event: object
    asked: float  # seconds of the program's clock

    def over(self):
        """Has the GPU passed it?"""
        return self.event.query()


class Gpu:
    """The GPU of this rank, cuda:`index`. `cuda` stands in for torch.cuda in tests."""

    def __init__(self, index, now, cuda=torch.cuda):
        self.device = torch.device("cuda", index)
        self.cuda = cuda
        self.now = now
        self.adopt()
        self.begin()

    def adopt(self):
        """New tensors of this thread on "cuda" go to this GPU. Every thread must call it."""
        self.cuda.set_device(self.device)

    def begin(self):
        """A new run: from now on, moments are seconds of its clock."""
        self.cuda.synchronize(self.device)
        self.zero = self.mark()
        self.cuda.synchronize(self.device)
        self.zero.asked = self.now()  # the GPU had nothing else to do: it noted the time just now

    def finish(self):
        """Wait for all work that the GPU was given; raises the errors of that work."""
        self.cuda.synchronize(self.device)

    def mark(self):
        """The GpuMoment when the GPU has done all that this thread's stream was given so far."""
        event = self.cuda.Event(enable_timing=True)
        event.record(self.stream())
        return GpuMoment(event, self.now())

    def seconds(self, moment):
        """A GpuMoment as seconds since the run began; anything else as it is."""
        if type(moment) is not GpuMoment:
            return moment
        try:
            passed = moment.over()
        except RuntimeError:  # a GPU that has failed has no times
            passed = False
        if not passed:
            return moment.asked
        milliseconds = self.zero.event.elapsed_time(moment.event)
        return self.zero.asked + milliseconds / 1e3

    def beside(self):
        """A context manager: what this thread launches inside goes to a stream of its own."""
        return self.cuda.stream(self.cuda.Stream(self.device))

    def after(self, moment):
        """What this thread's stream is given from now on begins after the GpuMoment."""
        self.stream().wait_event(moment.event)

    def stream(self):
        """The stream of this thread."""
        return self.cuda.current_stream(self.device)


def settle(rows, columns, gpu):
    """Turn the Moments in these columns of the rows into seconds.

    columns: (posted, waited, done). A transfer that was done before the wait for it began, waited
    no time.
    """
    posted, waited, done = columns
    for row in rows:
        for column in columns:
            row[column] = gpu.seconds(row[column])
        if row[done] is not None and row[waited] is not None:
            row[done] = max(row[done], row[posted])
            row[waited] = min(max(row[waited], row[posted]), row[done])
