"""The backend's own collectives, called on a process group."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch._C import _distributed_c10d as dist

OPS = ("sum", "product", "min", "max")
# Time-out of a process group; the world's own `timeout` ends a run long before it.
FOREVER = timedelta(days=10)


@dataclass(slots=True)
class Native:
    """A collective that the backend brings along, such as gloo's own all_reduce.

    name    one of trace.COLLECTIVES
    tensor  what this rank contributes; None for ranks that contribute nothing
    output  where the result goes; in place (`tensor`) for all_reduce, reduce and broadcast
    root    for reduce, broadcast, gather and scatter
    op      "sum", "product", "min" or "max"
    """

    name: str
    tensor: torch.Tensor | None = None
    output: Any = None
    root: int | None = None
    op: str = "sum"

    sends = False

    @property
    def kind(self):
        """The kind of event that it is in the record."""
        return self.name


def reduce_op(name):
    """torch's ReduceOp for "sum", "product", "min" or "max"."""
    if name not in OPS:
        raise ValueError(f"op must be one of {', '.join(OPS)}, not {name!r}")
    return getattr(dist.ReduceOp, name.upper())


def _options(kind, op):
    options = kind()
    if hasattr(options, "reduceOp"):
        options.reduceOp = reduce_op(op.op)
    if op.root is not None and hasattr(options, "rootRank"):
        options.rootRank = op.root
    return options


def _shape_of_output(name, shape, world_size):
    """The shape of what a rank gets that gives a tensor of this shape."""
    rows, *rest = shape
    if name == "all_gather":
        return rows * world_size, *rest
    if name == "reduce_scatter":
        return rows // world_size, *rest
    return rest if name == "scatter" else shape


def run_native(group, op, rank, world_size):
    """Start the collective `op`, a Native, on `group`; returns (its work, a tuple of results)."""
    x = None if op.tensor is None else op.tensor.detach()
    output = op.output
    name = op.name
    if name == "barrier":
        options = dist.BarrierOptions()
        options.device = torch.device("cpu")  # by gloo, also where a group has NCCL
        return group.barrier(options), ()
    if name == "all_reduce":
        return group.allreduce([x], _options(dist.AllreduceOptions, op)), (x,)
    if name == "reduce":
        return group.reduce([x], _options(dist.ReduceOptions, op)), (x,)
    if name == "broadcast":
        return group.broadcast([x], _options(dist.BroadcastOptions, op)), (x,)
    if name == "gather":
        parts = [torch.empty_like(x) for _ in range(world_size)] if rank == op.root else []
        outputs = [parts] if parts else []
        return group.gather(outputs, [x], _options(dist.GatherOptions, op)), tuple(parts)
    if name in ("reduce_scatter", "all_to_all") and len(x) % world_size:
        raise ValueError(f"{len(x)} rows do not split over {world_size} ranks")
    if output is None:
        output = x.new_empty(_shape_of_output(name, x.shape, world_size))
    if name == "all_gather":
        return group._allgather_base(output, x.contiguous(), dist.AllgatherOptions()), (output,)
    if name == "reduce_scatter":
        options = _options(dist.ReduceScatterOptions, op)
        return group._reduce_scatter_base(output, x.contiguous(), options), (output,)
    if name == "all_to_all":
        options = dist.AllToAllOptions()
        return group.alltoall_base(output, x.contiguous(), [], [], options), (output,)
    if name == "scatter":
        parts = [[part.contiguous() for part in x]] if rank == op.root else []
        return group.scatter([output], parts, _options(dist.ScatterOptions, op)), (output,)
    raise ValueError(f"unknown native collective {name!r}")
