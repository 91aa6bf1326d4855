"""How do N ranks train one model on N parts of a batch, and end with the model of one process?

    rank 0   forward, backward on part 0 ---.                      the same weights at first,
    rank 1   forward, backward on part 1 ----> mean of gradients   the same gradient in each step:
    rank 2   forward, backward on part 2 ---'                      the same weights after each step

The textbook versions come first. Three classes compute the same mean, each waits less than the
one before:

    NaiveDataParallel     one all-reduce a parameter, after the backward pass | backward |w|b|w|b|
    BucketedDataParallel  one all-reduce a bucket, after the backward pass    | backward |w b|w b|
    DataParallel          a bucket leaves as soon as its gradients are there  | backward    |
                                                                                |w b|w b|

Li et al. 2020, "PyTorch Distributed: experiences on accelerating data parallel training", sec. 3.2.
Left out: uneven batches (weighted() below scales the loss for them), and large batches.
"""

from contextlib import contextmanager
from functools import partial

import torch

from minidl.collectives import ring, tree
from minidl.parallel.protocol import Hook, ParallelModel, in_backward
from minidl.plans.buckets import buckets
from minidl.plans.shards import split_points

MIB = 1 << 20


def textbook_average_gradients(model, comm, all_reduce=ring.all_reduce):
    """Every rank's gradients become the mean over ranks. One all-reduce a parameter."""
    for p in model.parameters():
        p.grad = all_reduce(p.grad, comm) / comm.world_size


def textbook_overlapped_backward(loss, buckets, comm, all_reduce=ring.all_reduce):
    """The same mean; a bucket's all-reduce begins while the layers below it still compute.

    buckets: lists of parameters, those of the last layers first.
    """
    missing = [len(bucket) for bucket in buckets]
    in_flight = []

    def arrived(number, p):
        missing[number] -= 1
        # Buckets leave in one order on every rank. Otherwise one rank's bucket 1 would be added to
        # another rank's bucket 0.
        while len(in_flight) < len(buckets) and missing[len(in_flight)] == 0:
            next_bucket = buckets[len(in_flight)]
            flat = torch.cat([p.grad.flatten() for p in next_bucket])
            in_flight.append(comm.background(all_reduce, flat))

    hooks = []
    for number, bucket in enumerate(buckets):
        for p in bucket:
            # torch calls arrived(number, p) when p.grad is there.
            hook = p.register_post_accumulate_grad_hook(partial(arrived, number))
            hooks.append(hook)
    loss.backward()
    for bucket, work in zip(buckets, in_flight):
        mean = work.wait() / comm.world_size
        parts = mean.split([p.numel() for p in bucket])
        for p, part in zip(bucket, parts):
            p.grad = part.view_as(p)
    for hook in hooks:
        hook.remove()


