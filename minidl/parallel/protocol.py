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

from contextlib import nullcontext

import torch
import torch._dynamo  # noqa: F401  The first optimizer loads it, in a second; ranks fork with it.


class ParallelModel(torch.nn.Module):
    """A model that N ranks train as one process would; each way to do it is a subclass.

        parallel = Zero1(model, comm, make_optimizer=torch.optim.AdamW)
        loss_of(parallel(x), y).backward()
        parallel.step(max_norm=1.0)

    model: a module, or a ParallelModel, whose optimizer then serves if none is made here.
    make_optimizer: list of parameters -> a torch optimizer; without it step() raises ValueError.
    trained: the parameters that this rank's optimizer works on; here all that require a gradient.

    A subclass overrides those of these that it does otherwise than one process: forward, no_sync,
    synchronise, share_parameters, squared_norm, full_state_dict, held, refresh.
    """

    def __init__(self, model, make_optimizer=None, trained=None):
        super().__init__()
        self.model = model
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
        return self.model(*args, **kwargs)

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
        # After the sum over ranks: the norm of a sum is not the sum of norms.
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


class OneProcess(ParallelModel):
    """The model trained by this process alone, without a message: what every other way must equal.

        alone = OneProcess(model, make_optimizer=torch.optim.AdamW)
        loss_of(alone(x), y).backward()
        alone.step()

    comm is not used; it stands here so that OneProcess can take the place of another way.
    """

    def __init__(self, model, comm=None, make_optimizer=None):
        super().__init__(model, make_optimizer)
