"""Which part of a vector belongs to which rank, if it does not split evenly?

    10 elements over 4 ranks, padded to 12:     0 1 2 | 3 4 5 | 6 7 8 | 9 . .

Shard r is elements r * 3 to (r + 1) * 3. All shards have one length, so that reduce-scatter and
all-gather move equal chunks; the last ones are filled up with padding, less than one element a
rank.
"""


def shard_length(count, N):
    """The length of each rank's shard of a vector of `count` elements."""
    return -(-count // N)  # rounded up


def shard_bounds(count, N, rank):
    """(start, stop) of a rank's shard in the padded vector."""
    m = shard_length(count, N)
    return rank * m, (rank + 1) * m


def split_points(sizes):
    """(start, stop) of each item, when all stand in a row: [(0, a), (a, a + b), ...]."""
    points = []
    start = 0
    for size in sizes:
        stop = start + size
        points.append((start, stop))
        start = stop
    return points
