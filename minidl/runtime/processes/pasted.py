"""What a script that was pasted from a tutorial calls, and a rank has already or cannot have.

    dist.init_process_group("gloo")   World: this rank has joined, so nothing is left to do
                                      VirtualWorld: there is no such group, and what to use instead
    dist.destroy_process_group()      World: the group stays, for the next run
    breakpoint(), pdb.set_trace()     a rank has no keyboard, and what to do instead
    input()                           the same
    display(x)                        prints x
    %time f(), !ls, get_ipython()     Jupyter's own, and what to use instead

A World's ranks also have RANK, LOCAL_RANK and WORLD_SIZE in their environment, as under torchrun.
"""

import builtins
import functools
import inspect
import os
import pdb
import sys
from contextlib import ExitStack

import torch.distributed as dist
from torch.distributed import destroy_process_group, distributed_c10d, init_process_group


def torchrun_environment(rank, world_size):
    """What torchrun tells a process of one machine."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "29500",  # torch's own choice; the ranks have met already, and elsewhere
    }


def prepare_process(rank, world_size):
    """Make this process, a rank of a World, ready for such a script."""
    os.environ.update(torchrun_environment(rank, world_size))

    @functools.wraps(init_process_group)
    def join(*args, **kwargs):
        if not dist.is_initialized():
            return init_process_group(*args, **kwargs)
        given = inspect.signature(init_process_group).bind(*args, **kwargs).arguments
        _check_joining(given, rank, world_size)

    @functools.wraps(destroy_process_group)
    def leave(group=None):
        # The group of all ranks belongs to the World, which needs it in the next run.
        if group is not None and group is not dist.group.WORLD:
            destroy_process_group(group)

    for module in dist, distributed_c10d:
        module.init_process_group = join
        module.destroy_process_group = leave
    sys.breakpointhook = _no_keyboard("breakpoint()", lambda: rank)
    pdb.set_trace = _no_keyboard("pdb.set_trace()", lambda: rank)
    builtins.input = _no_keyboard("input()", lambda: rank)
    builtins.display = _display

    def get_ipython():
        # A NameError, as scripts take it for the sign that they run outside of a notebook.
        raise NameError(
            f"rank {rank} is a process without IPython, so lines that begin with % or ! do not "
            "work on it: use time.perf_counter() for %time, subprocess.run([...]) for !, or put "
            "the line into a cell without %%ranks"
        )

    builtins.get_ipython = get_ipython


def _display(*values, **_):
    """Jupyter's display, where lines of text are all that can be shown."""
    for value in values:
        print(repr(value))


def _check_joining(given, rank, world_size):
    """Raise ValueError if what is given to init_process_group differs from what this rank has."""
    own = dist.get_backend()
    wanted = given.get("backend") or own
    remedy = "Leave the call out, or give it what this World has."
    if given.get("world_size", -1) not in (-1, world_size):
        raise ValueError(
            f"rank {rank} belongs to a World of {world_size} ranks, not of {given['world_size']}. "
            f"{remedy}"
        )
    if given.get("rank", -1) not in (-1, rank):
        raise ValueError(
            f"rank {rank} of this World joins as rank {given['rank']}: comm.rank is its number. "
            f"{remedy}"
        )
    if not _backends(wanted) & _backends(own):
        raise ValueError(
            f"the ranks of this World have joined already, by {own} and not by {wanted}. {remedy}"
        )


def _backends(names):
    """{"gloo", "nccl"} of "cpu:gloo,cuda:nccl"."""
    return {name.split(":")[-1] for name in str(names).lower().split(",")}


def _no_keyboard(call, rank_of_thread, original=None):
    """A function that says why a rank cannot do this; threads that are no rank call `original`."""

    def refuse(*args, **kwargs):
        """Raise RuntimeError in words on a rank."""
        rank = rank_of_thread()
        if rank is None:
            return original(*args, **kwargs)
        raise RuntimeError(
            f"rank {rank} has no keyboard, so {call} cannot wait for you. print() what you want to "
            "see (the lines of each rank are shown apart), or call the parts of your function in a "
            "cell of their own"
        )

    return refuse


def virtual_ranks(rank_of_thread):
    """A context in which the ranks of a VirtualWorld are told what they cannot do.

    rank_of_thread() is the rank that the calling thread belongs to, or None.
    """

    @functools.wraps(init_process_group)
    def join(*args, **kwargs):
        rank = rank_of_thread()
        if rank is None:
            return init_process_group(*args, **kwargs)
        raise RuntimeError(
            f"rank {rank} of a VirtualWorld is a thread, and torch.distributed has one process "
            "group for a process. Leave init_process_group out and use `comm`: comm.send, "
            'comm.recv, comm.native("all_reduce", x). Or run the function in a World, whose ranks '
            "are processes that have joined already"
        )

    hook = _no_keyboard("breakpoint()", rank_of_thread, sys.breakpointhook)
    trace = _no_keyboard("pdb.set_trace()", rank_of_thread, pdb.set_trace)
    stack = ExitStack()
    for owner, name, value in (
        (dist, "init_process_group", join),
        (distributed_c10d, "init_process_group", join),
        (sys, "breakpointhook", hook),
        (pdb, "set_trace", trace),
    ):
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)
    return stack
