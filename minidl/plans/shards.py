"""Which part of a vector is whose, when it does not split?

    10 elements over 4 ranks, padded to 12:     0 1 2 | 3 4 5 | 6 7 8 | 9 . .      shard r is r * 3 to (r + 1) * 3

All shards have one length, so that reduce-scatter and all-gather move equal chunks; what the last ones lack is padding,
less than one element for each rank.
"""


def shard_length(count, N):
    """The length of each rank's shard of a vector of `count` elements."""
    return -(-count // N)


def shard_bounds(count, N, rank):
    """(start, stop) of a rank's shard in the padded vector."""
    m = shard_length(count, N)
    return rank * m, (rank + 1) * m


def split_points(sizes):
    """Where each item begins and ends when all stand one after the other: [(0, a), (a, a + b), ...]."""
    points, start = [], 0
    for size in sizes:
        points.append((start, start + size))
        start += size
    return points
