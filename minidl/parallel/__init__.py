"""How do N ranks train one model?

    data.py         every rank has the model and a part of the batch; gradients are averaged
    batch_norm.py   statistics over the whole batch, though no rank sees it
    large_batch.py  what a larger batch changes: the learning rate, the noise, the limits
    zero.py         the same as data.py, and no rank keeps what another one has

A class here takes a model and a comm, and knows no backend: it runs on real processes and on virtual ranks.
"""
