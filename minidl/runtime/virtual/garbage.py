"""When is Python's garbage collected around virtual runs? Never within one, and then if it is due.

A run makes millions of small objects that all stay, and looking through them takes as long as the
run. Afterwards they count as old, which Python looks through only when there are many of them.
"""

import gc
from contextlib import contextmanager


class Unseen:
    """The objects that runs left in the oldest generation, where no collection has seen them."""

    fewest = 100_000  # a full collection is not worth its time for fewer
    count = 0
    survivors = 0  # of the last full collection

    def collect_if_due(self):
        """Collect all garbage if a quarter of all objects is unseen: Python's rule, for runs."""
        if self.count > max(self.fewest, self.survivors / 4):
            gc.collect()
            self.survivors = len(gc.get_objects())
            self.count = 0


unseen = Unseen()


@contextmanager
def without_garbage_collection():
    """Run the block without a look at its objects: a record grows by millions, none of it garbage.

    Earlier records that nothing refers to any more are collected before the block, if they are
    many.
    """
    enabled = gc.isenabled()
    if enabled:
        unseen.collect_if_due()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            unseen.count += gc.get_count()[0]
            gc.freeze()  # all of it is old now: no look at what is young goes through it
            gc.unfreeze()
            gc.enable()
