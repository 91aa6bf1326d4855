"""How does batch normalisation see the whole batch, when each rank has only a part of it?

    rank r, forward:  [sum x, sum x^2, rows] --one all-reduce--> mean, variance over all ranks' rows
    rank r, backward: [sum dy, sum dy * x^]  --one all-reduce--> the parts of dx through them

Averaging each rank's own mean and variance is not the same: it leaves out how far the ranks' means
are apart. Sums are in float64: the difference of two large numbers would lose a small variance.
Ioffe & Szegedy 2015, "Batch normalization", sec. 3 (both formulas); Peng et al. 2018, "MegDet",
sec. 3.2 (across devices).
"""

from functools import cache

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin

from minidl.collectives import ring


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation with the statistics of all ranks' rows. One all-reduce in each pass.

        norm = synchronised(torch.nn.BatchNorm2d(16), comm)
        y = norm(x)                                  # x: this rank's rows

    x: (B, C) or (B, C, ...) -> the same; B may differ between ranks. synchronised() makes a norm
    one of these, so that its weights, running statistics and names stay. In eval mode nothing is
    sent. Raises ValueError for a single value per channel.
    """

    def forward(self, x):
        """This rank's rows, normalised."""
        self.has_synchronised = True
        if not self.training and self.track_running_stats:
            return super().forward(x)
        self._check_input_dim(x)
        y, mean, variance, rows = Normalised.apply(x, self.eps, self.comm, self.all_reduce)
        if self.track_running_stats:
            # torch keeps the unbiased variance.
            self.remember(mean, variance * rows / (rows - 1))
        if self.weight is not None:
            shape = channel_shape(x)
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    def remember(self, mean, variance):
        """Update the running statistics as torch's BatchNorm does."""
        self.num_batches_tracked += 1
        # Without a momentum: the plain average over all batches.
        share = self.momentum
        if share is None:
            share = 1 / float(self.num_batches_tracked)
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            running.lerp_(new.detach().to(running.dtype), share)


class Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) over the rows of all ranks, and its gradient."""

    @staticmethod
    def forward(ctx, x, eps, comm, all_reduce):
        """x: (B, C, ...) -> y like x; mean and variance of each channel, (C,); rows."""
        ctx.dtype = x.dtype
        ctx.comm = comm
        ctx.all_reduce = all_reduce
        ctx.shape = channel_shape(x)
        ctx.dims = [d for d in range(x.dim()) if d != 1]  # all but the channels
        if x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()
        C = x.shape[1]
        rows = x.numel() // C
        sums = x.sum(ctx.dims, dtype=torch.float64)  # (C,)

        # Squares around this rank's own mean m, which are small, and from them those around zero:
        # sum x^2 = sum (x - m)^2 + m (2 sum x - rows m)
        own_mean = (sums / max(rows, 1)).to(x.dtype)
        m = own_mean.double()
        around_mean = (x - own_mean.view(ctx.shape)).square().sum(ctx.dims, dtype=torch.float64)
        squares = around_mean + m * (2 * sums - rows * m)  # (C,)

        pooled = all_reduce(torch.cat([sums, squares, sums.new_tensor([rows])]), comm)
        rows = pooled[-1]  # of all ranks
        if rows <= 1:
            raise ValueError("SyncBatchNorm needs more than one value per channel over all ranks")
        mean = pooled[:C] / rows
        variance = (pooled[C : 2 * C] / rows - mean * mean).clamp_(min=0)
        scale = (variance + eps).rsqrt().to(x.dtype)
        y = (x - mean.to(x.dtype).view(ctx.shape)) * scale.view(ctx.shape)
        ctx.save_for_backward(y, scale)
        ctx.rows = float(rows)
        ctx.mark_non_differentiable(mean, variance, rows)
        return y, mean, variance, rows

    @staticmethod
    def backward(ctx, dy, *_):
        """dy: like y -> the gradient of x. The other results have none."""
        y, scale = ctx.saved_tensors
        sums = torch.cat([dy.sum(ctx.dims), (dy * y).sum(ctx.dims)])  # (2 C,)
        means = ctx.all_reduce(sums, ctx.comm) / ctx.rows
        # dx = (dy - mean(dy) - y mean(dy y)) / sqrt(variance + eps), channel by channel
        mean_dy, mean_dy_y = means.chunk(2)
        through_mean = mean_dy.view(ctx.shape)
        through_variance = y * mean_dy_y.view(ctx.shape)
        dx = (dy - through_mean - through_variance) * scale.view(ctx.shape)
        return dx.to(ctx.dtype), None, None, None


def channel_shape(x):
    """The shape in which one number a channel meets x: (1, C, 1, ...) as (1, -1, 1, ...)."""
    return (1, -1) + (1,) * (x.dim() - 2)


def synchronised(model, comm, all_reduce=ring.all_reduce):
    """The model with each BatchNorm made a SyncBatchNorm; changed in place and returned.

        model = synchronised(torchvision.models.resnet18(), comm)

    The model itself may be one. A subclass of BatchNorm keeps what it adds, if its forward() calls
    super().forward(); one that does not raises RuntimeError in its first pass. state_dict() is as
    before. Raises TypeError for a norm of torch that cannot be made one.
    """
    for name, norm in model.named_modules():
        if not isinstance(norm, _BatchNorm):
            continue
        if isinstance(norm, (torch.nn.SyncBatchNorm, LazyModuleMixin)):
            place = name or "the model"
            raise TypeError(
                f"{place} is a {type(norm).__name__}: give synchronised() a BatchNorm, which knows "
                "its number of channels"
            )
        norm.comm = comm
        norm.all_reduce = all_reduce
        if not isinstance(norm, SyncBatchNorm):
            # The same object, so a norm that is used twice in the model is synchronised twice.
            norm.__class__ = synchronised_class(type(norm))
            norm.register_forward_hook(check_synchronised)
    return model


@cache
def synchronised_class(kind):
    """A class like this subclass of BatchNorm, whose super().forward() is SyncBatchNorm's."""
    # In the order of its bases, SyncBatchNorm stands between `kind` and torch's own class.
    return type(f"Sync{kind.__name__}", (kind, SyncBatchNorm), {"__module__": kind.__module__})


def check_synchronised(norm, args, output):
    """A hook after the forward pass of a norm: raise RuntimeError if it did not synchronise."""
    if not vars(norm).pop("has_synchronised", False):
        kind = type(norm).__mro__[1].__name__
        raise RuntimeError(
            f"{kind}.forward() normalises by itself and not by super().forward(), so its "
            "statistics would be those of one rank: let it call super().forward(x)"
        )
