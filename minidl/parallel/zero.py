"""Data parallel training keeps N copies of everything. Which of them does a step really need?

                  parameters   gradients   optimizer state       sent in a step, times the parameters
    data parallel     whole       whole        whole             2      all-reduce
    Zero1             whole       whole        1 / N             2      reduce-scatter, then all-gather of the new parameters
    Zero2             whole       1 / N        1 / N             2      the same, during the backward pass
    Zero3 (FSDP)      1 / N       1 / N        1 / N             3      gather, gather again, reduce-scatter

All compute the same step: the optimizer works on this rank's shard of the parameters, and the shards are put together
when they are needed. With k microbatches a step Zero1 still sends 2, Zero2 k + 1, Zero3 3 k times the parameters.
Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models", sec. 5 and 7.
Left out: optimizers that look at a parameter's shape (a shard is a vector), or leave out one without a gradient (here it is
zero, and weights decay).
"""

import torch
from torch.utils._pytree import tree_leaves, tree_map

from minidl.collectives import ring
from minidl.parallel.data import share_state
from minidl.parallel.units import units_of

UNDER_WAY = (
    3  # units' gradients on their way at most: more would be whole gradients again, in a queue
)


def every_child(name, module):
    """A wrapping policy: each direct child of the model is a unit; of a list of modules, each entry."""
    parent, _, last = name.rpartition(".")
    return (
        not isinstance(module, torch.nn.ModuleList)
        and (parent == "" or last.isdigit())
        and name.count(".") <= 1
    )


BY_SHAPE = tuple(
    getattr(torch.optim, name)
    for name in ("Adafactor", "LBFGS", "Muon")
    if hasattr(torch.optim, name)
)


class Zero1(torch.nn.Module):
    """The model, with its optimizer's state sharded. step() does what backward's gradients ask for, on every rank.

    model          any module; every rank gets rank 0's weights, and its parameters become parts of the units
    make_optimizer list of parameters -> a torch optimizer that treats each element by itself, as SGD and Adam do
    is_unit        (name, module) -> bool: whose parameters travel together
    compute_dtype  what units compute in (their inputs are cast) and all-gathers move; the shards, the optimizer and
                   reductions keep the parameters' own dtype
    Each step sends a reduce-scatter and an all-gather a unit: 2 (N - 1) / N times the parameters, in messages of 1 / N.
    """

    def __init__(
        self,
        model,
        comm,
        make_optimizer,
        *,
        is_unit=every_child,
        compute_dtype=None,
        reduce_scatter=ring.reduce_scatter,
        all_gather=ring.all_gather,
    ):
        super().__init__()
        share_state(model, comm)
        cast = lambda x: (
            x.to(compute_dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x
        )
        self.model, self.comm, self.reduce_scatter, self.all_gather = (
            model,
            comm,
            reduce_scatter,
            all_gather,
        )
        self.units = units_of(model, comm, is_unit, compute_dtype)
        if compute_dtype is not None:
            for unit in self.units:
                unit.module.register_forward_pre_hook(
                    lambda _, args, kwargs: tree_map(cast, (args, kwargs)), with_kwargs=True
                )
        self.shards = [flat.shard for unit in self.units for flat in unit.trained]
        self.optimizer = make_optimizer(self.shards)
        if isinstance(self.optimizer, BY_SHAPE):
            raise ValueError(
                f"{type(self.optimizer).__name__} looks at more than one element at a time, and would see a piece of a vector "
                "in place of a layer: use one that treats each element by itself, as SGD and Adam do"
            )

    def forward(self, *args, **kwargs):
        return self.model(*args, **kwargs)

    def step(self, max_norm=None):
        """One step of the optimizer with the mean of all ranks' gradients since the last one; returns their norm or None.

        max_norm: gradients are scaled down together so that their global norm is at most this.
        """
        self.reduce_gradients()
        norm = None if max_norm is None else self.clip(max_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.put_together()
        return norm

    def reduce_gradients(self):
        """Every rank has its shard of the mean gradient."""
        for unit in self.units:
            for flat in unit.trained:
                flat.scatter(flat.gradient(), self.reduce_scatter, self.comm)

    def put_together(self):
        """Every rank has the new parameters."""
        for unit in self.units:
            for flat in unit.trained:
                flat.gather(self.all_gather, self.comm)

    def clip(self, max_norm):
        """Scale the gradients so that the norm of all of them is at most max_norm; returns the norm. One all-reduce of one number."""
        mine = sum(
            (shard.grad.double() ** 2).sum() for shard in self.shards if shard.grad is not None
        )
        norm = ring.all_reduce(torch.as_tensor(mine).reshape(1), self.comm).sqrt()
        for shard in self.shards:
            if shard.grad is not None:
                shard.grad.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0).to(shard.grad.dtype))
        return norm.item()

    def full_state_dict(self):
        """Name -> whole parameter or buffer, in the parameters' own dtype, on every rank. An all-gather a unit."""
        whole = {}
        for unit in self.units:
            for flat in unit.flats:
                values = self.all_gather(flat.shard.detach(), self.comm)
                whole.update(
                    {
                        part: values[a:b].view(part.shape).clone()
                        for (a, b), part in zip(flat.points, flat.parts)
                    }
                )
        return {
            name: whole[value] if value in whole else value.detach().clone()
            for name, value in self.model.state_dict(keep_vars=True).items()
        }


