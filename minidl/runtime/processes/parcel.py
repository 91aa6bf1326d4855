"""Pack a function and its arguments for the ranks; say in words what cannot travel.

A function from a cell or from the learner's own file travels whole (cloudpickle), with copies of
the globals that it names. Functions of installed packages travel by name.
"""

import io
import random
import sys
from contextlib import contextmanager

import cloudpickle
import numpy
import torch

from minidl.runtime.words.modules import is_learners

LARGE = 1 << 20  # bytes of a captured tensor that are worth a note


class PerRank(list):
    """An argument of World.run of which each rank gets one entry: PerRank([a, b, c, d])."""


def pack(fn, args, kwargs, ranks, world_size):
    """{rank: bytes of (fn, args, kwargs)}.

    Raises TypeError for what cannot be pickled, ValueError for a PerRank of another length.
    """
    if not callable(fn):
        raise TypeError(f"run() takes a function first, not {type(fn).__name__}")
    split = [value for value in (*args, *kwargs.values()) if isinstance(value, PerRank)]
    for value in split:
        if len(value) != world_size:
            raise ValueError(f"PerRank has {len(value)} entries, the world has {world_size} ranks")
    with _by_value(fn):
        if not split:
            return dict.fromkeys(ranks, _pack_call(fn, args, kwargs))
        packed = {}
        for rank in ranks:
            own_args = tuple(_of_rank(value, rank) for value in args)
            own_kwargs = {name: _of_rank(value, rank) for name, value in kwargs.items()}
            packed[rank] = _pack_call(fn, own_args, own_kwargs)
        return packed


def _of_rank(value, rank):
    return value[rank] if isinstance(value, PerRank) else value


def _pack_call(fn, args, kwargs):
    try:
        data = to_bytes((fn, args, kwargs), Packer)
    except Exception as error:
        part = _unpicklable_part(fn, args, kwargs)
        raise TypeError(f"{part} cannot travel to the ranks: {error}") from None
    if len(data) > LARGE:
        _note_large_captures(fn)
    return data


class MemoryPacker(cloudpickle.Pickler):
    """Packs tensors of a GPU as tensors in memory: the receiver has another GPU, or none."""

    def reducer_override(self, obj):
        """How to pack this object; pickle calls it."""
        if isinstance(obj, torch.Tensor) and self.on_gpu(obj):
            copy = obj.detach().to("cpu", copy=True)
            if isinstance(obj, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, obj.requires_grad)
            copy.requires_grad_(obj.requires_grad)
            return copy.__reduce_ex__(5)
        return super().reducer_override(obj)

    def on_gpu(self, tensor):
        """Is it on a GPU?"""
        return tensor.is_cuda


class Packer(MemoryPacker):
    """Packs what travels to a rank: a plain tensor as its bytes, a global generator by its name.

    torch makes an archive of a tensor, which takes 30 times as long. A copy of the generator behind
    `from random import randint` would draw the same numbers on every rank, whatever their seeds.
    """

    def reducer_override(self, obj):
        """How to pack this object; pickle calls it."""
        place = global_generator(obj)
        if place is not None:
            return getattr, place
        if type(obj) is torch.Tensor and _is_plain(obj):
            flat = obj.detach().reshape(-1)
            data = flat.view(torch.uint8).numpy().tobytes()
            return tensor_from_bytes, (data, obj.dtype, tuple(obj.shape), obj.requires_grad)
        return super().reducer_override(obj)


def to_bytes(value, packer=MemoryPacker):
    """The pickle of a call, or of what a rank returns."""
    file = io.BytesIO()
    packer(file).dump(value)
    return file.getvalue()


def global_generator(obj):
    """Where the rank finds its own version of what draws from a global generator, or None.

    (random, "randint") for `random.randint`, a method of the one generator of `random`.
    """
    if obj is random._inst:
        return random, "_inst"
    if obj is numpy.random.mtrand._rand:
        return numpy.random.mtrand, "_rand"
    owner = getattr(obj, "__self__", None)
    if owner is random._inst:
        return random, obj.__name__
    if owner is numpy.random.mtrand._rand:
        return numpy.random, obj.__name__
    return None


def _is_plain(tensor):
    """Is it contiguous in memory, with nothing beside its numbers that must travel, as hooks?"""
    return (
        tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and tensor.is_leaf
        and not tensor.is_quantized
        and not tensor.is_conj()
        and not tensor.is_neg()
        and not tensor._backward_hooks
        and not vars(tensor)
    )


def tensor_from_bytes(data, dtype, shape, requires_grad):
    """The tensor that a Packer packed, in memory of its own."""
    if data:
        flat = torch.frombuffer(bytearray(data), dtype=dtype).clone()
    else:
        flat = torch.empty(0, dtype=dtype)  # frombuffer refuses an empty buffer
    return flat.reshape(shape).requires_grad_(requires_grad)


def captured(fn):
    """The variables from outside that a function names: {name: value}."""
    fn = getattr(fn, "func", fn)  # of a functools.partial
    code = getattr(fn, "__code__", None)
    if code is None:
        return {}
    found = {name: fn.__globals__[name] for name in code.co_names if name in fn.__globals__}
    for name, cell in zip(code.co_freevars, fn.__closure__ or ()):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            pass
    return found


def _unpicklable_part(fn, args, kwargs):
    """Words for the part of a call that cannot be pickled."""
    arguments = dict(enumerate(args)) | kwargs
    named_in = getattr(fn, "__name__", "the function")
    for values, words in (
        (arguments, "the argument {} ({}) of run()"),
        (captured(fn), f"the variable {{}} ({{}}) named in {named_in}"),
    ):
        for name, value in values.items():
            try:
                cloudpickle.dumps(value)
            except Exception:
                return words.format(name, type(value).__name__)
    return f"the function {getattr(fn, '__name__', fn)!r}"


def _note_large_captures(fn):
    for name, value in captured(fn).items():
        if isinstance(value, torch.Tensor) and value.nbytes > LARGE:
            print(
                f"note: the tensor {name!r} is named in {fn.__name__} and copied to every rank"
                f" on each call ({value.nbytes / 2**20:.1f} MiB)"
            )


@contextmanager
def _by_value(fn):
    """Let functions of the learner's own module travel whole: the ranks may know an old version."""
    module = sys.modules.get(getattr(getattr(fn, "func", fn), "__module__", None))
    file = getattr(module, "__file__", None)
    # A cell has no file, and cloudpickle packs it by value anyhow.
    by_name = file is None or not is_learners(file)
    if by_name or module.__name__ in cloudpickle.list_registry_pickle_by_value():
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)
