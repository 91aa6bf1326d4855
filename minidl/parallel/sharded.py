"""What do the three stages of ZeRO share? Units, and an optimizer that knows only shards.

    parameters of a unit   [ shard 0 | shard 1 | shard 2 ]   rank 1's optimizer works on shard 1

The stages differ in when gradients are reduced and when parameters are gathered: zero1.py to
zero3.py.
"""

from contextlib import contextmanager

import torch
from torch.utils._pytree import tree_map

from minidl.collectives import ring
from minidl.parallel.data import share_state
from minidl.parallel.guarded import CHANGES, GRADIENT, METADATA, guard, unguard
from minidl.parallel.protocol import Hook, ParallelModel, unwrap
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
                   SGD and Adam do; others raise ValueError. The list has what this rank keeps of
                   each trained parameter, with as many dimensions and its name as `full_name`:
                   groups are made of it, as in
                   lambda ps: AdamW([{"params": [p for p in ps if p.dim() > 1]}, ...])
    is_unit        (name, module) -> bool: which modules are units, whose parameters travel together
    compute_dtype  what units compute in (their inputs are cast) and all-gathers move; shards,
                   optimizer and reductions keep the parameters' own dtype

    The model keeps its parameters, but their gradients are not to be had, and to freeze, convert or
    replace one raises RuntimeError (guarded.py): freeze and convert before, or wrap again. What all
    ranks write into one stays, as load_state_dict(); of Zero3 only within gathered().
    """

    keeps_whole = True  # between two passes every rank has all parameters
    gradients = None  # the GradientQueue of a stage that reduces during the backward pass

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
        unwrap(model)  # before units take the parameters that another way has changed
        share_state(model, comm)
        units = units_of(model, comm, is_unit, compute_dtype, self.keeps_whole)
        flats = [flat for unit in units for flat in unit.trained]
        pieces = [piece for flat in flats for piece in flat.pieces]
        names = {part: name for name, part in model.named_parameters()}
        for flat in flats:
            for part, piece in zip(flat.parts, flat.pieces):
                piece.full_name = names[part]
        # The optimizer never learns of the model's own parameters.
        super().__init__(model, make_optimizer, trained=pieces)
        check_optimizer(self.optimizer, pieces)
        self.comm = comm
        self.units = units
        self.trained_flats = flats
        self.names = names
        # What check_model() compares with, and permit() tells.
        self.unit_of = {part: unit for unit in units for flat in unit.flats for part in flat.parts}
        self.modules_wrapped = list(model.modules())
        self.reduce_scatter = reduce_scatter
        self.all_gather = all_gather
        for part in names:
            guard(part, self)
        for unit in units:
            unit.keeper = self
            if compute_dtype is not None:
                hook = Hook(cast_inputs, compute_dtype)
                register = unit.module.register_forward_pre_hook
                self.hooks.append(register(hook, with_kwargs=True))

    def forward(self, *args, **kwargs):
        """The model's own forward pass, with ordinary parameters."""
        # torch.compile and fast paths of torch look at the class of a parameter.
        for part in self.names:
            unguard(part)
        try:
            return super().forward(*args, **kwargs)
        finally:
            for part in self.names:
                guard(part, self)

    def share_parameters(self):
        """Every rank has the new parameters: an all-gather a unit."""
        for flat in self.trained_flats:
            flat.gather(self.all_gather, self.comm)

    def squared_norm(self):
        """Of all shards together. One all-reduce of one number."""
        return ring.all_reduce(super().squared_norm(), self.comm)

    def pass_failed(self):
        """Whether an error has ended a backward pass on this rank, and the learner caught it."""
        return self.gradients is not None and self.gradients.pass_failed()

    def zero_grad(self, set_to_none=True):
        """Forget all gradients, also those that are under way."""
        if self.gradients is not None:
            self.gradients.finish()
        super().zero_grad()

    def reset(self):
        """An error has ended a step: no gradient is there or under way."""
        if self.gradients is not None:
            self.gradients.reset()
        super().reset()

    def discard_gradients(self):
        """No parameter and no shard has a gradient."""
        for flat in self.trained_flats:
            flat.forget_gradients()

    # --- State, in and out -----------------------------------------------------------------------

    def full_state_dict(self):
        """Name -> whole parameter or buffer, in the parameters' own dtype. An all-gather a unit."""
        self.adopt()
        whole = {}  # parameter of the model -> its values on all ranks
        for unit in self.units:
            for flat in unit.flats:
                vector = self.all_gather(flat.shard, self.comm)
                for part, values, shape in zip(flat.parts, flat.split(vector), flat.shapes):
                    whole[part] = values.view(shape).clone()
        # keep_vars gives the parameters themselves. What is not in `whole` is a buffer.
        found = self.model.state_dict(keep_vars=True)
        return {name: whole[v] if v in whole else v.detach().clone() for name, v in found.items()}

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Take these whole parameters and buffers, the same on all ranks; returns what torch does.

        Raises as torch does for a missing or unexpected name or another shape.
        """
        if assign:
            raise ValueError(f"{type(self).__name__} copies values into its shards: assign=False")
        with self.gathered() as model:
            answer = model.load_state_dict(state_dict, strict=strict)
        # Once more, in full precision: what modules compute with may be of another dtype.
        for unit in self.units:
            for flat in unit.flats:
                flat.load([state_dict.get(self.names[part]) for part in flat.parts])
        self.refresh()
        return answer

    @contextmanager
    def gathered(self):
        """A context: the model has whole parameters. What all ranks write into them stays.

        Parameters are whole between two steps of this stage at all times.
        """
        yield self.model
        self.adopt()

    def adopt(self):
        """The shards take what was written into the model's parameters."""
        for unit in self.units:
            for flat in unit.flats:
                flat.adopt()

    def held(self):
        """This rank's shards, and the buffers."""
        shards = [flat.shard for unit in self.units for flat in unit.flats]
        return [*shards, *self.model.buffers()]

    def refresh(self):
        """Every rank has the parameters of the shards, also the frozen ones."""
        for unit in self.units:
            unit.gather(self.all_gather, self.comm)

    def _apply(self, fn, recurse=True):
        raise RuntimeError(
            f"a model can no longer be moved or converted once {type(self).__name__} has sharded "
            "it: do that first, and wrap the model then"
        )

    def release(self):
        """The model has whole, ordinary parameters again. All ranks call it."""
        state = self.full_state_dict()
        super().release()
        # In memory of their own: no longer parts of a vector.
        for part, name in self.names.items():
            unguard(part)
            part.data = state[name]

    # --- What else may be done with a parameter --------------------------------------------------

    def permit(self, parameter, function):
        """A function of torch is about to get this parameter of the model: see guarded.py."""
        if function in METADATA:
            return
        name = self.name_of(parameter)
        way = type(self).__name__
        if function in GRADIENT:
            raise RuntimeError(
                f"the gradient of {name} is sharded by {way}: zero.step() uses it and "
                "zero.zero_grad() drops it. To clip it, call zero.step(max_norm=1.0); for an "
                f"optimizer, give {way} make_optimizer=torch.optim.AdamW or your own function"
            )
        if function in CHANGES:
            raise RuntimeError(
                f"{name} is sharded by {way}, and can no longer be frozen, unfrozen or converted: "
                f"do that first, and wrap the model then, or once more: {way}(model, comm, ...)"
            )
        self.reach(parameter)

    def reach(self, parameter):
        """The values of this parameter are needed: they are there."""

    def name_of(self, parameter):
        """The name of a parameter of the model."""
        return self.names[parameter]

    def check_model(self):
        """Raise RuntimeError if the model was wrapped once more, or a part of it was replaced."""
        super().check_model()
        way = type(self).__name__
        remedy = f"it would not be trained. Wrap the model once more: {way}(model, comm, ...)"
        modules = list(self.model.modules())
        # By identity: a module put in place of another has parameters that no unit has.
        if len(modules) != len(self.modules_wrapped):
            raise RuntimeError(f"the model has other modules than when {way} wrapped it: {remedy}")
        for module, wrapped in zip(modules, self.modules_wrapped):
            if module is not wrapped:
                kind = type(module).__name__
                raise RuntimeError(f"a {kind} came into the model after {way} wrapped it: {remedy}")
        for unit in self.units:
            for slot, part in unit.placed:
                if not slot.has(part):
                    name = self.name_of(part)
                    raise RuntimeError(f"{name} was replaced after {way} wrapped it: {remedy}")


def check_optimizer(optimizer, pieces):
    """Raise ValueError, in words, if this optimizer does not suit the pieces of parameters."""
    if isinstance(optimizer, BY_SHAPE):
        raise ValueError(
            f"{type(optimizer).__name__} looks at more than one element at a time, "
            "and would see a piece of a vector in place of a layer: "
            "use one that treats each element by itself, as SGD and Adam do"
        )
    known = {id(piece) for piece in pieces}
    given = [p for group in optimizer.param_groups for p in group["params"]]
    if not all(id(parameter) in known for parameter in given):
        raise ValueError(
            "make_optimizer gave its optimizer other parameters than it got, and those are never "
            "trained: make groups of the list that it gets; each has its name as full_name"
        )


def cast_inputs(dtype, module, args, kwargs):
    """A hook before a module's forward pass: its floating-point inputs have this dtype."""

    def cast(x):
        # Tokens and masks stay as they are.
        is_float = isinstance(x, torch.Tensor) and x.is_floating_point()
        return x.to(dtype) if is_float else x

    return tree_map(cast, (args, kwargs))
