"""ZeRO stage 2: gradients are sharded, too. A layer's gradient is reduced as soon as it is there.

    backward   | layer 2 | layer 1 | layer 0 |
    messages             | layer 2 | layer 1 | layer 0 |   reduce-scatter, then it is freed

No rank ever holds all whole gradients. With k backward passes a step, gradients are sent k times,
where stage 1 lets them add up. Rajbhandari et al. 2020, "ZeRO", sec. 5.2.
"""

from minidl.collectives import ring
from minidl.parallel.gradient_queue import GradientQueue
from minidl.parallel.sharded import Sharded


def textbook_zero2_step(loss, shard_of, optimizer, comm):
    """Every rank has the new parameters; no rank ever held all whole gradients.

    shard_of: parameter -> its shard on this rank, (p.numel() / N,), which the optimizer works on.
    """

    def reduce(p):
        shard = shard_of[p]
        shard.grad = ring.reduce_scatter(p.grad.flatten(), comm) / comm.world_size
        p.grad = None  # frees it

    # torch calls reduce(p) during the backward pass, as soon as p.grad is there.
    hooks = [p.register_post_accumulate_grad_hook(reduce) for p in shard_of]
    loss.backward()
    for hook in hooks:
        hook.remove()
    # Each rank's optimizer changes its shards. Then every rank gets all of them.
    optimizer.step()
    for p, shard in shard_of.items():
        p.data = ring.all_gather(shard, comm).view_as(p)


class Zero2(Sharded):
    """The model with optimizer state and gradients sharded; parameters are whole on every rank.

        zero = Zero2(model, comm, torch.optim.AdamW)
        loss_of(zero(x), y).backward()
        zero.step()

    Gradients travel during the backward pass, beside the computation. A step with k backward passes
    sends k + 1 times (N - 1) / N of the parameters. Arguments as those of Sharded.
    """

    def __init__(self, model, comm, make_optimizer, **how):
        super().__init__(model, comm, make_optimizer, **how)
        self.gradients = GradientQueue(self.units, comm, self.reduce_scatter)
        self.hooks += self.gradients.hooks

    def synchronise(self):
        """Every rank has its shard of the mean gradient."""
        self.compare_steps()
        self.adopt()
        self.gradients.finish()
        self.n_synchronised += 1
