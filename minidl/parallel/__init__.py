"""How do N ranks train one model?

    protocol.py     what all ways have in common; and OneProcess, which all must equal
    data.py         every rank has the model and a part of the batch; gradients are averaged
    batch_norm.py   statistics over the whole batch, though no rank sees it
    large_batch.py  what a larger batch changes: the learning rate, the noise, the limits
    zero.py         the same as data.py, and no rank keeps what another one has: then zero1.py to
                    zero3.py, sharded.py (what they share), sharded_units.py (what is sharded
                    together), gradient_queue.py and lifecycle.py (when it is reduced, gathered
                    and freed), guarded.py and saved.py (what may still be done with a parameter,
                    and what autograd keeps of it)

A class here takes a model and a comm, and knows no backend: it runs on real processes and on
virtual ranks. Data parallel and ZeRO begin with their textbook versions, each a screen long.
"""

# The first optimizer loads it, which takes a second. Ranks are forked with what is loaded here.
import torch._dynamo  # noqa: F401
