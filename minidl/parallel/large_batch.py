"""With N times the ranks the batch is N times as large. What else must change, and where does it end?

    rate     peak |     .--------        the learning rate grows with the batch, after a warm-up
             base |  .-'                 (Goyal et al. 2017, "Accurate, large minibatch SGD", sec. 2.1 and 2.2)
                  +---------- step
    noise    B_noise = trace(covariance) / |gradient|^2: a batch far below it wastes no example, one far
             above it wastes most of them (McCandlish et al. 2018, "An empirical model of large-batch training", sec. 2.2)

Left out: that a model trained with very large batches may do worse on data it has not seen. Notebook 03 measures it.
"""

import torch

from minidl.collectives import ring


def scaled_rate(step, base, ranks, warmup_steps):
    """The learning rate of a step: from `base` up to `ranks * base` in equal parts during the warm-up, then constant."""
    reached = 1.0 if warmup_steps == 0 else min(1.0, (step + 1) / warmup_steps)
    return base * (1 + (ranks - 1) * reached)


def noise_scale(own, mean, batch, comm, all_reduce=ring.all_reduce):
    """(signal, noise) of the gradient: |G|^2 and the trace of its covariance for one example. Their ratio is B_noise.

    own: this rank's flat gradient, the mean over `batch` examples; mean: the mean of all ranks' gradients. Both are there
    in data parallel training, so the estimate costs one all-reduce of one number. Unbiased, but noisy: average signal
    and noise over steps before dividing. McCandlish et al. 2018, appendix A.1. Raises ValueError on one rank.
    """
    if comm.world_size < 2:
        raise ValueError(
            "noise_scale compares two batch sizes: one rank's and all ranks'; it needs two ranks"
        )
    small, large = batch, batch * comm.world_size
    small_norm = all_reduce((own * own).sum().reshape(1), comm).item() / comm.world_size
    large_norm = float((mean * mean).sum())
    signal = (large * large_norm - small * small_norm) / (large - small)
    noise = (small_norm - large_norm) / (1 / small - 1 / large)
    return signal, noise


def flat_gradient(model):
    """All gradients of a model in one vector; zeros where there is none."""
    return torch.cat(
        [
            (torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1)
            for p in model.parameters()
            if p.requires_grad
        ]
    )
