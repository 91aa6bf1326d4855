"""ZeRO stage 1: each rank runs the optimizer for 1 / N of the parameters, its shard.

    gradients        [ g g g | g g g | g g g ]    whole on every rank
    reduce-scatter           [ g g g ]            rank 1 has the mean of the middle third,
    optimizer                [ w w w ]            and changes the middle third of the parameters
    all-gather       [ w w w | w w w | w w w ]    every rank has all new parameters

The bytes are those of an all-reduce of the gradients, which is a reduce-scatter and an all-gather.
Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models",
sec. 5.1.
"""

from torch.nn.utils import parameters_to_vector, vector_to_parameters

from minidl.collectives import ring
from minidl.parallel.sharded import Sharded


def textbook_zero1_step(model, shard, optimizer, comm):
    """Every rank has the new parameters, 1 / N of which its own optimizer computed.

    shard: this rank's part of the parameters in one vector, (P / N,), all that `optimizer` knows.
    """
    gradient = parameters_to_vector([p.grad for p in model.parameters()])  # (P,)
    shard.grad = ring.reduce_scatter(gradient, comm) / comm.world_size  # (P / N,)
    optimizer.step()
    parameters = ring.all_gather(shard, comm)  # (P,)
    vector_to_parameters(parameters, model.parameters())


class Zero1(Sharded):
    """The model with its optimizer's state sharded; parameters and gradients are whole.

        zero = Zero1(model, comm, torch.optim.AdamW)
        loss_of(zero(x), y).backward()
        zero.step()

    A step sends a reduce-scatter and an all-gather a unit: 2 (N - 1) / N times the parameters,
    however many backward passes it has. Arguments as those of Sharded.
    """

    def synchronise(self):
        """Every rank has its shard of the mean gradient, and no whole gradient."""
        self.compare_steps()
        self.adopt()
        for flat in self.trained_flats:
            flat.scatter(flat.take_gradient(), self.reduce_scatter, self.comm)
        self.n_synchronised += 1
