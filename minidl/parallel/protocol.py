"""What do all ways to train one model on N ranks have in common? They can be swapped.

    parallel = way(model, comm, make_optimizer=adam)

    loss_of(parallel(x), y).backward()    on this rank's part of the batch
    parallel.step()                       = synchronise()       finish the backward pass, over ranks
                                            clip()              if a largest norm is given
                                            optimizer.step()    on the parameters in `trained`
                                            share_parameters()  the model has the new parameters
    parallel.full_state_dict()            what one process would have, on every rank

A way overrides only what it does differently from one process. The parts can be called, too: with
data parallel training, call synchronise() and then an optimizer of your own.

Ways can be put into each other: on a mesh of rows and columns,

    parallel = DataParallel(Zero2(model, row, adam), column)

shards the model over the ranks of a row, and averages the gradients of shards over a column. Each
step of the outer way begins with the same step of the inner one.
"""

import weakref
from contextlib import nullcontext

import torch

from minidl.collectives import ring

WRAPPED = weakref.WeakKeyDictionary()  # module -> a weak reference to the way that trains it


class ParallelModel(torch.nn.Module):
    """A model that N ranks train as one process would; each way to do it is a subclass.

        parallel = Zero1(model, comm, make_optimizer=torch.optim.AdamW)
        loss_of(parallel(x), y).backward()
        parallel.step(max_norm=1.0)

    model: a module, or a ParallelModel, whose optimizer then serves if none is made here.
    make_optimizer: list of parameters -> a torch optimizer; without it step() raises ValueError.
    trained: the parameters that this rank's optimizer works on; here all that require a gradient.

    A model is trained in one way at a time: wrapped once more, it is first released by the way
    before. After an error within a step, the next forward pass begins anew, without gradients.

    A subclass overrides those of these that it does otherwise than one process: forward, no_sync,
    synchronise, share_parameters, discard_gradients, reset, squared_norm, full_state_dict, held,
    refresh, release.
    """

    comm = None

    def __init__(self, model, make_optimizer=None, trained=None):
        super().__init__()
        unwrap(model)
        WRAPPED[model] = weakref.ref(self)
        self.model = model
        self.hooks = []  # those of torch, to be removed when the model is released
        self.is_released = False
        self.failures = None  # of runs, as far as this way has taken notice
        self.n_synchronised = 0  # how often synchronise() has come to its end
        self.must_compare = False  # whether ranks may have come to it a different number of times
        self.optimizer = None
        if self.inner is not None:
            trained = self.inner.trained
            self.optimizer = self.inner.optimizer
        elif trained is None:
            trained = [p for p in model.parameters() if p.requires_grad]
        self.trained = trained
        if make_optimizer is not None:
            self.optimizer = make_optimizer(trained)

    @property
    def inner(self):
        """The way inside this one, or None."""
        return self.model if isinstance(self.model, ParallelModel) else None

    def forward(self, *args, **kwargs):
        """The model's own forward pass."""
        self.check_model()
        run_failed = self.run_failed()
        if run_failed:
            self.must_compare = True
        if run_failed or self.pass_failed():
            self.reset()
        return self.model(*args, **kwargs)

    def check_model(self):
        """Raise RuntimeError if the model was wrapped once more."""
        if self.is_released:
            raise RuntimeError(
                f"the model of this {type(self).__name__} was wrapped once more: use the new one"
            )

    def run_failed(self):
        """Whether an error has ended a run, on any rank, since this was last asked."""
        # All ranks see the same number, so all of them begin anew, or none.
        known = self.failures
        self.failures = 0 if self.comm is None else self.comm.failures
        return known is not None and known != self.failures

    def pass_failed(self):
        """Whether an error has ended a backward pass on this rank, and the learner caught it."""
        return False

    def reset(self):
        """An error has ended a step: begin anew, without gradients."""
        if self.inner is not None:
            self.inner.reset()
        self.discard_gradients()

    def compare_steps(self):
        """After an error: raise RuntimeError if only some ranks have made the last step."""
        if not self.must_compare:
            return
        # Rank 0 may have stepped before rank 1 met the error: then they have other weights.
        own = torch.tensor([self.n_synchronised], device=self.comm.device)
        counts = ring.all_gather(own, self.comm).tolist()
        if len(set(counts)) > 1:
            raise RuntimeError(
                f"the ranks have made {counts} steps, because an error ended one of them on some "
                "ranks only, and now they have different weights. Wrap the model once more: all "
                f"ranks then have those of rank 0: {type(self).__name__}(model, comm, ...)"
            )
        self.must_compare = False

    def no_sync(self):
        """A context: no backward pass inside is the last one before synchronise()."""
        return nullcontext() if self.inner is None else self.inner.no_sync()

    def synchronise(self):
        """Finish the backward pass: the gradients of `trained` become the mean over ranks.

        Once a step, after its last backward pass; step() calls it.
        """
        if self.inner is not None:
            self.inner.synchronise()

    def share_parameters(self):
        """Finish the optimizer's step: the model has the new parameters, on every rank."""
        if self.inner is not None:
            self.inner.share_parameters()

    def zero_grad(self, set_to_none=True):
        """Forget all gradients, also those that are under way."""
        if self.inner is not None:
            self.inner.zero_grad()
        self.discard_gradients()

    def discard_gradients(self):
        """No parameter of `trained` has a gradient."""
        for parameter in self.trained:
            parameter.grad = None

    def squared_norm(self):
        """The squared norm of the whole model's gradient, the same on every rank: (1,), float64."""
        if self.inner is not None:
            return self.inner.squared_norm()
        # In float64: many small squares are added.
        squares = [(p.grad.double() ** 2).sum() for p in self.trained if p.grad is not None]
        return torch.as_tensor(sum(squares)).reshape(1)

    def clip(self, max_norm):
        """Scale the gradient so that its norm is at most `max_norm`; returns the norm before."""
        norm = self.squared_norm().sqrt()
        # As torch.nn.utils.clip_grad_norm_ does: a small number guards a norm of zero.
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for parameter in self.trained:
            if parameter.grad is not None:
                parameter.grad.mul_(factor.to(parameter.grad.dtype))
        return norm.item()

    def step(self, max_norm=None):
        """One step of the optimizer with the mean gradient over all ranks since the last step.

        max_norm: the gradient is clipped to this norm. Returns its norm before that, otherwise
        None.
        """
        if self.optimizer is None:
            raise ValueError(
                f"{type(self).__name__} has no optimizer for step(): give it make_optimizer=, "
                "or call synchronise() and then an optimizer of your own"
            )
        self.synchronise()
        # Clipped after the sum over ranks: the norm of a sum is not the sum of norms.
        norm = None if max_norm is None else self.clip(max_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.share_parameters()
        return norm

    def full_state_dict(self):
        """Name -> whole parameter or buffer, a copy, on every rank."""
        if self.inner is not None:
            return self.inner.full_state_dict()
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
        """full_state_dict(), which all ranks call: the names are those of the model itself."""
        state = {f"{prefix}{name}": value for name, value in self.full_state_dict().items()}
        # A module around this one collects the state of its parts in `destination`.
        if destination is None:
            return state
        destination.update(state)
        return destination

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Take whole parameters and buffers, the same on all ranks, as torch's method does."""
        return self.model.load_state_dict(state_dict, strict=strict, assign=assign)

    def held(self):
        """What this rank holds of the model's parameters and buffers, as tensors without copies."""
        if self.inner is not None:
            return self.inner.held()
        # parameters() names a tied parameter once.
        return [*self.model.parameters(), *self.model.buffers()]

    def refresh(self):
        """The tensors in held() have new values: from now on the model computes with them."""
        if self.inner is not None:
            self.inner.refresh()

    def release(self):
        """Leave the model to another way: no hook of this one is called any more."""
        # Otherwise both ways would count each gradient.
        for hook in self.hooks:
            hook.remove()
        self.is_released = True

    def __deepcopy__(self, memo):
        raise TypeError(self._not_copied("copied"))

    def __reduce_ex__(self, protocol):
        raise TypeError(self._not_copied("pickled"))

    def _not_copied(self, how):
        name = type(self).__name__
        return (
            f"a {name} cannot be {how}, since it has a Comm. Copy its model, `.model` (that of "
            "Zero3 within gathered()), or save its state_dict(), which all ranks call"
        )


def unwrap(model):
    """If the model, or a part of it, is trained in some way, release it."""
    # The way inside another one goes on.
    modules = [model] if isinstance(model, ParallelModel) else model.modules()
    for module in modules:
        way = WRAPPED.get(module)
        if way is not None and way() is not None and not way().is_released:
            way().release()


class Hook:
    """A function that torch calls: hook(*args) is function(*first, *args).

    A copy of a model, by deepcopy or pickle, has hooks that do nothing: it is an ordinary model.
    """

    def __init__(self, function, *first):
        self.function = function
        self.first = first

    @torch.compiler.disable  # a compiled model stops for it, and goes on afterwards
    def __call__(self, *args):
        return self.function(*self.first, *args)

    def __deepcopy__(self, memo):
        return silent

    def __reduce__(self):
        return no_hook, ()


def silent(*args):
    """What the hooks of a copied model do."""


def no_hook():
    """The hook of a model that comes out of a file."""
    return silent


def in_backward():
    """Whether this thread runs a backward pass."""
    return torch._C._current_graph_task_id() != -1


class OneProcess(ParallelModel):
    """The model trained by this process alone, without a message: what every other way must equal.

        alone = OneProcess(model, make_optimizer=torch.optim.AdamW)
        loss_of(alone(x), y).backward()
        alone.step()

    comm is not used; it stands here so that OneProcess can take the place of another way.
    """

    def __init__(self, model, comm=None, make_optimizer=None):
        super().__init__(model, make_optimizer)
