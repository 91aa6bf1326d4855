"""Autograd saves weights for the backward pass. How can their memory be freed in between?

    forward    weight.T is saved   ->  packed: unit "blocks.0", shape, strides, offset, no memory
    backward   it is asked for     ->  the unit is gathered, and the same view of it is returned

torch calls pack and unpack (saved_tensors_hooks). So each saved weight is there when it is needed,
whatever a unit returned and whichever of its tensors the loss came from, and no memory that was
freed is ever read. Left out: all else that autograd saves, which stays as it is.
"""

from typing import NamedTuple

import torch

from minidl.parallel.sharded_units import Flat, ShardedUnit


class SavedView(NamedTuple):
    """A view of a unit's parameters, without their memory. offset: from the vector's beginning."""

    unit: ShardedUnit
    flat: Flat
    size: torch.Size
    stride: tuple
    offset: int


def packing(life):
    """A context: what autograd saves of the units of a Lifecycle inside holds no memory of them.

    with packing(life):
        loss = loss_of(model(x), y)
    loss.backward()                     # each unit is gathered when it is asked for
    """

    def pack(tensor):
        """What autograd keeps in place of this tensor."""
        if tensor.layout is not torch.strided:
            return tensor
        # Views of one memory have one storage; _cdata is its address.
        storage = tensor.untyped_storage()._cdata
        for unit in life.held():
            for flat in unit.flats:
                if flat.whole.untyped_storage()._cdata == storage:
                    life.is_saved(unit)
                    # The vector is another one when it is gathered again: count from its start.
                    offset = tensor.storage_offset() - flat.whole.storage_offset()
                    return SavedView(unit, flat, tensor.size(), tensor.stride(), offset)
        return tensor

    def unpack(saved):
        """The tensor again, when the backward pass needs it."""
        if not isinstance(saved, SavedView):
            return saved
        life.is_asked_for(saved.unit)
        whole = saved.flat.whole
        view = whole.as_strided(saved.size, saved.stride, whole.storage_offset() + saved.offset)
        life.free_if_done(saved.unit)  # the view keeps its memory until it has been used
        return view

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)
