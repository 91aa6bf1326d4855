"""What is sharded together: a unit, some modules' parameters as one padded vector.

    unit "blocks.0"     w1 b1 w2 b2 . .      whole: what the modules compute with; may be freed and gathered again
                        |  0 |  1 |  2 |     shard: this rank's third, in full precision; the optimizer knows only this

The parameters of the model become views of `whole`. Freeing it gives its memory back, and the views live on: when it
is gathered again, also what autograd saved has its values. Zhao et al. 2023, "PyTorch FSDP", sec. 3.2 and 4.2.
"""

import torch

from minidl.plans.shards import shard_bounds, shard_length, split_points


class Flat:
    """Some parameters of one kind as one vector that splits over the ranks.

    whole   (N * m,) of the compute dtype; its parts are the parameters
    shard   (m,) of the parameters' own dtype, a Parameter; its grad is the shard of the mean gradient
    """

    def __init__(self, parameters, comm, compute_dtype=None):
        self.N, sizes = comm.world_size, [p.numel() for p in parameters]
        self.points, m = split_points(sizes), shard_length(sum(sizes), comm.world_size)
        master = parameters[0].new_zeros(self.N * m, requires_grad=False)
        for (start, stop), parameter in zip(self.points, parameters):
            master[start:stop] = parameter.detach().reshape(-1)
        start, stop = shard_bounds(sum(sizes), self.N, comm.rank)
        trainable = parameters[0].requires_grad
        self.shard = torch.nn.Parameter(master[start:stop].clone(), requires_grad=trainable)
        self.whole = master.to(compute_dtype or master.dtype)
        self.parts = [
            torch.nn.Parameter(self.whole[a:b].view(p.shape), requires_grad=trainable)
            for (a, b), p in zip(self.points, parameters)
        ]
        self.full_nbytes = self.whole.untyped_storage().nbytes()

    def gather(self, all_gather, comm):
        """Every rank has the whole vector, in the compute dtype."""
        self.whole.untyped_storage().resize_(self.full_nbytes)
        all_gather(self.shard.detach().to(self.whole.dtype), comm, into=self.whole.data)

    def free(self):
        """Give the memory of the whole vector back; the shard stays."""
        self.whole.untyped_storage().resize_(0)

    def gradient(self):
        """The parts' gradients as one vector in the shard's dtype, zeros where there is none; the parts lose theirs."""
        flat = self.shard.new_zeros(self.N * len(self.shard), requires_grad=False)
        for (start, stop), part in zip(self.points, self.parts):
            if part.grad is not None:
                flat[start:stop] = part.grad.reshape(-1)
                part.grad = None
        return flat

    def scatter(self, flat, reduce_scatter, comm):
        """This rank's part of the mean gradient is added to its shard's."""
        mine = reduce_scatter(flat, comm).div_(self.N)
        self.shard.grad = mine if self.shard.grad is None else self.shard.grad.add_(mine)


class Unit:
    """A module whose own parameters are sharded, gathered and freed together: a Flat for each kind of them.

    slots: {parameter: [(module, attribute), ...]}, more than one for a tied parameter.
    """

    def __init__(self, name, module, slots, comm, compute_dtype=None):
        self.name, self.module = name, module
        kinds = {}
        for parameter in slots:
            kinds.setdefault((parameter.requires_grad, parameter.dtype), []).append(parameter)
        self.flats = [Flat(parameters, comm, compute_dtype) for parameters in kinds.values()]
        for flat, parameters in zip(self.flats, kinds.values()):
            for part, parameter in zip(flat.parts, parameters):
                for owner, attribute in slots[parameter]:
                    owner._parameters[attribute] = part

    @property
    def trained(self):
        """The Flats that get gradients."""
        return [flat for flat in self.flats if flat.shard.requires_grad]

    def trained_parts(self):
        """The parameters that get gradients."""
        return [part for flat in self.trained for part in flat.parts]

    def gather(self, all_gather, comm):
        """Every rank has this unit's parameters."""
        for flat in self.flats:
            flat.gather(all_gather, comm)

    def free(self):
        """Only the shards stay."""
        for flat in self.flats:
            flat.free()


def units_of(model, comm, is_unit, compute_dtype=None):
    """The model's units in the order of its modules, the root first; the model's parameters become their parts.

    is_unit(name, module) -> bool says which modules are units; what belongs to none of them, or to several because it
    is tied, belongs to the root. A module inside a unit may be a unit of its own.
    """
    owners = {"": model}
    home = {}  # parameter -> {unit's name: [(module, attribute), ...]}
    for name, module in model.named_modules():
        if name and is_unit(name, module):
            owners[name] = module
        above = [
            owner
            for owner in owners
            if owner == "" or name == owner or name.startswith(owner + ".")
        ]
        for attribute, parameter in module._parameters.items():
            if parameter is not None:
                home.setdefault(parameter, []).append((max(above, key=len), module, attribute))
    slots = {name: {} for name in owners}
    for parameter, places in home.items():
        units = {unit for unit, _, _ in places}
        unit = units.pop() if len(units) == 1 else ""
        slots[unit][parameter] = [(module, attribute) for _, module, attribute in places]
    return [
        Unit(name, owners[name], own, comm, compute_dtype) for name, own in slots.items() if own
    ]
