"""What is sharded together: a unit, some modules' parameters as one padded vector.

    unit "blocks.0"    w1 b1 w2 b2 . .     whole: what the modules compute with
                       |  0 |  1 |  2 |    shard: this rank's third, which the optimizer changes
                            ^b1|w2         pieces: the shard, parameter by parameter

The model's parameters become views of `whole`. Stages 1 and 2 keep it, and a shard that computes in
its own dtype is a part of it. Stage 3 drops it after each use, and its memory is free when nothing
else has a view of it. What autograd saves is packed for that reason (saved.py).
Zhao et al. 2023, "PyTorch FSDP", sec. 3.2 and 4.2.
"""

from typing import NamedTuple

import torch

from minidl.parallel.guarded import guard, unguard, unguarded
from minidl.plans.shards import shard_bounds, shard_length, split_points


class Flat:
    """Some parameters of one kind as one vector that splits over the ranks.

        flat = Flat(list(model.parameters()), comm)
        flat.gather(ring.all_gather, comm)                              # flat.parts have values
        flat.scatter(flat.take_gradient(), ring.reduce_scatter, comm)   # flat.pieces have gradients

    whole    (N * m,) of the compute dtype, or None while it is dropped; its parts are the
             parameters of the model
    shard    (m,) of the parameters' own dtype
    pieces   a Parameter for each part: what of it lies in the shard, maybe nothing; with as many
             dimensions, so that an optimizer can choose by dim(): (k,), (k, 1), ...
    """

    def __init__(self, parameters, comm, compute_dtype=None, keeps_whole=True):
        self.N = comm.world_size
        self.keeps_whole = keeps_whole
        first = parameters[0]  # all are of one dtype, and all are trained or frozen
        self.is_trained = first.requires_grad
        self.shapes = [parameter.shape for parameter in parameters]
        sizes = [parameter.numel() for parameter in parameters]
        self.points = split_points(sizes)

        # The end is padding, so that all shards have one length m.
        m = shard_length(sum(sizes), self.N)
        padding = self.N * m - sum(sizes)
        self.sizes = [*sizes, padding]
        with torch.no_grad():
            values = [parameter.reshape(-1) for parameter in parameters]
            vector = torch.cat([*values, first.new_zeros(padding)])

        self.start, self.stop = shard_bounds(sum(sizes), self.N, comm.rank)
        self.whole = vector.to(compute_dtype or vector.dtype)
        self.dtype = self.whole.dtype
        own = vector[self.start : self.stop]
        self.is_part_of_whole = keeps_whole and self.whole is vector
        mine = own if self.is_part_of_whole else own.clone()
        # A Parameter, as its memory counts as that of parameters where memory is metered.
        self.shard = torch.nn.Parameter(mine, requires_grad=False)
        self.pieces = []
        for piece, shape in zip(self.own(self.shard), self.shapes):
            as_many_dimensions = (-1,) + (1,) * (len(shape) - 1)
            piece = piece.view(as_many_dimensions)
            self.pieces.append(torch.nn.Parameter(piece, self.is_trained))
        # What parts show while there is no whole: a number that no one can take for a weight.
        self.nothing = self.whole.new_full((), torch.nan)
        self.parts = []
        for view, shape in zip(self.split(self.whole), self.shapes):
            self.parts.append(torch.nn.Parameter(view.view(shape), self.is_trained))

    def split(self, vector):
        """The part of each parameter in a whole vector: (N * m,) -> a list of flat views."""
        *parts, _padding = vector.split(self.sizes)
        return parts

    def own(self, vector):
        """The same of this rank's part of a whole vector: (m,) -> a list of flat views."""
        views = []
        for start, stop in self.points:
            # Empty for a parameter that lies in other ranks' shards.
            first = max(start - self.start, 0)
            last = min(stop - self.start, len(vector))
            views.append(vector[first : max(first, last)])
        return views

    def gather(self, all_gather, comm):
        """The whole vector in the compute dtype: the one that is kept, if one is, or a new one."""
        mine = self.shard.to(self.dtype, copy=True)  # (m,); a collective's input is not its output
        into = self.whole
        if not self.keeps_whole:
            into = torch.nn.Parameter(mine.new_empty(self.N * len(mine)), requires_grad=False)
        return all_gather(mine, comm, into=into)

    def hold(self, whole):
        """The model's parameters are parts of this vector, and ordinary parameters."""
        self.whole = whole
        # Autograd and the optimizer know the Parameter, which is the same with other memory.
        for part, view, shape in zip(self.parts, self.split(whole), self.shapes):
            unguard(part)
            part.data = view.view(shape)

    def free(self, keeper):
        """Only the shard stays. The keeper is asked before a part is used."""
        self.whole = None
        for part, shape in zip(self.parts, self.shapes):
            unguard(part)
            part.data = self.nothing.expand(shape)
            guard(part, keeper)

    def adopt(self):
        """The shard takes what was written into the model's parameters since it was gathered."""
        if self.is_part_of_whole or self.whole is None:
            return
        written = self.whole[self.start : self.stop]
        # What was not written keeps its full precision.
        is_new = written != self.shard.to(self.dtype)
        self.shard.copy_(torch.where(is_new, written.to(self.shard.dtype), self.shard))

    def load(self, values):
        """The shard takes its piece of each of these whole parameters; None for one that stays."""
        for piece, (start, _), whole in zip(self.pieces, self.points, values):
            if whole is None:
                continue
            # How much of it lies in the shards of ranks before this one.
            first = max(self.start - start, 0)
            flat = whole.reshape(-1)
            own = flat[first : first + piece.numel()]
            piece.detach().copy_(own.view(piece.shape))

    def take_gradient(self):
        """The parts' gradients as one vector of the shard's dtype, zeros for none; frees them."""
        vector = self.shard.new_zeros(self.N * len(self.shard))
        with unguarded():
            for view, part in zip(self.split(vector), self.parts):
                if part.grad is not None:
                    view[:] = part.grad.reshape(-1)
                    part.grad = None
        return vector

    def scatter(self, gradient, reduce_scatter, comm):
        """This rank's part of the mean gradient is added to the gradients of its pieces."""
        self.accumulate(self.reduce(gradient, reduce_scatter, comm))

    def reduce(self, gradient, reduce_scatter, comm):
        """This rank's part of the mean gradient: (N * m,) -> (m,)"""
        return reduce_scatter(gradient, comm).div_(self.N)

    def accumulate(self, mine):
        """Add this part of the mean gradient, (m,), to the gradients of the pieces."""
        for piece, part in zip(self.pieces, self.own(mine)):
            part = part.view(piece.shape)
            if piece.grad is None:
                piece.grad = part
            else:
                # From an earlier backward pass of this step.
                piece.grad.add_(part)

    def forget_gradients(self):
        """No part and no piece has a gradient."""
        with unguarded():
            for parameter in (*self.parts, *self.pieces):
                parameter.grad = None


