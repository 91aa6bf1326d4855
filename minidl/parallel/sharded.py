"""What do the three stages of ZeRO share? Units, and an optimizer that knows only shards.

    parameters of a unit   [ shard 0 | shard 1 | shard 2 ]   rank 1's optimizer works on shard 1

The stages differ in when gradients are reduced and when parameters are gathered: zero1.py to
zero3.py.
"""

from functools import partial

import torch
from torch.utils._pytree import tree_map

from minidl.collectives import ring
from minidl.parallel.data import share_state
from minidl.parallel.protocol import ParallelModel
from minidl.parallel.sharded_units import every_child, units_of

# These look at a parameter's shape, and a shard is a piece of a vector. Some torch lacks Muon.
BY_SHAPE = tuple(
    getattr(torch.optim, name)
    for name in ("Adafactor", "LBFGS", "Muon")
    if hasattr(torch.optim, name)
)


class Sharded(ParallelModel):
    """The base of Zero1, Zero2 and Zero3: a model whose optimizer works on this rank's shards.

        zero = Zero2(model, comm, torch.optim.AdamW, compute_dtype=torch.bfloat16)
        loss_of(zero(x), y).backward()
        zero.step(max_norm=1.0)

    model          any module; every rank gets rank 0's weights
    make_optimizer list of parameters -> a torch optimizer that treats each element by itself, as
                   SGD and Adam do; others raise ValueError
    is_unit        (name, module) -> bool: which modules are units, whose parameters travel together
    compute_dtype  what units compute in (their inputs are cast) and all-gathers move; shards,
                   optimizer and reductions keep the parameters' own dtype
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
        if isinstance(model, ParallelModel):
            outer, inner = type(self).__name__, type(model).__name__
            raise TypeError(
                f"{outer} shards the parameters of a torch module, and not those of {inner}: put "
                f"it inside, as in DataParallel({outer}(model, row, make_optimizer), column)"
            )
        share_state(model, comm)
        units = units_of(model, comm, is_unit, compute_dtype)
        flats = [flat for unit in units for flat in unit.trained]
        shards = [flat.shard for flat in flats]
        # The optimizer never learns of the model's own parameters.
        super().__init__(model, make_optimizer, trained=shards)
        if isinstance(self.optimizer, BY_SHAPE):
            raise ValueError(
                f"{type(self.optimizer).__name__} looks at more than one element at a time, "
                "and would see a piece of a vector in place of a layer: "
                "use one that treats each element by itself, as SGD and Adam do"
            )
        self.comm = comm
        self.units = units
        self.trained_flats = flats
        self.shards = shards
        self.reduce_scatter = reduce_scatter
        self.all_gather = all_gather
        if compute_dtype is not None:
            for unit in units:
                hook = partial(cast_inputs, compute_dtype)
                unit.module.register_forward_pre_hook(hook, with_kwargs=True)

    def share_parameters(self):
        """Every rank has the new parameters: an all-gather a unit."""
        for flat in self.trained_flats:
            flat.gather(self.all_gather, self.comm)

    def squared_norm(self):
        """Of all shards together. One all-reduce of one number."""
        return ring.all_reduce(super().squared_norm(), self.comm)

    def full_state_dict(self):
        """Name -> whole parameter or buffer, in the parameters' own dtype. An all-gather a unit."""
        whole = {}  # parameter of the model -> its values on all ranks
        for unit in self.units:
            for flat in unit.flats:
                vector = self.all_gather(flat.shard.detach(), self.comm)
                for part, values in zip(flat.parts, flat.split(vector)):
                    whole[part] = values.view(part.shape)
        # keep_vars gives the parameters themselves. What is not in `whole` is a buffer.
        found = self.model.state_dict(keep_vars=True)
        return {name: whole.get(value, value).detach().clone() for name, value in found.items()}

    def held(self):
        """This rank's shards, and the buffers."""
        shards = [flat.shard for unit in self.units for flat in unit.flats]
        return [*shards, *self.model.buffers()]

    def refresh(self):
        """Every rank has the parameters of the shards, also the frozen ones."""
        for unit in self.units:
            unit.gather(self.all_gather, self.comm)


def cast_inputs(dtype, module, args, kwargs):
    """A hook before a module's forward pass: its floating-point inputs have this dtype."""

    def cast(x):
        # Tokens and masks stay as they are.
        is_float = isinstance(x, torch.Tensor) and x.is_floating_point()
        return x.to(dtype) if is_float else x

    return tree_map(cast, (args, kwargs))
