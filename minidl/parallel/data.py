"""How do N ranks train one model on N parts of a batch, and end with the model that one process would have?

    rank 0   forward, backward on part 0 ---.                      every rank starts with the same weights, adds the
    rank 1   forward, backward on part 1 ----> mean of gradients   same mean gradient, and so has the same weights
    rank 2   forward, backward on part 2 ---'                      after every step: nothing else is ever sent

Three classes, each the same mean and less waiting than the one before:

    NaiveDataParallel     one all-reduce a parameter, after the backward pass        | backward |w|b|w|b|w|b|
    BucketedDataParallel  one all-reduce a bucket, after the backward pass           | backward | bucket | bucket |
    DataParallel          a bucket leaves as soon as its gradients are there         | backward     |
                                                                                           | bucket | bucket |
Li et al. 2020, "PyTorch Distributed: experiences on accelerating data parallel training", sec. 3.2.
Left out: what to do with uneven batches (weighted() below says how to scale the loss), and large batches.
"""

from contextlib import contextmanager

import torch

from minidl.collectives import ring, tree
from minidl.plans.buckets import buckets

MIB = 1 << 20


class NaiveDataParallel(torch.nn.Module):
    """The model, on every rank with rank 0's weights; synchronise() gives every rank the mean of all gradients.

    all_reduce: any function of (x, comm) that returns the sum over ranks, in memory that it does not use again. Frozen
    parameters take no part; a tied one takes part once. unused: True if a parameter may get no gradient on some rank; it then counts as zero there, and
    one that gets none anywhere keeps none. Each synchronise() costs one all-reduce a parameter.
    Raises ValueError on a rank where a parameter has no gradient and `unused` is False.
    """

    def __init__(self, model, comm, all_reduce=ring.all_reduce, *, unused=False):
        super().__init__()
        self.model, self.comm, self.all_reduce, self.unused = model, comm, all_reduce, unused
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.names, self.parameters_ = list(trained), list(trained.values())
        self.synchronising = True
        share_state(model, comm)

    def forward(self, *args, **kwargs):
        return self.model(*args, **kwargs)

    @contextmanager
    def no_sync(self):
        """Backward passes inside only add to this rank's gradients; the next synchronise() outside sends their sum."""
        before, self.synchronising = self.synchronising, False
        try:
            yield
        finally:
            self.synchronising = before

    def synchronise(self):
        """After the backward pass: every gradient becomes the mean over ranks. Does nothing within no_sync()."""
        if not self.synchronising:
            return
        for index in range(len(self.parameters_)):
            flat = self.packed([index])
            self.unpack([index], self.all_reduce(flat, self.comm))

    def packed(self, indices):
        """The gradients of these parameters in one flat tensor; with `unused`, a 1 or 0 for each behind them."""
        parts = []
        for i in indices:
            parameter = self.parameters_[i]
            if parameter.grad is None and not self.unused:
                raise ValueError(
                    f"{self.names[i]} got no gradient on rank {self.comm.rank}: if a parameter may be unused, "
                    "say unused=True; if it is never trained, freeze it with requires_grad_(False)"
                )
            parts.append(
                torch.zeros_like(parameter).reshape(-1)
                if parameter.grad is None
                else parameter.grad.reshape(-1)
            )
        if self.unused:
            parts.append(
                parts[0].new_tensor([float(self.parameters_[i].grad is not None) for i in indices])
            )
        return torch.cat(parts)

    def unpack(self, indices, total):
        """Give each of these parameters its part of the sum, divided by the number of ranks."""
        start, mean = (
            0,
            total.div_(self.comm.world_size),
        )  # in place: fresh memory costs more than the division
        for i, used in zip(
            indices,
            total[len(total) - len(indices) :].tolist() if self.unused else [1.0] * len(indices),
        ):
            parameter = self.parameters_[i]
            part = mean[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
            parameter.grad = part if used else None


class BucketedDataParallel(NaiveDataParallel):
    """The same mean; gradients travel in buckets of at most `capacity` bytes, those of the last layers first.

    Each synchronise() costs one all-reduce a bucket. Small buckets cost alpha each, one large one leaves late and
    does not fit the processor's cache; 8 MiB was best in benchmarks/data_parallel.py. wire_dtype: shares of the mean
    are cast to it on the way, which halves the bytes for torch.bfloat16, and added there, too.
    """

    def __init__(
        self,
        model,
        comm,
        all_reduce=ring.all_reduce,
        *,
        unused=False,
        capacity=8 * MIB,
        wire_dtype=None,
    ):
        super().__init__(model, comm, all_reduce, unused=unused)
        self.wire_dtype = wire_dtype
        kinds = sorted({p.dtype for p in self.parameters_}, key=str)  # a bucket holds one dtype
        chosen = {
            kind: [i for i, p in enumerate(self.parameters_) if p.dtype == kind] for kind in kinds
        }
        self.buckets = [
            [own[i] for i in bucket]
            for own in chosen.values()
            for bucket in buckets([self.parameters_[i].nbytes for i in own], capacity)
        ]

    def synchronise(self):
        if not self.synchronising:
            return
        for bucket in self.buckets:
            self.unpack(bucket, self.reduced(self.packed(bucket)))

    def reduced(self, flat, comm=None):
        """The sum of this tensor over ranks, in its own dtype."""
        comm = self.comm if comm is None else comm
        if self.wire_dtype is None:
            return self.all_reduce(flat, comm)
        share = (flat / comm.world_size).to(
            self.wire_dtype
        )  # a mean fits where a sum may not: float16 ends at 65,504
        return self.all_reduce(share, comm).to(flat.dtype) * comm.world_size


class DataParallel(BucketedDataParallel):
    """The same mean; a bucket leaves during the backward pass, as soon as all of its gradients are there.

    A hook on each parameter counts the gradients that have come. Buckets leave in their order on every rank, whatever
    the order of the gradients, or one rank's bucket 1 would meet another rank's bucket 0. They travel beside the
    computation (comm.background), and synchronise() waits for the last one.
    """

    def __init__(
        self,
        model,
        comm,
        all_reduce=ring.all_reduce,
        *,
        unused=False,
        capacity=8 * MIB,
        wire_dtype=None,
    ):
        super().__init__(
            model, comm, all_reduce, unused=unused, capacity=capacity, wire_dtype=wire_dtype
        )
        self.bucket_of = {i: number for number, bucket in enumerate(self.buckets) for i in bucket}
        for i, parameter in enumerate(self.parameters_):
            parameter.register_post_accumulate_grad_hook(lambda _, i=i: self.arrived(i))
        self.missing, self.under_way = [len(bucket) for bucket in self.buckets], []

    def arrived(self, i):
        """The gradient of parameter i is there: send what is now complete."""
        if not self.synchronising:
            return
        if self.bucket_of[i] < len(self.under_way):
            raise ValueError(
                f"{self.names[i]} got a second gradient before synchronise(): put every backward pass but the last into no_sync()"
            )
        self.missing[self.bucket_of[i]] -= 1
        while len(self.under_way) < len(self.buckets) and self.missing[len(self.under_way)] <= 0:
            self.leave()

    def leave(self):
        """The next bucket goes on its way."""
        flat = self.packed(self.buckets[len(self.under_way)])
        self.under_way.append(self.comm.background(self.reduced, flat, self.comm))

    def synchronise(self):
        if not self.synchronising:
            return
        while len(self.under_way) < len(self.buckets):  # those with unused parameters
            self.leave()
        for bucket, work in zip(self.buckets, self.under_way):
            self.unpack(bucket, work.wait())
        self.missing, self.under_way = [len(bucket) for bucket in self.buckets], []


def share_state(model, comm, root=0):
    """Every rank has the root's parameters and buffers. One broadcast for each dtype; a tied parameter travels once."""
    with torch.no_grad():
        tensors = [*model.parameters(), *model.buffers()]
        for dtype in dict.fromkeys(t.dtype for t in tensors):
            own = [t for t in tensors if t.dtype == dtype]
            flat = tree.broadcast(torch.cat([t.reshape(-1) for t in own]), comm, root=root)
            for tensor, part in zip(own, flat.split([t.numel() for t in own])):
                tensor.copy_(part.view_as(tensor))


def weighted(loss, rows, comm, all_reduce=ring.all_reduce):
    """`loss`, the mean over this rank's `rows` rows, scaled so that the mean of all ranks' gradients is the one over all rows.

    For batches that do not split evenly. One all-reduce of one number. A rank without rows gives loss = 0 times
    something that depends on the parameters, or uses unused=True. Raises ValueError if no rank has a row.
    """
    total = all_reduce(torch.tensor([float(rows)]), comm).item()
    if total == 0:
        raise ValueError("no rank has a row in this batch: leave the step out, on all ranks")
    return loss * (rows * comm.world_size / total)
