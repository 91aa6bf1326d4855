"""Which gradients travel together, and in which order do they leave?

    parameters, in the order of the forward pass     w0 b0 w1 b1 w2 b2
    gradients, in the order of the backward pass     b2 w2 | b1 w1 | b0 w0      buckets 0, 1, 2

A message costs alpha whatever its size, so small gradients share one; a bucket may leave as soon as
its last gradient is there, so the first bucket holds the last parameters. Li et al. 2020, "PyTorch
Distributed: experiences on accelerating data parallel training", sec. 3.2.2 and 3.2.3.
"""


def buckets(sizes, capacity):
    """Lists of indices into `sizes`, last index first, at most `capacity` bytes or one item each.

    sizes: bytes of each gradient, in the order of the forward pass.
    Raises ValueError for a capacity below 1.
    """
    if capacity < 1:
        raise ValueError(f"a bucket holds at least 1 byte, not {capacity}")
    filled = []
    room = 0  # in the last bucket
    for index in reversed(range(len(sizes))):
        if not filled or sizes[index] > room:
            filled.append([])
            room = capacity
        filled[-1].append(index)
        # Below zero after an item that is larger than a bucket: nothing joins it.
        room -= sizes[index]
    return filled
