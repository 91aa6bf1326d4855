"""What does a rank compute, and what does it hold while it computes?

    every tensor operation of this thread --> FLOPs   by torch's own formulas (flop_registry)
                                          `-> bytes   a storage is held from its first sight until torch lets go of it

    kind of a storage     parameters        it was seen as an nn.Parameter
                          gradients         it became the .grad of one
                          optimizer state   it was in an optimizer's state after its step
                          activations       everything else: what autograd keeps, inputs, temporaries, messages

One dispatch mode a thread, no module hooks: module hooks are global, and ranks of a VirtualWorld are threads of one
process. Works on meta tensors, which have sizes and no memory. Left out: what torch's kernels take for themselves.
"""

import threading
import weakref
from functools import wraps

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from minidl.runtime.metering import shapes
from minidl.trace import MEMORY

KINDS = MEMORY
OTHER = KINDS.index("activations")
LOOK_AT_ALL = 1024  # operations between two looks at every storage: C++ may have resized one
_here = threading.local()
_open = weakref.WeakSet()  # the meters that are told of resized storages


class Meter:
    """What one rank did in one run.

    now       () -> seconds
    charge    FLOPs -> None, called after each operation that has any; or None
    flops     so far
    changes   [operation, seconds, kind, bytes more or less]: a row whenever what is held changes
    """

    def __init__(self, now, charge=None):
        self.now, self.charge = now, charge
        self.flops, self.operations, self.changes = 0, 0, []
        self._held, self._hooks, self._lock = {}, {}, threading.RLock()
        _open.add(self)

    def reading(self):
        """A context manager: what this thread does inside is metered. Several threads may read one meter."""
        return Reading(self)

    def read(self):
        """(flops, changes), and the meter is closed."""
        self.close()
        return self.flops, self.changes

    def close(self):
        """Forget all storages and take the hooks off the parameters."""
        for _, hook in self._hooks.values():
            hook.remove()
        self._held, self._hooks = {}, {}
        _open.discard(self)

    def held(self):
        """Bytes held now, a number for each of KINDS."""
        totals = [0] * len(KINDS)
        for nbytes, kind, _ in list(self._held.values()):
            totals[kind] += nbytes
        return totals

    def see(self, tensor, kind=None):
        """Note the storage of a tensor, and of what kind it is if that is known."""
        if isinstance(tensor, torch.nn.Parameter):
            kind = 0
            self._watch(tensor)
        if tensor.layout is not torch.strided:
            for part in parts(tensor):
                self.see(part, kind)
            return
        storage = tensor.untyped_storage()
        entry = self._held.get(storage._cdata)
        if entry is None:
            entry = self._held[storage._cdata] = [0, OTHER if kind is None else kind, None]
            entry[2] = weakref.ref(
                storage, lambda _, key=storage._cdata, entry=entry: self._gone(key, entry)
            )
        elif kind is not None and kind != entry[1]:
            self._change(entry[1], -entry[0])
            self._change(kind, entry[0])
            entry[1] = kind
        self._measure(entry, storage)

    def after(self, flops, args, outputs):
        """An operation is over."""
        with self._lock:
            self.operations += 1
            for tensor in args:
                if isinstance(tensor, torch.nn.Parameter):
                    self.see(tensor)
            for tensor in outputs:
                self.see(tensor)
            if self.operations % LOOK_AT_ALL == 0:
                for entry in list(self._held.values()):
                    storage = entry[2]()
                    if storage is not None:
                        self._measure(entry, storage)
            self.flops += flops
        if flops and self.charge is not None:
            self.charge(flops)

    def resized(self, storage):
        """A storage has another size now; whose it is does not matter."""
        with self._lock:
            entry = self._held.get(storage._cdata)
            if entry is not None:
                self._measure(entry, storage)

    def _watch(self, parameter):
        """When this parameter gets a gradient, that is one."""
        known = self._hooks.get(id(parameter))
        if (
            parameter.is_leaf
            and parameter.requires_grad
            and (known is None or known[0]() is not parameter)
        ):
            self._hooks[id(parameter)] = (
                weakref.ref(parameter),
                parameter.register_post_accumulate_grad_hook(self._see_gradient),
            )
        self._see_gradient(parameter)

    def _see_gradient(self, parameter):
        if parameter.grad is not None:
            self.see(parameter.grad, KINDS.index("gradients"))

    def _measure(self, entry, storage):
        nbytes = storage.nbytes()
        if nbytes != entry[0]:
            self._change(entry[1], nbytes - entry[0])
            entry[0] = nbytes

    def _gone(self, key, entry):
        if self._held.get(key) is entry:
            del self._held[key]
            self._change(entry[1], -entry[0])

    def _change(self, kind, nbytes):
        if nbytes:
            self.changes.append((self.operations, self.now(), kind, nbytes))


def parts(tensor):
    """The dense tensors that a sparse one is made of; none for a layout that does not tell them."""
    names = {
        torch.sparse_coo: ("_indices", "_values"),
        torch.sparse_csr: ("crow_indices", "col_indices", "values"),
        torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    }.get(tensor.layout, ())
    return [getattr(tensor, name)() for name in names]


class Reading(TorchDispatchMode):
    """One thread's reading of a meter."""

    def __init__(self, meter):
        super().__init__()
        self.meter = meter

    def __enter__(self):
        _here.meters = [*getattr(_here, "meters", ()), self.meter]
        return super().__enter__()

    def __exit__(self, *exception):
        _here.meters = _here.meters[:-1]
        return super().__exit__(*exception)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = shapes.call(func, args, kwargs)
        packet = func._overloadpacket
        flops = (
            flop_registry[packet](*args, **kwargs, out_val=out) if packet in flop_registry else 0
        )
        outputs = [
            leaf
            for leaf in (tree_leaves(out) if isinstance(out, (tuple, list)) else (out,))
            if isinstance(leaf, torch.Tensor)
        ]
        self.meter.after(flops, args, outputs)
        return out


def _after_step(optimizer, *_):
    """What an optimizer keeps is its state: told to the meter of the thread that stepped."""
    for meter in getattr(_here, "meters", ())[-1:]:
        for state in list(optimizer.state.values()):
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    meter.see(value, KINDS.index("optimizer state"))


def _telling(resize_):
    """The method, which also tells the meters. torch has no hook for it, and it is no operation that a mode could see."""

    @wraps(resize_)
    def told(storage, size):
        resize_(storage, size)
        for meter in list(_open):
            meter.resized(storage)

    return told


register_optimizer_step_post_hook(_after_step)
torch.UntypedStorage.resize_ = _telling(torch.UntypedStorage.resize_)
