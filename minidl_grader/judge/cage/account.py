"""What a rank has under way in one run, seen from the judge: one Account for all its threads.

Everything that a rank sends is looked at before it is used. What does not fit is Rogue and ends the
rank.
"""

import time

GRACE = 0.25  # seconds
MOST_OPS = 400_000  # sends and receives of one rank in one run
MOST_BYTES = 1 << 30  # in them


class Rogue(Exception):
    """A rank sent something that its Comm never sends."""


class Account:
    """What a rank has under way in one run.

    company  the accounts of all ranks of this run; empty once they have been given their last time
    meters   None, or the ToldMeters of a metered run
    comms    {number that the rank gave it: Comm};  works, jobs: the same for what it started
    numbers  {posting: number of its work}, the other way round
    lanes    {lane's name: its number}
    settled  has its main thread said how the call ended, or that it has unwound?
    trouble  None, or what ended it from outside: "late", "died", "rogue"
    """

    def __init__(self, process, cells, company, meters=None):
        self.process = process
        self.cells = cells
        self.company = company
        self.meters = meters
        self.comms = {}
        self.works = {}
        self.jobs = {}
        self.numbers = {}
        self.lanes = {}
        self.ops = 0
        self.nbytes = 0
        self.settled = False
        self.trouble = None

    def grace(self):
        """One rank has used up the time: ranks that are done get a moment to say so.

        Once in a run.
        """
        deadline = time.monotonic() + GRACE
        for other in self.company:
            other.process.limit(deadline)
        self.company.clear()  # all accounts share this list

    def add(self, kind, number, value):
        """Note something under a number that the rank chose, which must be new."""
        if whole(number) in kind:
            raise Rogue("a number is used twice")
        kind[number] = value

    def known(self, kind, number):
        """What the rank calls by this number."""
        if type(number) is not int or number not in kind:
            raise Rogue("a number that stands for nothing")
        return kind[number]

    def charge(self, nbytes):
        """Count an op against what one run may use."""
        self.ops += 1
        self.nbytes += nbytes
        if self.ops > MOST_OPS or self.nbytes > MOST_BYTES:
            limit = f"{MOST_OPS:,} sends and receives, or {MOST_BYTES >> 30} GB"
            raise Rogue(f"more than {limit}, in one run")


def whole(value):
    """The value, if it is an integer that JSON carries exactly. A bool is not."""
    if type(value) is not int or not -(1 << 53) < value < 1 << 53:
        raise Rogue("a value that is not an integer")
    return value
