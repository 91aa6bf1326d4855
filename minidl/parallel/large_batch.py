"""With N times the ranks the batch is N times as large. What else must change?

    rate     peak |     .--------  the learning rate grows with the batch, after a warm-up
             base |  .-'           Goyal et al. 2017, "Accurate, large minibatch SGD", sec. 2.1, 2.2
                  +---------- step

    noise    B_noise = trace(covariance) / |gradient|^2: a batch far below it wastes no example, one
             far above it wastes most of them. McCandlish et al. 2018, "An empirical model of
             large-batch training", sec. 2.2

Left out: that a model trained with very large batches may do worse on data it has not seen.
Notebook 03 measures it.
"""

from typing import NamedTuple

import torch

from minidl.collectives import ring


def scaled_rate(step, base, ranks, warmup_steps):
    """The learning rate of a step: `base`, rising to `ranks * base` during the warm-up."""
    # From 0 to 1. The first step of the warm-up is already one part above `base`.
    reached = 1.0
    if step + 1 < warmup_steps:
        reached = (step + 1) / warmup_steps
    return base * (1 + (ranks - 1) * reached)


class NoiseScale(NamedTuple):
    """|G|^2, and the trace of G's covariance for one example. For B_noise, add up several steps:

    estimates = [noise_scale(own, mean, batch, comm) for own, mean in gradients_of_steps]
    signal = sum(e.signal for e in estimates)
    B_noise = sum(e.noise for e in estimates) / signal
    """

    signal: float
    noise: float


def noise_scale(own, mean, batch, comm, all_reduce=ring.all_reduce):
    """Signal and noise of the gradient, on every rank. One all-reduce of one number.

    own: this rank's flat gradient, the mean over `batch` examples; mean: the mean of all ranks'
    gradients. Unbiased, but noisy: average signal and noise over steps before dividing.
    McCandlish et al. 2018, appendix A.1. Raises ValueError on one rank.
    """
    N = comm.world_size
    if N < 2:
        raise ValueError(
            "noise_scale compares two batch sizes: one rank's and all ranks'; it needs two ranks"
        )
    # |G|^2 of a batch of B examples is signal + noise / B on average. Two sizes give two equations.
    small = batch
    large = batch * N
    small_norm = all_reduce((own * own).sum().reshape(1), comm).item() / N
    large_norm = float((mean * mean).sum())
    signal = (large * large_norm - small * small_norm) / (large - small)
    noise = (small_norm - large_norm) / (1 / small - 1 / large)
    return NoiseScale(signal, noise)


def flat_gradient(model):
    """All gradients of a model in one vector; zeros where there is none."""
    parts = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            gradient = parameter.grad
            if gradient is None:
                gradient = torch.zeros_like(parameter)
            parts.append(gradient.reshape(-1))
    return torch.cat(parts)
