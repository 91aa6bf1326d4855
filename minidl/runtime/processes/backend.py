"""Which library carries the messages of a World?

    every rank can have a GPU of its own, and torch has NCCL     "nccl"    NCCL between GPUs, gloo between memories
    otherwise                                                    "gloo"    gloo alone; ranks compute on the CPU

choose() is a function of what there is and what was asked for; look() finds out what there is. NCCL refuses two ranks
on one GPU, so a machine with three GPUs gives a World of four ranks none.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist

BACKENDS = ("gloo", "nccl")


class Machine(NamedTuple):
    """What matters of a machine: is torch built for CUDA, how many GPUs does it see, has it NCCL?"""

    cuda: bool
    gpus: int
    nccl: bool


def look():
    """The Machine that this process runs on. Counts GPUs through the driver's own library, so that CUDA does not start here."""
    cuda = torch.backends.cuda.is_built()
    return Machine(
        cuda,
        torch.cuda.device_count() if cuda else 0,
        dist.is_available() and dist.is_nccl_available(),
    )


def choose(world_size, machine, wanted=None):
    """ "gloo" or "nccl" for a World of this size. wanted: one of them to insist on it, None to take the best.

    Raises ValueError for another name, and, with the remedy, where NCCL is wanted and impossible.
    """
    if wanted not in (None, *BACKENDS):
        raise ValueError(
            f'backend is "gloo", "nccl", or None for the best that this machine has, not {wanted!r}'
        )
    trouble = _trouble(world_size, machine)
    if wanted == "nccl" and trouble:
        raise ValueError(
            f'World({world_size}, backend="nccl") needs a GPU for each rank: {trouble}'
        )
    return "gloo" if wanted == "gloo" or trouble else "nccl"


def _trouble(world_size, machine):
    """What stands in the way of NCCL, and what helps; "" if nothing does."""
    gloo = f"World({world_size}) runs on the CPU, over gloo"
    if not machine.cuda:
        return (
            "this torch is built for the CPU alone, and sees 0 GPUs. Install a torch that is built for CUDA on a machine "
            f"with {_gpus(world_size)}; without, {gloo}"
        )
    if machine.gpus < world_size:
        fewer = (
            f'World({machine.gpus}, backend="nccl") fits here, and '
            if machine.gpus and machine.nccl
            else ""
        )
        return f"there {'is' if machine.gpus == 1 else 'are'} {_gpus(machine.gpus)}, and NCCL refuses two ranks on one. {fewer}{gloo}"
    if not machine.nccl:
        return f"there are {_gpus(machine.gpus)}, but this torch comes without NCCL. {gloo}"
    return ""


def _gpus(count):
    return f"{count} GPU{'s' * (count != 1)}"