class NaiveDataParallel(ParallelModel):
    """The model on every rank, with rank 0's weights at first; one all-reduce a parameter and step.

        parallel = NaiveDataParallel(model, comm)
        loss_of(parallel(x), y).backward()
        parallel.synchronise()                # now each gradient is the mean over ranks

    all_reduce: a function of (x, comm) that returns the sum over ranks in memory of its own. Frozen
    parameters take no part; a tied one takes part once. unused: True if a parameter may get no
    gradient on some rank; it counts as zero there, and one that gets none on any rank keeps none.
    model and make_optimizer: see ParallelModel. synchronise() raises ValueError on a rank where a
    parameter has no gradient and `unused` is False.
    """

    def __init__(
        self, model, comm, make_optimizer=None, *, all_reduce=ring.all_reduce, unused=False
    ):
        super().__init__(model, make_optimizer)
        self.comm = comm
        self.all_reduce = all_reduce
        self.unused = unused
        self.synchronising = True
        share_tensors(self.held(), comm)
        self.refresh()
        self.shared = set(self.model.parameters())  # those that are alike on all ranks
        self.watch()

    def check_model(self):
        """Take notice of layers that were frozen, unfrozen or replaced, on all ranks alike."""
        super().check_model()
        if self.inner is None:
            trained = [p for p in self.model.parameters() if p.requires_grad]
            # By identity, since `!=` on lists of tensors compares values.
            if list(map(id, trained)) != list(map(id, self.trained)):
                self.adopt(trained)

    def adopt(self, trained):
        """From now on these parameters are trained: layers were frozen, unfrozen or replaced."""
        if self.optimizer is not None:
            known = {p for group in self.optimizer.param_groups for p in group["params"]}
            if not known.issuperset(trained):
                raise RuntimeError(
                    f"layers were unfrozen or replaced after {type(self).__name__} made its "
                    "optimizer, which does not know them: wrap the model once more"
                )
        # A new layer is another one on each rank.
        new = [p for p in self.model.parameters() if p not in self.shared]
        if new:
            share_tensors([*new, *self.model.buffers()], self.comm)
        self.shared.update(new)
        self.trained = trained
        self.watch()

    def watch(self):
        """Put the parameters in `trained` into buckets."""
        self.names = {parameter: name for name, parameter in self.model.named_parameters()}
        self.buckets = self.make_buckets()

    def make_buckets(self):
        """Lists of parameters whose gradients travel together."""
        return [[parameter] for parameter in self.trained]

    @contextmanager
    def no_sync(self):
        """Backward passes inside only add to this rank's gradients; nothing is sent."""
        before = self.synchronising
        self.synchronising = False
        try:
            with super().no_sync():
                yield
        finally:
            self.synchronising = before

    def synchronise(self):
        """Every gradient becomes the mean over ranks. Does nothing within no_sync()."""
        if self.synchronising:
            self.compare_steps()
            # First within the model, if that is a way itself.
            super().synchronise()
            for bucket in self.buckets:
                self.unpack(bucket, self.sum_over_ranks(self.packed(bucket), self.comm))
            self.n_synchronised += 1

    def packed(self, bucket):
        """The bucket's gradients in one flat tensor; with `unused`, then a 1 or 0 for each."""
        parts = []
        for parameter in bucket:
            if parameter.grad is not None:
                if parameter.grad.layout is not torch.strided:
                    raise TypeError(
                        f"{self.names[parameter]} has a sparse gradient, and only dense ones are "
                        "added over ranks: make the layer with sparse=False"
                    )
                parts.append(parameter.grad.reshape(-1))
            elif self.unused:
                # It adds nothing to the mean.
                parts.append(torch.zeros_like(parameter).reshape(-1))
            else:
                raise ValueError(
                    f"{self.names[parameter]} got no gradient on rank {self.comm.rank}: "
                    "if a parameter may be unused, say unused=True; "
                    "if it is never trained, freeze it with requires_grad_(False)"
                )
        # [gradient 0, gradient 1, gradient 2, 1, 0, 1]: how many ranks have one, once it is summed
        if self.unused:
            used = [float(parameter.grad is not None) for parameter in bucket]
            parts.append(parts[0].new_tensor(used))
        return torch.cat(parts)

    def sum_over_ranks(self, flat, comm):
        """The sum of this tensor over ranks, in its own dtype."""
        return self.all_reduce(flat, comm)

    def unpack(self, bucket, total):
        """Give each parameter of the bucket its part of the sum, divided by the number of ranks."""
        # In place: fresh memory costs more than the division.
        mean = total.div_(self.comm.world_size)
        used = [True] * len(bucket)
        if self.unused:
            used = mean[-len(bucket) :].tolist()  # 0.0: got no gradient on any rank
        points = split_points([parameter.numel() for parameter in bucket])
        for parameter, is_used, (start, stop) in zip(bucket, used, points):
            part = mean[start:stop].view_as(parameter)
            parameter.grad = part if is_used else None


class BucketedDataParallel(NaiveDataParallel):
    """The same mean; gradients travel in buckets of at most `capacity` bytes, last layers first.

        parallel = BucketedDataParallel(model, comm, capacity=1 << 20)
        loss_of(parallel(x), y).backward()
        parallel.synchronise()

    One all-reduce a bucket. Small buckets cost alpha each; one large bucket leaves late and does
    not fit the processor's cache; 8 MiB was best in benchmarks/data_parallel.py. wire_dtype:
    gradients are cast to it on the way and added in it, which halves the bytes for torch.bfloat16.
    Otherwise as NaiveDataParallel.
    """

    def __init__(
        self,
        model,
        comm,
        make_optimizer=None,
        *,
        capacity=8 * MIB,
        wire_dtype=None,
        all_reduce=ring.all_reduce,
        unused=False,
    ):
        self.capacity = capacity
        self.wire_dtype = wire_dtype
        super().__init__(model, comm, make_optimizer, all_reduce=all_reduce, unused=unused)

    def make_buckets(self):
        """Buckets of at most `capacity` bytes, of one dtype each, since a bucket is one tensor."""
        made = []
        for dtype in sorted({p.dtype for p in self.trained}, key=str):
            own = [p for p in self.trained if p.dtype == dtype]
            # Indices into `own`, last ones first.
            for indices in buckets([p.nbytes for p in own], self.capacity):
                made.append([own[i] for i in indices])
        return made

    def sum_over_ranks(self, flat, comm):
        """The same, added in wire_dtype if there is one."""
        if self.wire_dtype is None:
            return self.all_reduce(flat, comm)
        # A mean fits where a sum may not: float16 ends at 65,504.
        share = (flat / comm.world_size).to(self.wire_dtype)
        return self.all_reduce(share, comm).to(flat.dtype) * comm.world_size


