"""What may be done with a parameter that its model no longer owns alone?

    between two passes   model[0].weight.shape        is answered
                         model[0].weight.grad         an error in words: the gradient is sharded
                         model[0].weight.norm()       Zero1, Zero2: is computed; Zero3: an error in
                                                      words, or the unit is gathered in a pass
    zero3.gathered()     model[0].weight.norm()       is computed

A sharded model keeps its parameters, the same objects, but of the class Guarded. torch then asks
__torch_function__ before each function, method and attribute that gets one of them, and that asks
the parameter's keeper. Left out: the passes, in which parameters are ordinary ones.
"""

import torch
from torch import Tensor

# What needs no values: __torch_function__ gets methods as they are, properties as their getters.
METHODS = (
    "size dim numel nelement element_size is_floating_point is_complex __len__ "
    "register_hook register_post_accumulate_grad_hook"
)
PROPERTIES = (
    "shape ndim dtype device layout nbytes itemsize requires_grad is_leaf is_meta is_cuda is_cpu "
    "is_sparse is_quantized grad_fn _version"
)
METADATA = {getattr(Tensor, name) for name in METHODS.split()}
METADATA |= {getattr(Tensor, name).__get__ for name in PROPERTIES.split()}
GRADIENT = {Tensor.grad.__get__, Tensor.grad.__set__, Tensor.grad.__delete__}
# These would part a parameter from its shards.
CHANGES = {Tensor.data.__set__, Tensor.requires_grad.__set__, Tensor.requires_grad_}


class Guarded(torch.nn.Parameter):
    """A parameter whose keeper is asked before it is used: parameter.keeper.permit(parameter, f).

        guard(model.weight, keeper)
        model.weight.norm()          # calls keeper.permit(model.weight, torch.Tensor.norm) first
        unguard(model.weight)

    A copy of it, by deepcopy or pickle, is an ordinary parameter.
    """

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for parameter in guarded_among([*args, *kwargs.values()]):
            parameter.keeper.permit(parameter, func)
        # Permitted: as for an ordinary parameter, and without asking again.
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = plain_copy(self)
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        return plain_copy(self).__reduce_ex__(protocol)

    def __repr__(self, **_):
        size = tuple(self.shape)
        return f"Parameter {self.keeper.name_of(self)} {size}, kept by {type(self.keeper).__name__}"


def guarded_among(values):
    """The guarded parameters among these values, and in lists and tuples among them."""
    for value in values:
        # Functions such as torch.cat take lists.
        if isinstance(value, Guarded):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from guarded_among(value)


def plain_copy(parameter):
    """An ordinary parameter with the same values."""
    return torch.nn.Parameter(parameter.detach().clone(), parameter.requires_grad)


def guard(parameter, keeper):
    """From now on the keeper is asked: keeper.permit(parameter, f) raises in words, or returns."""
    parameter.keeper = keeper
    # The object stays the same one, so that hooks, optimizers and autograd know it.
    parameter.__class__ = Guarded


def unguard(parameter):
    """It is an ordinary parameter again."""
    parameter.__class__ = torch.nn.Parameter


def unguarded():
    """A context in which this thread uses guarded parameters as ordinary ones."""
    return torch._C.DisableTorchFunctionSubclass()
