"""ZeRO stage 3, or FSDP: parameters are sharded, too, and gathered when they are used.

    forward    | gather 0 | unit 0 | gather 1 | unit 1 |
    backward   | gather 1 | unit 1 | reduce 1 | gather 0 | unit 0 | reduce 0 |

A rank holds its shards of everything, and the parameters of the unit that computes. That costs
three times the parameters in messages: gathered, gathered again, reduce-scattered. Rajbhandari et
al. 2020, "ZeRO", sec. 5.3 and 7.2.2; Zhao et al. 2023, "PyTorch FSDP", sec. 3.2.
"""

from contextlib import contextmanager

import torch
from torch.utils._pytree import tree_leaves

from minidl.collectives import ring
from minidl.parallel.gradient_queue import GradientQueue
from minidl.parallel.lifecycle import Lifecycle
from minidl.parallel.protocol import Hook, ParallelModel, in_backward
from minidl.parallel.saved import packing
from minidl.parallel.sharded import Sharded


class ShardedLinear(torch.autograd.Function):
    """The linear layer of textbook_zero3_linear, for autograd. dy: the output's gradient."""

    @staticmethod
    def forward(ctx, x, shard, comm):
        """x: (rows, n), shard: (n * m / N,) -> (rows, m)"""
        weight = ring.all_gather(shard, comm).view(x.shape[-1], -1)  # (n, m); freed on return
        ctx.save_for_backward(x, shard)
        ctx.comm = comm
        return x @ weight

    @staticmethod
    def backward(ctx, dy):
        """dy: (rows, m) -> the gradients of x and of the shard, which is the mean over ranks."""
        x, shard = ctx.saved_tensors
        weight = ring.all_gather(shard, ctx.comm).view(x.shape[-1], -1)
        dweight = x.T @ dy  # (n, m), of this rank's rows
        dshard = ring.reduce_scatter(dweight.flatten(), ctx.comm) / ctx.comm.world_size
        return dy @ weight.T, dshard, None  # of x, shard and comm


def textbook_zero3_linear(x, shard, comm):
    """x @ W, where each rank keeps 1 / N of W; the shard's gradient is the mean over ranks.

    x: (rows, n), shard: (n * m / N,) -> (rows, m). Nothing of W is kept between the passes.
    """
    return ShardedLinear.apply(x, shard, comm)


# Modules that hold others and are never called.
LISTS = (
    torch.nn.ModuleList,
    torch.nn.ModuleDict,
    torch.nn.ParameterList,
    torch.nn.ParameterDict,
)


class Zero3(Sharded):
    """The model with optimizer state, gradients and parameters sharded.

        zero = Zero3(model, comm, torch.optim.AdamW)
        loss_of(zero(x), y).backward()
        zero.step()

    prefetch: while a unit computes, the next one is gathered, in the order of the last step: one
    unit more in memory, and less waiting. Each forward and backward pass sends 3 (N - 1) / N times
    the parameters, and once more for a unit that is used outside of its own forward pass. All ranks
    must use the same units in the same order. Between passes a parameter has a shape and no values,
    and to read one raises RuntimeError: see gathered(). Raises ValueError for a unit that cannot be
    called, such as a ModuleList. Other arguments as those of Sharded.
    """

    keeps_whole = False

    def __init__(self, model, comm, make_optimizer, *, prefetch=True, **how):
        super().__init__(model, comm, make_optimizer, **how)
        for unit in self.units:
            if isinstance(unit.module, LISTS):
                raise ValueError(
                    f"{unit.name} is a {type(unit.module).__name__}, which is never called, "
                    "so it would never be gathered; let is_unit choose its entries"
                )
        self.life = Lifecycle(self.units, comm, self.all_gather, prefetch)
        self.gradients = GradientQueue(
            self.units,
            comm,
            self.reduce_scatter,
            # The backward pass of a unit is over when it has all its gradients.
            when_complete=self.life.backward_ends,
            when_over=self.life.backward_pass_ends,
        )
        self.hooks += self.gradients.hooks
        for unit in self.units:
            before = Hook(self.before_forward, unit)
            after = Hook(self.after_forward, unit)
            self.hooks.append(unit.module.register_forward_pre_hook(before))
            # Always, so that a unit is freed after an error, too.
            self.hooks.append(unit.module.register_forward_hook(after, always_call=True))

    def forward(self, *args, **kwargs):
        """The model's own forward pass, each unit gathered when it computes."""
        with self.life.forward_pass(), packing(self.life):
            # Not as Sharded does it: a unit's parameters are ordinary ones while it is whole.
            return ParallelModel.forward(self, *args, **kwargs)

    def before_forward(self, unit, module, args):
        """A hook: gather the unit."""
        self.life.forward_begins(unit)

    def after_forward(self, unit, module, args, output):
        """A hook: free the unit, and gather it again when a gradient of its output is there."""
        self.life.forward_ends(unit)
        # The output may be a dict or nested tuples. Its tensors get gradients in the backward pass.
        for tensor in tree_leaves(output):
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                tensor.register_hook(lambda gradient: self.life.backward_begins(unit))

    def synchronise(self):
        """Every rank has its shard of the mean gradient, and only shards of parameters."""
        self.compare_steps()
        self.gradients.finish()
        self.life.step_ends()
        self.n_synchronised += 1

    def reset(self):
        """An error has ended a step: nothing is under way, and all units are sharded."""
        self.life.reset()
        super().reset()

    def share_parameters(self):
        """Nothing to do: each unit is gathered when it is used."""

    def refresh(self):
        """Nothing to do, for the same reason."""

    @contextmanager
    def gathered(self):
        """A context: the model has whole parameters. What all ranks write into them stays.

        All ranks must enter it. Each rank holds the whole model inside, and more than that if it
        keeps a view of a parameter. Raises RuntimeError within a pass.
        """
        if self.life.passing or in_backward():
            raise RuntimeError("gathered() is for the time between two passes, and one is running")
        for unit in self.units:
            unit.hold(unit.gather(self.all_gather, self.comm))
        try:
            yield self.model
        finally:
            self.adopt()
            self.life.step_ends()

    def reach(self, parameter):
        """Gather the unit of a parameter that a pass uses, but not the unit's own forward pass."""
        if not self.life.passing and not in_backward():
            name = self.name_of(parameter)
            raise RuntimeError(
                f"{name} has no values now: Zero3 keeps 1 / {self.comm.world_size} of it on each "
                "rank and gathers it when the model computes. To read or write it, do so within "
                "`with zero.gathered() as model:`, on all ranks; to compute, call zero(x), not a "
                "part of the model"
            )
        self.life.is_used(self.unit_of[parameter])
