"""Which library carries the messages of a World?

    every rank can have a GPU, and torch has NCCL   "nccl"   NCCL between GPUs, gloo in memory
    otherwise                                       "gloo"   gloo alone; ranks compute on the CPU

choose() is a function of the machine and of what was asked for; look() describes the machine. NCCL
refuses two ranks on one GPU, so on a machine with three GPUs a World of four ranks uses gloo.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist

BACKENDS = ("gloo", "nccl")


class Machine(NamedTuple):
    """What matters of a machine: is torch built for CUDA, how many GPUs are there, has it NCCL?"""

    cuda: bool
    gpus: int
    nccl: bool


def look():
    """The Machine that this process runs on.

    Counts GPUs through the driver's own library, so that CUDA does not start in this process.
    """
    cuda = torch.backends.cuda.is_built()
    gpus = torch.cuda.device_count() if cuda else 0
    return Machine(cuda, gpus, dist.is_available() and dist.is_nccl_available())


def choose(world_size, machine, wanted=None):
    """ "gloo" or "nccl" for a World of this size.

    wanted: one of them to insist on it, None for the best. Raises ValueError for another name and,
    with the remedy, if NCCL is wanted and impossible.
    """
    if wanted not in (None, *BACKENDS):
        raise ValueError(
            f'backend is "gloo", "nccl", or None for the best that this machine has, not {wanted!r}'
        )
    obstacle = _obstacle(world_size, machine)
    if wanted == "nccl" and obstacle:
        raise ValueError(
            f'World({world_size}, backend="nccl") needs a GPU for each rank: {obstacle}'
        )
    return "gloo" if wanted == "gloo" or obstacle else "nccl"


def _obstacle(world_size, machine):
    """Why NCCL is impossible, and what helps; "" if it is possible."""
    gloo = f"World({world_size}) runs on the CPU, over gloo"
    if not machine.cuda:
        return (
            "this torch is built for the CPU alone, and sees 0 GPUs. Install a torch that is built"
            f" for CUDA on a machine with {_gpus(world_size)}; without, {gloo}"
        )
    verb = "is" if machine.gpus == 1 else "are"
    there = f"there {verb} {_gpus(machine.gpus)}"
    if not machine.nccl:
        return f"{there}, but this torch comes without NCCL. {gloo}"
    if machine.gpus < world_size:
        smaller = f'World({machine.gpus}, backend="nccl") fits here, and ' if machine.gpus else ""
        return f"{there}, and NCCL refuses two ranks on one. {smaller}{gloo}"
    return ""


def _gpus(count):
    return "1 GPU" if count == 1 else f"{count} GPUs"
