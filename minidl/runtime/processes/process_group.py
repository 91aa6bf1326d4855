"""The backend's own collectives, called on a process group."""

from datetime import timedelta

import torch
from torch._C import _distributed_c10d as dist

FOREVER = timedelta(
    days=10
)  # time-out of a process group; the world's `timeout` comes long before it


def reduce_op(name):
    """torch's ReduceOp for "sum", "product", "min" or "max"."""
    ops = {
        "sum": dist.ReduceOp.SUM,
        "product": dist.ReduceOp.PRODUCT,
        "min": dist.ReduceOp.MIN,
        "max": dist.ReduceOp.MAX,
    }
    if name not in ops:
        raise ValueError(f"op must be one of {', '.join(ops)}, not {name!r}")
    return ops[name]


def _options(kind, op):
    options = kind()
    if hasattr(options, "reduceOp"):
        options.reduceOp = reduce_op(op.op)
    if op.root is not None and hasattr(options, "rootRank"):
        options.rootRank = op.root
    return options


def run_native(group, op, rank, world_size):
    """Start the collective `op` (a comm.Native) on `group`; returns (its work, the tuple of results)."""
    x = None if op.tensor is None else op.tensor.detach()
    name = op.name
    if name == "barrier":
        options = dist.BarrierOptions()
        options.device = torch.device("cpu")  # by gloo, where a group has NCCL as well
        return group.barrier(options), ()
    if name == "all_reduce":
        return group.allreduce([x], _options(dist.AllreduceOptions, op)), (x,)
    if name == "reduce":
        return group.reduce([x], _options(dist.ReduceOptions, op)), (x,)
    if name == "broadcast":
        return group.broadcast([x], _options(dist.BroadcastOptions, op)), (x,)
    if name == "all_gather":
        output = (
            x.new_empty((world_size * x.shape[0], *x.shape[1:])) if op.output is None else op.output
        )
        return group._allgather_base(output, x.contiguous(), dist.AllgatherOptions()), (output,)
    if name == "reduce_scatter":
        if x.shape[0] % world_size:
            raise ValueError(f"{x.shape[0]} rows do not split over {world_size} ranks")
        output = (
            x.new_empty((x.shape[0] // world_size, *x.shape[1:]))
            if op.output is None
            else op.output
        )
        return group._reduce_scatter_base(
            output, x.contiguous(), _options(dist.ReduceScatterOptions, op)
        ), (output,)
    if name == "all_to_all":
        if x.shape[0] % world_size:
            raise ValueError(f"{x.shape[0]} rows do not split over {world_size} ranks")
        output = torch.empty_like(x) if op.output is None else op.output
        return group.alltoall_base(output, x.contiguous(), [], [], dist.AllToAllOptions()), (
            output,
        )
    return _rooted(group, op, x, rank, world_size)


def _rooted(group, op, x, rank, world_size):
    if op.name == "gather":
        parts = [torch.empty_like(x) for _ in range(world_size)] if rank == op.root else None
        work = group.gather([parts] if parts else [], [x], _options(dist.GatherOptions, op))
        return work, tuple(parts or ())
    if op.name == "scatter":
        output = op.output if op.output is not None else torch.empty_like(x[0])
        parts = [[part.contiguous() for part in x]] if rank == op.root else []
        return group.scatter([output], parts, _options(dist.ScatterOptions, op)), (output,)
    raise ValueError(f"unknown native collective {op.name!r}")
