"""The same Comm for a script that torchrun started: one process per rank, on one machine or many.

    torchrun --nproc-per-node 4 train.py                  # in train.py: comm = minidl.init()

No kernel watches the ranks: `timeout` ends a wait that cannot end otherwise, and torch.distributed
alone decides what happens on a mismatch. Everything else is as in a World.
"""

import atexit

from minidl.runtime.comms.record import event_rows
from minidl.runtime.processes import joining
from minidl.runtime.processes.gloo import DistributedComm
from minidl.runtime.words.sources import trace_of

_comm = None  # the Comm of this process, once there is one


class ScriptComm(DistributedComm):
    """A Comm that can show what this rank has done so far."""

    @property
    def trace(self):
        """The Trace of this rank's own events."""
        node = self.node
        return trace_of(node.world_size, {node.rank: (*event_rows(node.record), None)})


def init(timeout=300):
    """The Comm of this process, which torchrun started; joins the other ranks first.

    timeout: seconds after which a wait gives up. Called again, it returns the same Comm: two would
    use the same tags, and their messages could mix. Raises MinidlError outside of torchrun.
    """
    global _comm
    if _comm is None:
        node = joining.join_script(timeout, _print_progress)
        atexit.register(joining.leave_script, node)
        _comm = ScriptComm(node, range(node.world_size))
    return _comm


def _print_progress(i, n):
    print(f"step {i} of {n}", flush=True)