class Slot(NamedTuple):
    """A place of a parameter in the model: module.attribute."""

    module: torch.nn.Module
    attribute: str

    def put(self, parameter):
        """From now on this parameter is in this place."""
        self.module._parameters[self.attribute] = parameter

    def has(self, parameter):
        """Whether it still is."""
        return self.module._parameters.get(self.attribute) is parameter


class ShardedUnit:
    """A module whose own parameters are sharded, gathered and dropped together: a Flat a kind.

        for unit in units_of(model, comm, every_child, keeps_whole=False):
            unit.keeper = keeper                                  # see guarded.py
            unit.free()                                           # only shards are held
            unit.hold(unit.gather(ring.all_gather, comm))         # before each pass

    slots: parameter -> its Slots in the model, more than one if it is tied.
    names: part -> its name in the model.
    """

    def __init__(self, name, module, slots, comm, compute_dtype=None, keeps_whole=True):
        self.name = name
        self.module = module
        self.keeper = None
        self.placed = []  # (Slot, the part that belongs there)
        # A vector has one dtype, and an optimizer takes a whole vector or leaves it.
        kinds = {}
        for parameter in slots:
            kind = (parameter.requires_grad, parameter.dtype)
            kinds.setdefault(kind, []).append(parameter)
        self.flats = []
        for parameters in kinds.values():
            flat = Flat(parameters, comm, compute_dtype, keeps_whole)
            self.flats.append(flat)
            # From now on the model computes with the parts.
            for part, parameter in zip(flat.parts, parameters):
                for slot in slots[parameter]:
                    slot.put(part)
                    self.placed.append((slot, part))

    @property
    def trained(self):
        """The Flats that get gradients."""
        return [flat for flat in self.flats if flat.is_trained]

    @property
    def trained_parts(self):
        """The parameters that get gradients."""
        return [part for flat in self.trained for part in flat.parts]

    def gather(self, all_gather, comm):
        """The whole vectors of this unit, one for each Flat."""
        return [flat.gather(all_gather, comm) for flat in self.flats]

    def hold(self, wholes):
        """The model has this unit's parameters."""
        for flat, whole in zip(self.flats, wholes):
            flat.hold(whole)

    def free(self):
        """Only the shards stay."""
        for flat in self.flats:
            flat.free(self.keeper)


def every_child(name, module):
    """A choice of units: each direct child of the model; of a list of modules, each entry."""
    parent, _, last = name.rpartition(".")
    is_child = parent == ""
    is_entry = last.isdigit() and parent.count(".") == 0
    return (is_child or is_entry) and not isinstance(module, torch.nn.ModuleList)


def units_of(model, comm, is_unit, compute_dtype=None, keeps_whole=True):
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
        ShardedUnit(name, modules[name], slots, comm, compute_dtype, keeps_whole)
        for name, slots in slots_in.items()
        if slots
    ]