class DataParallel(BucketedDataParallel):
    """The same mean; a bucket leaves during the backward pass, as soon as its gradients are there.

        parallel = DataParallel(model, comm)
        loss_of(parallel(x), y).backward()    # buckets leave one by one
        parallel.synchronise()                # waits for the last of them

    A hook on each parameter counts gradients. Buckets leave in their order on every rank, whatever
    the order of the gradients, and travel beside the computation (comm.background). Every backward
    pass but the last one before synchronise() must run inside no_sync(); otherwise ValueError is
    raised. If `model` is a ParallelModel, buckets leave after its own synchronise(), one beside the
    other. Arguments as those of BucketedDataParallel.
    """

    def watch(self):
        """Put the parameters into buckets, and a hook on each that counts its gradients."""
        super().watch()
        self.begin_pass()
        for hook in self.hooks:
            hook.remove()
        self.hooks = []
        # Within another way, gradients are complete only when that has synchronised them.
        if self.inner is None:
            for number, bucket in enumerate(self.buckets):
                for parameter in bucket:
                    hook = Hook(self.arrived, number)
                    self.hooks.append(parameter.register_post_accumulate_grad_hook(hook))

    def begin_pass(self):
        """All gradients are missing, and no bucket is under way."""
        self.is_passing = False
        self.missing = [len(bucket) for bucket in self.buckets]
        self.in_flight = []

    def pass_failed(self):
        """Whether an error has ended a backward pass on this rank, and the learner caught it."""
        # torch has not called pass_ended().
        return self.is_passing and not in_backward()

    def reset(self):
        """An error has ended a step: begin anew, without gradients."""
        self.begin_pass()
        super().reset()

    def zero_grad(self, set_to_none=True):
        """Forget all gradients, also those that are under way."""
        for work in self.in_flight:
            work.wait()
        self.begin_pass()
        super().zero_grad()

    def arrived(self, number, parameter):
        """A gradient of bucket `number` is there: the buckets that are complete leave, in order."""
        if not self.synchronising:
            return
        if not self.is_passing:
            self.is_passing = True
            # torch calls pass_ended() at the end of this backward pass, if no error ends it.
            torch.autograd.Variable._execution_engine.queue_callback(self.pass_ended)
        if number < len(self.in_flight):
            raise ValueError(
                f"{self.names[parameter]} got a second gradient before synchronise(): "
                "put every backward pass but the last into no_sync()"
            )
        self.missing[number] -= 1
        # The next bucket to leave has the number of those that have left.
        while len(self.in_flight) < len(self.buckets) and self.missing[len(self.in_flight)] <= 0:
            self.send_next()

    def pass_ended(self):
        """The backward pass is over."""
        self.is_passing = False

    def send_next(self):
        """The next bucket leaves, beside the computation."""
        flat = self.packed(self.buckets[len(self.in_flight)])
        self.in_flight.append(self.comm.background(self.sum_over_ranks, flat))

    def synchronise(self):
        """Wait until every gradient is the mean over ranks. Does nothing within no_sync()."""
        if not self.synchronising:
            return
        self.compare_steps()
        # First within the model, if that is a way itself. Not as BucketedDataParallel does it.
        ParallelModel.synchronise(self)
        # Buckets with a parameter that got no gradient are still here.
        while len(self.in_flight) < len(self.buckets):
            self.send_next()
        try:
            for bucket, work in zip(self.buckets, self.in_flight):
                self.unpack(bucket, work.wait())
        finally:
            self.begin_pass()
        self.n_synchronised += 1


def share_state(model, comm, root=0):
    """Every rank has the root's parameters and buffers. One broadcast for each dtype."""
    # parameters() names a tied parameter once, so it travels once.
    share_tensors([*model.parameters(), *model.buffers()], comm, root)


def share_tensors(tensors, comm, root=0):
    """Every rank's tensors have the root's values. One broadcast for each dtype."""
    # torch refuses to write into elements that expand() repeats.
    tensors = [distinct(tensor.detach()) for tensor in tensors]
    with torch.no_grad():
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            own = [tensor for tensor in tensors if tensor.dtype == dtype]
            # One message of everything, and from it each tensor's part.
            flat = torch.cat([tensor.reshape(-1) for tensor in own])
            flat = tree.broadcast(flat, comm, root=root)
            parts = flat.split([tensor.numel() for tensor in own])
            for tensor, part in zip(own, parts):
                tensor.copy_(part.view_as(tensor))


def distinct(tensor):
    """A view of this tensor without the elements that expand() repeats."""
    for dim, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[dim] > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def weighted(loss, rows, comm, all_reduce=ring.all_reduce):
    """`loss`, this rank's mean over `rows` rows, scaled for batches that do not split evenly.

    The mean of all ranks' gradients is then the one over all rows. One all-reduce of one number. A
    rank without rows gives loss = 0 times something that depends on the parameters, or uses
    unused=True. Raises ValueError if no rank has a row.
    """
    total = all_reduce(torch.tensor([float(rows)]), comm).item()  # rows of all ranks
    if total == 0:
        raise ValueError("no rank has a row in this batch: leave the step out, on all ranks")
    return loss * (rows * comm.world_size / total)