class Zero2(Zero1):
    """Gradients are sharded, too: a unit's are reduced as soon as its backward pass is over, and then freed.

    They travel beside the computation, the last unit's first on every rank, or one rank's unit would be added to another's.
    The backward pass waits when three are on their way: a slow network must not make it hold them all. The bytes are those
    of Zero1; with k backward passes a step, k + 1 in place of 2.
    """

    def __init__(self, model, comm, make_optimizer, **how):
        super().__init__(model, comm, make_optimizer, **how)
        self.under_way, self.passing = [], False
        self.queue = [unit for unit in reversed(self.units) if unit.trained]
        self.begin_pass()
        for unit in self.queue:
            for part in unit.trained_parts():
                part.register_post_accumulate_grad_hook(lambda _, unit=unit: self.arrived(unit))

    def begin_pass(self):
        """No unit has left, and all gradients are still to come."""
        self.left, self.missing = 0, {unit: len(unit.trained_parts()) for unit in self.queue}

    def arrived(self, unit):
        """One of the unit's gradients is there."""
        if not self.passing:
            self.passing = True
            torch.autograd.Variable._execution_engine.queue_callback(
                self.pass_over
            )  # torch calls it at the end of this backward pass
        self.missing[unit] -= 1
        if self.missing[unit] == 0:
            self.backward_over(unit)

    def backward_over(self, unit):
        """All gradients of the unit are there: those units leave whose turn it is now."""
        while self.left < len(self.queue) and self.missing[self.queue[self.left]] == 0:
            while len(self.under_way) >= UNDER_WAY:
                self.under_way.pop(0).wait()
            for flat in self.queue[self.left].trained:
                self.under_way.append(
                    self.comm.background(
                        flat.scatter, flat.gradient(), self.reduce_scatter, self.comm
                    )
                )
            self.left += 1

    def pass_over(self):
        """A backward pass is over: units in which a parameter got no gradient leave, too."""
        for unit in self.queue[self.left :]:
            self.missing[unit] = 0
            self.backward_over(unit)
        self.passing = False
        self.begin_pass()

    def reduce_gradients(self):
        if self.passing:  # an error ended the backward pass
            self.pass_over()
        for work in self.under_way:
            work.wait()
        self.under_way = []


class Zero3(Zero2):
    """Parameters are sharded, too: a unit's are gathered before its forward and its backward pass, and freed after each.

    prefetch: while a unit computes, the next one is gathered: one unit more in memory, and less waiting. The order is
    that of the last step. 3 (N - 1) / N times the parameters are sent for each forward and backward pass. All ranks must
    use the same units in the same order. Raises ValueError for a unit that cannot be called, such as a ModuleList.
    """

    def __init__(self, model, comm, make_optimizer, *, prefetch=True, **how):
        super().__init__(model, comm, make_optimizer, **how)
        self.prefetch, self.coming, self.here, self.backward_begun = prefetch, {}, set(), set()
        self.order, self.last_order = [], []  # (unit, pass) in the order of their use
        for unit in self.units:
            if isinstance(
                unit.module,
                (
                    torch.nn.ModuleList,
                    torch.nn.ModuleDict,
                    torch.nn.ParameterList,
                    torch.nn.ParameterDict,
                ),
            ):
                raise ValueError(
                    f"{unit.name} is a {type(unit.module).__name__}: nobody calls it, so nobody would gather it; let is_unit choose its entries"
                )
            unit.free()
            unit.module.register_forward_pre_hook(
                lambda *_, unit=unit: self.needed(unit, "forward")
            )
            unit.module.register_forward_hook(
                lambda _, __, output, unit=unit: self.forward_over(unit, output)
            )

    def needed(self, unit, when):
        """Gather the unit unless it is there, and the one after it if we know which that is."""
        self.order.append((unit, when))
        if unit not in self.here:
            self.gather(unit)
            self.coming.pop(unit).wait()
            self.here.add(unit)
        if self.prefetch and len(self.order) < len(self.last_order):
            self.gather(self.last_order[len(self.order)][0])

    def gather(self, unit):
        """Begin to gather the unit, unless it is here or on its way."""
        if unit not in self.here and unit not in self.coming:
            self.coming[unit] = self.comm.background(unit.gather, self.all_gather, self.comm)

    def forward_over(self, unit, output):
        """Free the unit, and gather it again when the first gradient of its output comes."""
        if unit in self.backward_begun:  # recomputed, for a backward pass that is still to use it
            return
        self.release(unit)
        waiting = [
            t for t in tree_leaves(output) if isinstance(t, torch.Tensor) and t.requires_grad
        ]
        for tensor in waiting:
            tensor.register_hook(lambda _, unit=unit: self.backward_begins(unit))

    def backward_begins(self, unit):
        """The first gradient of its output is there."""
        self.backward_begun.add(unit)
        if unit not in self.here:
            self.needed(unit, "backward")

    def backward_over(self, unit):
        super().backward_over(unit)
        self.backward_begun.discard(unit)
        self.release(unit)

    def release(self, unit):
        """The unit's parameters are not needed for now."""
        self.here.discard(unit)
        unit.free()

    def reduce_gradients(self):
        super().reduce_gradients()
        for work in self.coming.values():
            work.wait()
        for unit in self.units:  # frozen ones, and what was gathered for nothing
            self.release(unit)
        self.coming, self.last_order, self.order = {}, self.order, []
        self.backward_begun.clear()

    def put_together(self):
        """Nothing: each unit is gathered when it is needed."""
