"""How does batch normalisation see the whole batch, when each rank has only a part of it?

    rank r, forward:    [sum x, sum x^2, rows] --one all-reduce--> mean and variance over all ranks' rows (in float64:
                        the difference of two large numbers would lose a small variance)
    rank r, backward:   [sum dy, sum dy * x^]  --one all-reduce--> the parts of dx that come through them

Averaging each rank's own mean and variance is not the same: it leaves out how far the ranks' means are apart.
Ioffe & Szegedy 2015, "Batch normalization", sec. 3 (both formulas); Peng et al. 2018, "MegDet", sec. 3.2 (across devices).
"""

import torch

from minidl.collectives import ring


class SyncBatchNorm(torch.nn.Module):
    """Batch normalisation with the statistics of all ranks' rows. One all-reduce in each pass.

    x: (B, C) or (B, C, ...) -> the same; B may differ between ranks. `norm` is the BatchNorm whose weights and running
    statistics are used and kept. In eval mode nothing is sent. Raises ValueError for a single value per channel.
    """

    def __init__(self, norm, comm, all_reduce=ring.all_reduce):
        super().__init__()
        self.norm, self.comm, self.all_reduce = norm, comm, all_reduce

    def forward(self, x):
        norm = self.norm
        if not norm.training and norm.track_running_stats:
            return norm(x)
        y, mean, variance, rows = Normalised.apply(x, norm.eps, self.comm, self.all_reduce)
        if norm.track_running_stats:
            self.remember(mean, variance * rows / (rows - 1))
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return (
            y if norm.weight is None else y * norm.weight.view(shape) + norm.bias.view(shape)
        ).to(x.dtype)

    def remember(self, mean, variance):
        """Update the running statistics as torch's BatchNorm does: with the unbiased variance."""
        norm = self.norm
        norm.num_batches_tracked += 1
        share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean.detach().to(norm.running_mean.dtype), share)
        norm.running_var.lerp_(variance.detach().to(norm.running_var.dtype), share)


class Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) over the rows of all ranks, and its gradient."""

    @staticmethod
    def forward(ctx, x, eps, comm, all_reduce):
        over, shape = [d for d in range(x.dim()) if d != 1], (1, -1) + (1,) * (x.dim() - 2)
        kind, x = x.dtype, x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        C, rows = x.shape[1], x.numel() // x.shape[1]
        sums = x.sum(over, dtype=torch.float64)
        own = (sums / max(rows, 1)).to(
            x.dtype
        )  # squares around this rank's own mean, then around zero
        squares = (x - own.view(shape)).square().sum(over, dtype=torch.float64) + own.double() * (
            2 * sums - rows * own.double()
        )
        pooled = all_reduce(torch.cat([sums, squares, sums.new_tensor([rows])]), comm)
        rows = pooled[-1]
        if rows <= 1:
            raise ValueError("SyncBatchNorm needs more than one value per channel over all ranks")
        mean = pooled[:C] / rows
        variance = (pooled[C : 2 * C] / rows - mean * mean).clamp_(min=0)
        scale = (variance + eps).rsqrt().to(x.dtype)
        y = (x - mean.to(x.dtype).view(shape)) * scale.view(shape)
        ctx.save_for_backward(y, scale)
        ctx.rows, ctx.over, ctx.shape, ctx.comm, ctx.all_reduce, ctx.kind = (
            float(rows),
            over,
            shape,
            comm,
            all_reduce,
            kind,
        )
        ctx.mark_non_differentiable(mean, variance, rows)
        return y, mean, variance, rows

    @staticmethod
    def backward(ctx, dy, *_):
        y, scale = ctx.saved_tensors
        pooled = (
            ctx.all_reduce(torch.cat([dy.sum(ctx.over), (dy * y).sum(ctx.over)]), ctx.comm)
            / ctx.rows
        )
        mean_dy, mean_dy_y = pooled.chunk(2)
        dx = (dy - mean_dy.view(ctx.shape) - y * mean_dy_y.view(ctx.shape)) * scale.view(ctx.shape)
        return dx.to(ctx.kind), None, None, None


def synchronised(model, comm, all_reduce=ring.all_reduce):
    """The model with each BatchNorm in it replaced by a SyncBatchNorm around it; changed in place and returned."""
    for name, child in list(model.named_children()):
        if isinstance(child, torch.nn.modules.batchnorm._BatchNorm):
            setattr(model, name, SyncBatchNorm(child, comm, all_reduce))
        else:
            synchronised(child, comm, all_reduce)
    return model
