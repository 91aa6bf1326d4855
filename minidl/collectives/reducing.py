"""How do two tensors become one? The operations of the reducing collectives.

    sum   mean   max   min   prod          mean is a sum that is divided by N at the very end

All are associative on paper. With floating-point numbers a sum or product depends on its order: the
same sum has different bits by another algorithm. Left out: operations of the reader's own.
"""

import torch

from minidl.comm import check_tensor

# What makes one tensor of two. A mean is divided at the very end.
COMBINE = {
    "sum": torch.add,
    "mean": torch.add,
    "max": torch.maximum,
    "min": torch.minimum,
    "prod": torch.mul,
}


def reduction(op, x, world_size):
    """Two functions: combine(a, b, out=None) makes one tensor of two, finish(total) ends in place.

    x: a tensor of the dtype that is to be reduced. Raises TypeError if it is not a tensor,
    ValueError for an unknown op, for the mean of integers, and for max or min of complex numbers.
    """
    check_tensor(x)
    if op not in COMBINE:
        raise ValueError(f"op must be one of {', '.join(COMBINE)}, not {op!r}")
    dtype = str(x.dtype).removeprefix("torch.")  # for the messages: int64
    if op == "mean" and not (x.is_floating_point() or x.is_complex()):
        raise ValueError(
            f"the mean of {dtype} numbers may be a fraction: "
            "convert them to float first, or use op='sum'"
        )
    if op in ("max", "min") and x.is_complex():
        raise ValueError(f"{dtype} numbers have no order: op={op!r} needs real ones")

    def finish(total):
        if op == "mean":
            total.div_(world_size)  # in place: `total` is memory of the collective's own
        return total

    return COMBINE[op], finish


def in_rank_order(combine, rank, mine, partner, theirs, out=None):
    """combine(a, b) with the lower rank's tensor first, so that both partners get the same bits.

    Adding does not need it. The larger of 0.0 and -0.0 does: torch returns one of them by position.
    """
    if rank < partner:
        return combine(mine, theirs, out=out)
    return combine(theirs, mine, out=out)
