"""Pack a function and its arguments for the ranks; say in words what cannot travel.

A function from a cell or from the learner's own file travels whole (cloudpickle), with copies of the
globals that it names. Functions of installed packages travel by name.
"""

import io
import sys
from contextlib import contextmanager

import cloudpickle
import torch

from minidl.runtime.words.calling import GRADER, INSTALLED, PACKAGE

LARGE = 1 << 20


class PerRank(list):
    """An argument of World.run of which each rank gets one entry: PerRank([a, b, c, d])."""


def pack(fn, args, kwargs, ranks, world_size):
    """rank -> bytes of (fn, args, kwargs). Raises TypeError in words for what cannot be pickled."""
    if not callable(fn):
        raise TypeError(f"run() takes a function first, not {type(fn).__name__}")
    own = [value for value in (*args, *kwargs.values()) if isinstance(value, PerRank)]
    for value in own:
        if len(value) != world_size:
            raise ValueError(f"PerRank has {len(value)} entries, the world has {world_size} ranks")
    with _by_value(fn):
        if not own:
            data = _dump(fn, args, kwargs)
            return {rank: data for rank in ranks}
        pick = lambda value, rank: value[rank] if isinstance(value, PerRank) else value
        return {
            rank: _dump(
                fn,
                tuple(pick(v, rank) for v in args),
                {k: pick(v, rank) for k, v in kwargs.items()},
            )
            for rank in ranks
        }


def _dump(fn, args, kwargs):
    try:
        file = io.BytesIO()
        Packer(file, protocol=5).dump((fn, args, kwargs))
        data = file.getvalue()
    except Exception as error:
        raise TypeError(
            f"{_culprit(fn, args, kwargs)} cannot travel to the ranks: {error}"
        ) from None
    if len(data) > LARGE:
        _tell_large_captures(fn)
    return data


class MemoryPacker(cloudpickle.Pickler):
    """Packs tensors of a GPU as tensors in memory: who unpacks them has another GPU, or none."""

    def reducer_override(self, obj):
        if isinstance(obj, torch.Tensor) and self.on_gpu(obj):
            copy = obj.detach().to("cpu", copy=True).requires_grad_(obj.requires_grad)
            return (
                torch.nn.Parameter(copy, obj.requires_grad)
                if isinstance(obj, torch.nn.Parameter)
                else copy
            ).__reduce_ex__(5)
        return super().reducer_override(obj)

    def on_gpu(self, tensor):
        """Is it on a GPU?"""
        return tensor.is_cuda


class Packer(MemoryPacker):
    """Packs a plain tensor as its bytes: torch's own way makes an archive of each, and takes 30 times as long to read."""

    def reducer_override(self, obj):
        if type(obj) is torch.Tensor and _plain(obj):
            data = obj.detach().reshape(-1).view(torch.uint8).numpy().tobytes()
            return unpacked, (data, obj.dtype, tuple(obj.shape), obj.requires_grad)
        return super().reducer_override(obj)


def homeward(result, packer=MemoryPacker):
    """The bytes of what a rank returns."""
    file = io.BytesIO()
    packer(file).dump(result)
    return file.getvalue()


def _plain(tensor):
    """Has it numbers in memory, one after the other, and nothing else that must travel?"""
    return (
        tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and tensor.is_leaf
        and not (
            tensor.is_quantized
            or tensor.is_conj()
            or tensor.is_neg()
            or tensor._backward_hooks
            or vars(tensor)
        )
    )


def unpacked(data, dtype, shape, requires_grad):
    """The tensor that was packed; its memory is its own."""
    flat = (
        torch.frombuffer(bytearray(data), dtype=dtype).clone()
        if data
        else torch.empty(0, dtype=dtype)
    )
    return flat.reshape(shape).requires_grad_(requires_grad)


def captured(fn):
    """The variables from outside that a function names: {name: value}."""
    fn = getattr(fn, "func", fn)
    code = getattr(fn, "__code__", None)
    if code is None:
        return {}
    cells = {}
    for name, cell in zip(code.co_freevars, fn.__closure__ or ()):
        try:
            cells[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return {**{n: fn.__globals__[n] for n in code.co_names if n in fn.__globals__}, **cells}


def _culprit(fn, args, kwargs):
    for what, values in (
        ("argument", dict(enumerate(args))),
        ("argument", kwargs),
        ("variable", captured(fn)),
    ):
        for name, value in values.items():
            try:
                cloudpickle.dumps(value, protocol=5)
            except Exception:
                origin = (
                    f"named in {getattr(fn, '__name__', 'the function')}"
                    if what == "variable"
                    else "of run()"
                )
                return f"the {what} {name} ({type(value).__name__}) {origin}"
    return f"the function {getattr(fn, '__name__', fn)!r}"


def _tell_large_captures(fn):
    large = {
        n: v.nbytes
        for n, v in captured(fn).items()
        if isinstance(v, torch.Tensor) and v.nbytes > LARGE
    }
    for name, nbytes in large.items():
        print(
            f"note: the tensor {name!r} is named in {fn.__name__} and copied to every rank on each call ({nbytes / 2**20:.1f} MiB)"
        )


@contextmanager
def _by_value(fn):
    """Let the functions of the learner's own module travel whole: the ranks may know an older version of it."""
    module = sys.modules.get(getattr(getattr(fn, "func", fn), "__module__", None))
    file = getattr(module, "__file__", None)
    if (
        file is None
        or file.startswith((PACKAGE, GRADER, *INSTALLED))
        or module.__name__ in cloudpickle.list_registry_pickle_by_value()
    ):
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)
