"""Data parallel training keeps N copies of everything. Which of them does a step really need?

                  parameters   gradients   optimizer state    sent in a step, times the parameters
    data parallel   whole        whole         whole          2    all-reduce
    Zero1           whole        whole         1 / N          2    reduce-scatter, all-gather
    Zero2           whole        1 / N         1 / N          2    the same, but overlapped
    Zero3 (FSDP)    1 / N        1 / N         1 / N          3    gather twice, reduce-scatter

All compute the same step: the optimizer works on this rank's shard of the parameters, and the
shards are put together when they are needed. With k microbatches a step Zero1 still sends 2, Zero2
k + 1, Zero3 3 k times the parameters. Read zero1.py, zero2.py, zero3.py; each begins with its
textbook version. Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion
parameter models", sec. 5 and 7. Left out: optimizers that look at a parameter's shape (a shard is a
vector), or that skip one without a gradient (here it is zero, and weights decay).
"""

from minidl.parallel.sharded_units import every_child
from minidl.parallel.zero1 import Zero1
from minidl.parallel.zero2 import Zero2
from minidl.parallel.zero3 import Zero3

__all__ = ["Zero1", "Zero2", "Zero3", "every_child"]
