"""What is sharded together: a unit, some modules' parameters as one padded vector.

    unit "blocks.0"    w1 b1 w2 b2 . .     whole: what the modules compute with; may be freed
                       |  0 |  1 |  2 |    shard: this rank's third, in full precision; the
                                           optimizer knows only this

The parameters of the model become views of `whole`. Freeing it gives its memory back, and the views
stay: when it is gathered again, what autograd saved has its values, too.
Zhao et al. 2023, "PyTorch FSDP", sec. 3.2 and 4.2.
"""

from typing import NamedTuple

import torch

from minidl.plans.shards import shard_bounds, shard_length


class Flat:
    """Some parameters of one kind as one vector that splits over the ranks.

        flat = Flat(list(model.parameters()), comm)
        flat.gather(ring.all_gather, comm)                              # flat.parts have values
        flat.scatter(flat.take_gradient(), ring.reduce_scatter, comm)   # flat.shard.grad has

    whole   (N * m,) of the compute dtype; its parts are the parameters
    shard   (m,) of the parameters' own dtype, a Parameter; its grad is a shard of the mean gradient
    """

    def __init__(self, parameters, comm, compute_dtype=None):
        self.N = comm.world_size
        sizes = [parameter.numel() for parameter in parameters]
        count = sum(sizes)
        first = parameters[0]  # all are of one dtype, and all are trained or frozen

        # The end is padding, so that all shards have one length m.
        m = shard_length(count, self.N)
        padding = self.N * m - count
        self.sizes = [*sizes, padding]
        with torch.no_grad():
            values = [parameter.reshape(-1) for parameter in parameters]
            vector = torch.cat([*values, first.new_zeros(padding)])

        # The shard is a copy in full precision, what modules compute with may be of another dtype.
        start, stop = shard_bounds(count, self.N, comm.rank)
        shard = vector[start:stop].clone()
        self.shard = torch.nn.Parameter(shard, first.requires_grad)
        self.whole = vector.to(compute_dtype or vector.dtype)
        self.full_nbytes = self.whole.untyped_storage().nbytes()
        self.parts = []
        for view, parameter in zip(self.split(self.whole), parameters):
            part = view.view(parameter.shape)
            self.parts.append(torch.nn.Parameter(part, first.requires_grad))

    def split(self, vector):
        """The part of each parameter in a whole vector: (N * m,) -> a list of flat views."""
        *parts, _padding = vector.split(self.sizes)
        return parts

    def gather(self, all_gather, comm):
        """Every rank has the whole vector, in the compute dtype."""
        # The storage gets memory again, so all views of it have values, those of autograd, too.
        self.whole.untyped_storage().resize_(self.full_nbytes)
        mine = self.shard.detach().to(self.whole.dtype)  # (m,)
        all_gather(mine, comm, into=self.whole.data)

    def free(self):
        """Give the memory of the whole vector back; the shard stays."""
        self.whole.untyped_storage().resize_(0)

    def take_gradient(self):
        """The parts' gradients as one vector of the shard's dtype, zeros for none; frees them."""
        vector = self.shard.new_zeros(self.N * len(self.shard), requires_grad=False)
        for view, part in zip(self.split(vector), self.parts):
            if part.grad is not None:
                view[:] = part.grad.reshape(-1)
                part.grad = None
        return vector

    def scatter(self, gradient, reduce_scatter, comm):
        """This rank's part of the mean gradient is added to the gradient of its shard."""
        mine = reduce_scatter(gradient, comm).div_(self.N)  # (N * m,) -> (m,)
        if self.shard.grad is None:
            self.shard.grad = mine
        else:
            # From an earlier backward pass of this step.
            self.shard.grad.add_(mine)


class Slot(NamedTuple):
    """A place of a parameter in the model: module.attribute."""

    module: torch.nn.Module
    attribute: str


class ShardedUnit:
    """A module whose own parameters are sharded, gathered and freed together: a Flat for each kind.

        for unit in units_of(model, comm, every_child):
            unit.free()                                  # between its passes only shards are held
            unit.gather(ring.all_gather, comm)           # before each pass

    slots: parameter -> its Slots in the model, more than one if it is tied.
    """

    def __init__(self, name, module, slots, comm, compute_dtype=None):
        self.name = name
        self.module = module
        # A vector has one dtype, and an optimizer takes a whole vector or leaves it.
        kinds = {}
        for parameter in slots:
            kind = (parameter.requires_grad, parameter.dtype)
            kinds.setdefault(kind, []).append(parameter)
        self.flats = []
        for parameters in kinds.values():
            flat = Flat(parameters, comm, compute_dtype)
            self.flats.append(flat)
            # From now on the model computes with the parts.
            for part, parameter in zip(flat.parts, parameters):
                for slot in slots[parameter]:
                    slot.module._parameters[slot.attribute] = part

    @property
    def trained(self):
        """The Flats that get gradients."""
        return [flat for flat in self.flats if flat.shard.requires_grad]

    @property
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


def every_child(name, module):
    """A choice of units: each direct child of the model; of a list of modules, each entry."""
    parent, _, last = name.rpartition(".")
    is_child = parent == ""
    is_entry = last.isdigit() and parent.count(".") == 0
    return (is_child or is_entry) and not isinstance(module, torch.nn.ModuleList)


def units_of(model, comm, is_unit, compute_dtype=None):
    """The model's units in the order of its modules, the root first; they own its parameters now.

    is_unit(name, module) -> bool chooses the modules that are units; one may contain others. A
    parameter belongs to the smallest unit around it, and to the root if it is tied between units.
    """
    modules = dict(model.named_modules())
    unit_of = {}  # module's name -> its unit's name; parents come before children
    slots_of = {}  # parameter -> its Slots
    homes_of = {}  # parameter -> the names of the units it occurs in
    for name, module in modules.items():
        parent = name.rpartition(".")[0]
        is_own_unit = name == "" or is_unit(name, module)
        unit_of[name] = name if is_own_unit else unit_of[parent]
        for attribute, parameter in module._parameters.items():
            if parameter is not None:
                slots_of.setdefault(parameter, []).append(Slot(module, attribute))
                homes_of.setdefault(parameter, set()).add(unit_of[name])

    slots_in = {name: {} for name in modules if unit_of[name] == name}
    # Tied between units: only the root is there whenever one of them computes.
    for parameter, homes in homes_of.items():
        home = homes.pop() if len(homes) == 1 else ""
        slots_in[home][parameter] = slots_of[parameter]
    return [
        ShardedUnit(name, modules[name], slots, comm, compute_dtype)
        for name, slots in slots_in.items()
        if slots
    ]
