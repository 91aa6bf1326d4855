"""When did a GPU do it? The program only hands work over, and runs ahead of it.

    program   launch forward . launch backward . Send |........ wait ........|          these clocks would say
    GPU                 | forward           | backward          | transfer  |           that forward took no time

So a moment is an event on a stream: the GPU notes the time when it gets there. Pairs of events are seconds once the
GPU has passed both; `begin` ties its clock to the run's. Left out: what is sent (nccl.py), and which moments are of
interest (record.py).
"""

import torch


class Moment:
    """A point on the GPU's time; where the GPU never got there, the time when the program asked."""

    __slots__ = ("event", "asked")

    def __init__(self, event, asked):
        self.event, self.asked = event, asked

    def over(self):
        """Has the GPU passed it?"""
        return self.event.query()


class Gpu:
    """The GPU of this rank, cuda:`index`. `cuda` stands in for torch.cuda in tests."""

    def __init__(self, index, now, cuda=torch.cuda):
        self.device, self.cuda, self.now = torch.device("cuda", index), cuda, now
        self.adopt()
        self.begin()

    def adopt(self):
        """New tensors of this thread on "cuda" go to this GPU: every thread has to say so for itself."""
        self.cuda.set_device(self.device)

    def begin(self):
        """A new run: from here on, moments are seconds of its clock."""
        self.cuda.synchronize(self.device)
        self.zero = self.mark()
        self.cuda.synchronize(self.device)
        self.zero.asked = self.now()  # the GPU had nothing else to do: it noted the time just now

    def finish(self):
        """Wait for all that the GPU was given; raises what it has failed at."""
        self.cuda.synchronize(self.device)

    def mark(self):
        """The Moment when the GPU has done all that this thread's stream was given up to here."""
        event = self.cuda.Event(enable_timing=True)
        event.record(self.cuda.current_stream(self.device))
        return Moment(event, self.now())

    def seconds(self, moment):
        """A Moment as seconds since the run began; anything else as it is."""
        if type(moment) is not Moment:
            return moment
        try:
            if not moment.over():
                return moment.asked
        except RuntimeError:  # a GPU that has failed tells no times
            return moment.asked
        return (
            self.zero.asked + self.zero.event.elapsed_time(moment.event) / 1e3
        )  # elapsed_time is in milliseconds

    def beside(self):
        """A context manager: what this thread launches inside goes to a stream of its own."""
        return self.cuda.stream(self.cuda.Stream(self.device))

    def after(self, moment):
        """What this thread's stream is given from here on begins after the Moment."""
        self.cuda.current_stream(self.device).wait_event(moment.event)

    def stream(self):
        """The stream of this thread."""
        return self.cuda.current_stream(self.device)


def settle(rows, columns, gpu):
    """Turn the Moments in these columns of the rows into seconds.

    columns: (posted, waited, done). A transfer that was over before anybody waited for it was waited for in no time.
    """
    posted, waited, done = columns
    for row in rows:
        row[posted], row[waited], row[done] = (gpu.seconds(row[column]) for column in columns)
        if row[done] is not None and row[waited] is not None:
            row[done] = max(row[done], row[posted])
            row[waited] = min(max(row[waited], row[posted]), row[done])
