"""What does a rank compute, and what does it hold while it computes?

    every tensor operation of this thread --> FLOPs   by torch's own formulas (flop_registry)
                                          `-> bytes   a storage is held from the first operation
                                                      on it until torch frees it

    kind of a storage     parameters        an nn.Parameter has it
                          gradients         it became the .grad of one
                          optimizer state   it was in an optimizer's state after its step
                          activations       all else: what autograd keeps, inputs, temporaries

One dispatch mode a thread, no module hooks: module hooks are global, and ranks of a VirtualWorld
are threads of one process. Works on meta tensors, which have sizes and no memory. Left out: what
torch's kernels allocate for themselves.
"""

import threading
import weakref
from functools import wraps

import torch
from torch._C._dynamo import eval_frame
from torch.nn import Parameter
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from minidl.runtime.metering import shapes
from minidl.trace import MEMORY

KINDS = MEMORY
PARAMETERS, GRADIENTS, OPTIMIZER_STATE, ACTIVATIONS = range(len(KINDS))  # in this order
LOOK_AT_ALL = 1024  # operations between two looks at every storage: C++ may have resized one
SPARSE_PARTS = {
    torch.sparse_coo: ("_indices", "_values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
}
_thread = threading.local()  # .meters: those that this thread's operations count for
_flops = {}  # operation and shapes -> FLOPs
_open = weakref.WeakSet()  # the meters that want to know of resized storages


class Held:
    """A storage that is held."""

    __slots__ = ("nbytes", "kind", "storage")

    def __init__(self, kind):
        self.nbytes = 0  # as noted last
        self.kind = kind
        self.storage = None  # a weak reference


class Meter:
    """What one rank did in one run.

    now       () -> seconds
    charge    FLOPs -> None, called after each operation that has any; or None
    flops     so far
    changes   [operation, seconds, kind, bytes more or less]: a row whenever what is held changes
    """

    def __init__(self, now, charge=None):
        self.now = now
        self.charge = charge
        self.flops = 0
        self.operations = 0
        self.changes = []
        self._held = {}  # address of a storage -> Held
        self._hooks = {}  # id of a parameter -> (weak reference to it, its hook)
        self._lock = threading.RLock()
        _open.add(self)

    def reading(self):
        """A context manager: this thread's work inside is metered. Threads may share a meter."""
        return Reading(self)

    def read(self):
        """(flops, changes), and the meter is closed."""
        self.close()
        return self.flops, self.changes

    def close(self):
        """Forget all storages and take the hooks off the parameters."""
        for _, hook in self._hooks.values():
            hook.remove()
        self._held = {}
        self._hooks = {}
        _open.discard(self)

    def see(self, tensor, kind=None):
        """Note the storage of a tensor, and of what kind it is if that is known."""
        if is_parameter(tensor):
            kind = PARAMETERS
            self._watch(tensor)
        if tensor.layout is not torch.strided:
            for part in dense_parts(tensor):
                self.see(part, kind)
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = Held(ACTIVATIONS if kind is None else kind)
            held.storage = weakref.ref(storage, lambda _, held=held: self._gone(key, held))
        elif kind is not None and kind != held.kind:
            self._change(held.kind, -held.nbytes)
            self._change(kind, held.nbytes)
            held.kind = kind
        self._measure(held, storage)

    def after(self, flops, args, outputs):
        """An operation has ended."""
        with self._lock, torch._C.DisableTorchFunctionSubclass():
            self.operations += 1
            for arg in args:
                if is_parameter(arg):
                    self.see(arg)
            for tensor in outputs:
                self.see(tensor)
            if self.operations % LOOK_AT_ALL == 0:
                for held in list(self._held.values()):
                    storage = held.storage()
                    if storage is not None:
                        self._measure(held, storage)
            self.flops += flops
        if flops and self.charge is not None:
            self.charge(flops)

    def resized(self, storage):
        """A storage has another size now, whichever rank it belongs to."""
        with self._lock:
            held = self._held.get(storage._cdata)
            if held is not None:
                self._measure(held, storage)

    def _watch(self, parameter):
        """See the gradient of this parameter, now or when autograd makes it."""
        known = self._hooks.get(id(parameter))
        is_new = known is None or known[0]() is not parameter  # an id may be used again
        if is_new and parameter.is_leaf and parameter.requires_grad:
            hook = parameter.register_post_accumulate_grad_hook(self._see_gradient)
            self._hooks[id(parameter)] = (weakref.ref(parameter), hook)
        self._see_gradient(parameter)

    def _see_gradient(self, parameter):
        # A subclass of Parameter may answer for others what a meter asks; see parallel/guarded.py.
        with torch._C.DisableTorchFunctionSubclass():
            if parameter.grad is not None:
                self.see(parameter.grad, GRADIENTS)

    def _measure(self, held, storage):
        nbytes = storage.nbytes()
        if nbytes != held.nbytes:
            self._change(held.kind, nbytes - held.nbytes)
            held.nbytes = nbytes

    def _gone(self, key, held):
        # Another storage may have this address already.
        if self._held.get(key) is held:
            del self._held[key]
            self._change(held.kind, -held.nbytes)

    def _change(self, kind, nbytes):
        if nbytes:
            self.changes.append((self.operations, self.now(), kind, nbytes))


def is_parameter(x):
    """Is it an nn.Parameter? As isinstance() says, which asks torch's code in Python each time."""
    kind = type(x)
    if kind is Parameter:
        return True
    # What is of another class says so itself: the parts of torch's own sharded models do.
    return kind is not torch.Tensor and issubclass(kind, torch.Tensor) and isinstance(x, Parameter)


def flops_of(func, args, kwargs, out):
    """FLOPs of one operation by torch's formula, which is asked once for each tuple of shapes."""
    formula = flop_registry.get(func._overloadpacket)
    if formula is None:
        return 0
    # torch wraps the formulas that get shapes; others read values of their tensors.
    is_of_shapes = hasattr(formula, "__wrapped__") and not kwargs
    try:
        key = (func, *[arg.shape if isinstance(arg, torch.Tensor) else arg for arg in args])
        known = _flops.get(key) if is_of_shapes else None
    except TypeError:  # a list among the arguments
        is_of_shapes = False
        known = None
    if known is None:
        known = formula(*args, **kwargs, out_val=out)
        if is_of_shapes and len(_flops) < shapes.MOST:
            _flops[key] = known
    return known


def dense_parts(tensor):
    """The dense tensors that a sparse one consists of; none for a layout that hides them."""
    return [getattr(tensor, name)() for name in SPARSE_PARTS.get(tensor.layout, ())]


class Reading(TorchDispatchMode):
    """One thread's reading of a meter."""

    def __init__(self, meter):
        super().__init__()
        self.meter = meter

    @classmethod
    def _should_skip_dynamo(cls):
        # torch would wrap each call for its compiler, which takes longer than the meter, and load
        # the compiler for that. keep_from_compiler() below does the same at no cost.
        return False

    def __enter__(self):
        _thread.meters = [*getattr(_thread, "meters", ()), self.meter]
        return super().__enter__()

    def __exit__(self, *exception):
        _thread.meters = _thread.meters[:-1]
        return super().__exit__(*exception)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = shapes.remembered_call(func, args, kwargs)
        flops = flops_of(func, args, kwargs, out)
        if type(out) is torch.Tensor:  # as nearly always
            tensors = (out,)
        else:
            tensors = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.meter.after(flops, args, tensors)
        return out


def keep_from_compiler(function):
    """torch.compile never compiles this function, nor what it calls."""
    skip = eval_frame._FrameAction.SKIP
    # Of the function's own frame, and of those below it.
    eval_frame.set_code_exec_strategy(function.__code__, eval_frame._FrameExecStrategy(skip, skip))


def _after_step(optimizer, *_):
    """What an optimizer keeps is its state, of the innermost meter of the thread that stepped."""
    for meter in getattr(_thread, "meters", ())[-1:]:
        for state in list(optimizer.state.values()):
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    meter.see(value, OPTIMIZER_STATE)


def _reporting(resize_):
    """The method, which also informs the open meters.

    torch has no hook for resizing a storage, and it is not an operation that a mode could see.
    """

    @wraps(resize_)
    def resize(storage, size):
        resize_(storage, size)
        for meter in list(_open):
            meter.resized(storage)

    return resize


keep_from_compiler(Reading.__torch_dispatch__)
register_optimizer_step_post_hook(_after_step)
torch.UntypedStorage.resize_ = _reporting(torch.UntypedStorage.resize_)
