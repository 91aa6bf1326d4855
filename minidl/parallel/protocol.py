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
"""

from contextlib import nullcontext

import torch


class ParallelModel(torch.nn.Module):
    """A model that N ranks train as one process would; each way to do it is a subclass.

        parallel = Zero1(model, comm, make_optimizer=torch.optim.AdamW)
        loss_of(parallel(x), y).backward()
        parallel.step(max_norm=1.0)

    make_optimizer: list of parameters -> a torch optimizer; without it step() raises ValueError.
    trained: the parameters that this rank's optimizer works on; here all that require a gradient.

    A subclass overrides those of these that it does otherwise than one process: forward, no_sync,
    synchronise, share_parameters, squared_norm, full_state_dict.
    """

    def __init__(self, model, make_optimizer=None, trained=None):
        super().__init__()
        if trained is None:
            trained = [p for p in model.parameters() if p.requires_grad]
        self.model = model
        self.trained = trained
        self.optimizer = None
        if make_optimizer is not None:
            self.optimizer = make_optimizer(trained)

    def forward(self, *args, **kwargs):
        """The model's own forward pass."""
        return self.model(*args, **kwargs)

    def no_sync(self):
        """A context: no backward pass inside is the last one before synchronise()."""
        return nullcontext()

    def synchronise(self):
        """Finish the backward pass: the gradients of `trained` become the mean over ranks.

        Once a step, after its last backward pass; step() calls it.
        """

    def share_parameters(self):
        """Finish the optimizer's step: the model has the new parameters, on every rank."""

    def squared_norm(self):
        """The squared norm of the whole model's gradient, the same on every rank: (1,), float64."""
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
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}


class OneProcess(ParallelModel):
    """The model trained by this process alone, without a message: what every other way must equal.

        alone = OneProcess(model, make_optimizer=torch.optim.AdamW)
        loss_of(alone(x), y).backward()
        alone.step()

    comm is not used; it stands here so that OneProcess can take the place of another way.
    """

    def __init__(self, model, comm=None, make_optimizer=None):
        super().__init__(model, make_optimizer)
