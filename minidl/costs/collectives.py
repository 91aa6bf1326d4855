"""What must a collective cost? Closed forms, exact to the message and the byte.

    a message of n bytes:   |-- alpha --|------ beta * n ------|        seconds; Hockney 1994
    a collective:           seconds = alpha * steps + beta * (bytes of the longest chain)

The network: a message starts when both sides have posted it; a rank sends one and receives one at a
time, both at once; all links are alike; adding takes no time. N ranks, n bytes: of the whole
tensor, before it is scattered or after it is gathered. Each function is named after the file and
the function whose cost it gives.

  [CPH]  Chan, Heimlich, Purkayastha & van de Geijn 2007, "Collective communication: theory,
         practice, and experience"
  [PY]   Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of
         workstations"
  [R]    Rabenseifner 2004, "Optimization of collective reduction operations"
  [TRG]  Thakur, Rabenseifner & Gropp 2005, "Optimization of collective communication operations in
         MPICH"
"""

from typing import NamedTuple


class Cost(NamedTuple):
    """The price of a collective.

    steps    messages that must follow one another: the seconds where alpha = 1 and beta = 0
    messages, nbytes              sent by the rank that sends most
    seconds                       from the start to the end of the last rank
    total_messages, total_nbytes  sent by all ranks together
    """

    steps: int
    messages: int
    nbytes: int
    seconds: float
    total_messages: int
    total_nbytes: int


# Through the root, one message after the other.


def naive_broadcast(N, n, alpha=0.0, beta=0.0):
    """N - 1 messages of n bytes, all from the root."""
    return _broadcast(N - 1, N, n, alpha, beta)


def naive_reduce(N, n, alpha=0.0, beta=0.0):
    """N - 1 messages of n bytes, all to the root."""
    return _backwards(naive_broadcast(N, n, alpha, beta), N, n)


def naive_all_reduce(N, n, alpha=0.0, beta=0.0):
    """To the root and back: 2 (N - 1) (alpha + beta n)."""
    to_root = naive_reduce(N, n, alpha, beta)
    from_root = naive_broadcast(N, n, alpha, beta)
    return _one_after_the_other(to_root, from_root)


def naive_scatter(N, n, alpha=0.0, beta=0.0):
    """N - 1 messages of n / N bytes, all from the root."""
    return naive_broadcast(N, _share(n, N), alpha, beta)


def naive_gather(N, n, alpha=0.0, beta=0.0):
    """N - 1 messages of n / N bytes, all to the root."""
    return naive_reduce(N, _share(n, N), alpha, beta)


def naive_all_gather(N, n, alpha=0.0, beta=0.0):
    """Gather, then broadcast: (N - 1) (2 alpha + beta (n / N + n))."""
    to_root = naive_gather(N, n, alpha, beta)
    from_root = naive_broadcast(N, n, alpha, beta)
    return _one_after_the_other(to_root, from_root)


def naive_reduce_scatter(N, n, alpha=0.0, beta=0.0):
    """Reduce, then scatter: (N - 1) (2 alpha + beta (n + n / N)). All but the root send n."""
    # The root scatters (N - 1) n / N bytes, less than the n bytes of every other rank.
    to_root = naive_reduce(N, n, alpha, beta)
    from_root = naive_scatter(N, n, alpha, beta)
    return _one_after_the_other(to_root, from_root)


def naive_all_to_all(N, n, alpha=0.0, beta=0.0):
    """Pairwise exchange: N - 1 steps of n / N bytes, all ranks at once. [TRG] "All-to-all"."""
    # Other chunks to other ranks, and as many of them as around the ring.
    return ring_all_gather(N, n, alpha, beta)


def naive_barrier(N, alpha=0.0):
    """An all-reduce of nothing."""
    # Empty messages cost alpha alone, so there is no beta.
    return naive_all_reduce(N, 0, alpha)


# Around the ring.


def ring_reduce_scatter(N, n, alpha=0.0, beta=0.0):
    """(N - 1) (alpha + beta n / N). [TRG] "Reduce-scatter"; [CPH] bucket."""
    # The all-gather backwards: sums travel where finished chunks would.
    return ring_all_gather(N, n, alpha, beta)


def ring_all_gather(N, n, alpha=0.0, beta=0.0):
    """(N - 1) (alpha + beta n / N). [TRG] sec. 4.1; [CPH] bucket."""
    sent = (N - 1) * _share(n, N)  # every chunk but the one that the right neighbour owns
    return _cost(
        alpha,
        beta,
        steps=N - 1,
        chain=sent,
        total_messages=N * (N - 1),
        total_nbytes=N * sent,
    )


def ring_all_reduce(N, n, alpha=0.0, beta=0.0, itemsize=1):
    """2 (N - 1) (alpha + beta n / N), with n / N rounded up to elements of `itemsize` bytes. [PY]

    The least bytes possible. Rank r sends every chunk twice, but chunks r and r + 1 once.
    """
    # Chunk 0 is the largest. In each step some rank sends it, and the others wait for that rank.
    largest = _near_equal(n, N, itemsize, 1)
    return _cost(
        alpha,
        beta,
        steps=2 * (N - 1),
        chain=2 * (N - 1) * largest,
        nbytes=_ring_nbytes(n, N, itemsize, max(0, N - 2)),
        total_messages=2 * (N - 1) * N,
        total_nbytes=2 * (N - 1) * n,
    )


# Along the binomial tree.


def tree_broadcast(N, n, alpha=0.0, beta=0.0):
    """ceil(log2 N) (alpha + beta n): the root sends all the time. [TRG] "Broadcast"; [CPH]."""
    return _broadcast(_log2_up(N), N, n, alpha, beta)


def tree_reduce(N, n, alpha=0.0, beta=0.0):
    """The broadcast backwards: each rank but the root sends one message. [TRG]; [CPH]."""
    return _backwards(tree_broadcast(N, n, alpha, beta), N, n)


def tree_all_reduce(N, n, alpha=0.0, beta=0.0):
    """Reduce, then broadcast: 2 ceil(log2 N) (alpha + beta n). [CPH], short vectors."""
    to_root = tree_reduce(N, n, alpha, beta)
    from_root = tree_broadcast(N, n, alpha, beta)
    return _one_after_the_other(to_root, from_root)


def tree_scatter(N, n, alpha=0.0, beta=0.0):
    """ceil(log2 N) alpha + beta n (N - 1) / N. A message carries a whole branch. [CPH]."""
    chunk = _share(n, N)
    depth = _log2_up(N)  # as many messages from the root, each with half of the chunks left
    return _cost(
        alpha,
        beta,
        steps=depth,
        chain=(N - 1) * chunk,
        total_messages=N - 1,
        total_nbytes=_hops(N) * chunk,
    )


def tree_gather(N, n, alpha=0.0, beta=0.0):
    """As the scatter, backwards: the rank with the largest branch sends most. [CPH]."""
    scatter = tree_scatter(N, n, alpha, beta)
    if N == 1:
        return scatter
    # 6 ranks: the root's first child is 4, with the branch 4 5; the second is 2, with 2 3.
    first_child = 1 << _log2_up(N) >> 1
    largest_branch = max(N - first_child, first_child // 2)
    return scatter._replace(messages=1, nbytes=largest_branch * _share(n, N))


def tree_barrier(N, alpha=0.0):
    """An all-reduce of nothing: 2 ceil(log2 N) alpha."""
    return tree_all_reduce(N, 0, alpha)


# With partners at distances 1, 2, 4, ... P is the largest power of two up to N; N - P ranks rest.


def doubling_all_reduce(N, n, alpha=0.0, beta=0.0):
    """log2 P (alpha + beta n); if ranks rest, two messages of n bytes more. [TRG]."""
    P, rest, levels, fold = _fold(N)
    # A rank beside a resting one receives from it first, and sends to it in the end.
    steps = levels + 2 * fold
    messages = levels + fold
    total_messages = P * levels + 2 * rest
    return _cost(
        alpha,
        beta,
        steps=steps,
        chain=steps * n,
        messages=messages,
        nbytes=messages * n,
        total_messages=total_messages,
        total_nbytes=total_messages * n,
    )


def halving_doubling_all_reduce(N, n, alpha=0.0, beta=0.0, itemsize=1):
    """2 log2 P alpha + 2 beta n (P - 1) / P; if ranks rest, two messages of n bytes more. [R].

    Halving sends all but the rank's own chunk; doubling sends its own block at each distance.
    """
    P, rest, levels, fold = _fold(N)
    # The first ranks have the larger chunks, so the longest chain is theirs: the first blocks.
    blocks = sum(_near_equal(n, P, itemsize, 1 << level) for level in range(levels))
    own_chunk = _near_equal(n, P, itemsize, 1)
    return _cost(
        alpha,
        beta,
        steps=2 * levels + 2 * fold,
        chain=2 * blocks + 2 * n * fold,
        messages=2 * levels + fold,
        nbytes=blocks + n - own_chunk + n * fold,
        total_messages=2 * P * levels + 2 * rest,
        total_nbytes=2 * (P - 1) * n + 2 * rest * n,
    )


def doubling_reduce_scatter(N, n, alpha=0.0, beta=0.0):
    """log2 N alpha + beta n (N - 1) / N by recursive halving. [TRG] "Reduce-scatter".

    Ranks that rest send n bytes and receive n / N; their neighbours keep two chunks until then.
    """
    rest = _fold(N)[1]
    chunk = _share(n, N)
    # The all-gather backwards: the same steps and chain of messages, other senders.
    return doubling_all_gather(N, n, alpha, beta)._replace(
        nbytes=n if rest else n - chunk,
        total_nbytes=(N - 1) * n + rest * chunk,
    )


def doubling_all_gather(N, n, alpha=0.0, beta=0.0):
    """log2 N alpha + beta n (N - 1) / N by recursive doubling. [TRG] sec. 4.1.

    Ranks that rest send n / N bytes and receive all n from the neighbour.
    """
    P, rest, levels, fold = _fold(N)
    chunk = _share(n, N)
    # The first block at each distance; the chunks of ranks that rest make the first blocks longer.
    first_blocks = sum((1 << level) + min(1 << level, rest) for level in range(levels)) * chunk
    return _cost(
        alpha,
        beta,
        steps=levels + 2 * fold,
        chain=first_blocks + (n + chunk) * fold,
        messages=levels + fold,
        nbytes=first_blocks + n * fold,
        total_messages=P * levels + 2 * rest,
        total_nbytes=(P - 1) * n + rest * (n + chunk),
    )


def doubling_barrier(N, alpha=0.0):
    """An all-reduce of nothing."""
    return doubling_all_reduce(N, 0, alpha)


# Through leaders.


def hierarchical_all_reduce(sizes, n, alpha=0.0, beta=0.0, between=None, itemsize=1):
    """A tree inside each island, twice, and a ring between the leaders.

    sizes: how many ranks each island has. between: (alpha, beta) of the links between islands, else
    as inside. Seconds are exact if the islands are equally deep; otherwise no run takes longer.
    """
    L = len(sizes)  # islands, and so leaders
    N = sum(sizes)
    depths = [_log2_up(size) for size in sizes]
    deepest = max(depths)
    across = ring_all_reduce(L, n, *(between or (alpha, beta)), itemsize)
    sent = [_ring_nbytes(n, L, itemsize, leader) + depth * n for leader, depth in enumerate(depths)]
    return Cost(
        steps=2 * deepest + across.steps,
        messages=across.messages + deepest,
        nbytes=max(sent),
        seconds=2 * deepest * (alpha + beta * n) + across.seconds,
        # Every rank but the leaders sends n bytes to its parent, and receives n bytes from it.
        total_messages=2 * (N - L) + across.total_messages,
        total_nbytes=2 * (N - L) * n + across.total_nbytes,
    )


def lower_bound(collective, N, n, alpha=0.0, beta=0.0):
    """Seconds that no algorithm can beat: the least latency plus the least bandwidth. [CPH]

    In one step the number of ranks that know of each other at best doubles. Every rank must
    receive, or send, what is missing: all n bytes, or (N - 1) / N of them. For an all-reduce this
    share goes out and comes back in. Raises ValueError for a collective without a bound.
    """
    part = (N - 1) / N
    # Times n bytes: what a rank must send or receive at least.
    least = {
        "broadcast": 1,
        "reduce": 1,
        "scatter": part,
        "gather": part,
        "all_gather": part,
        "reduce_scatter": part,
        "all_to_all": part,
        "all_reduce": 2 * part,
        "barrier": 0,
    }
    if collective not in least:
        raise ValueError(f"no bound for {collective!r}; there is one for {', '.join(least)}")
    return alpha * _log2_up(N) + beta * n * least[collective] * (N > 1)


def _cost(alpha, beta, *, steps, chain, **counts):
    """A Cost with its seconds; chain: the bytes that must follow one another."""
    # If nothing else is said, one rank sends in every step, and so the whole chain.
    busiest = {"messages": steps, "nbytes": chain}
    return Cost(steps=steps, seconds=alpha * steps + beta * chain, **(busiest | counts))


def _broadcast(steps, N, n, alpha, beta):
    """The root sends n bytes in every step; some time every other rank receives them, once."""
    return _cost(
        alpha,
        beta,
        steps=steps,
        chain=steps * n,
        total_messages=N - 1,
        total_nbytes=(N - 1) * n,
    )


def _backwards(broadcast, N, n):
    """A reduce: the same messages in the other direction, so every rank but the root sends one."""
    return broadcast._replace(messages=int(N > 1), nbytes=n * (N > 1))


def _one_after_the_other(to_root, from_root):
    """Of both parts. A rank that sends in both sends no more than the busiest rank of one part."""
    sums = Cost(*(a + b for a, b in zip(to_root, from_root)))  # field by field
    return sums._replace(
        messages=max(to_root.messages, from_root.messages),
        nbytes=max(to_root.nbytes, from_root.nbytes),
    )


def _share(n, N):
    """n / N"""
    if n % N:
        raise ValueError(f"{n} bytes do not split over {N} ranks")
    return n // N


def _near_equal(n, N, itemsize, k):
    """Bytes of the first k of N chunks that differ by one element at most, larger ones first."""
    if n % itemsize:
        raise ValueError(f"{n} bytes is not a multiple of the element size, {itemsize} bytes")
    # `larger` chunks of size + 1 elements, then chunks of `size`.
    size, larger = divmod(n // itemsize, N)
    return (k * size + min(k, larger)) * itemsize


def _ring_nbytes(n, N, itemsize, rank):
    """What a rank sends in a ring all-reduce: every chunk twice, its own and the next one once."""
    # Rank N - 2 sends most: the last two chunks are the smallest.
    size, larger = divmod(n // itemsize, N)
    following = (rank + 1) % N
    once = size + (rank < larger)
    once += size + (following < larger)
    return 2 * n - once * itemsize


def _log2_up(N):
    """ceil(log2 N)"""
    return (N - 1).bit_length()


def _fold(N):
    """(the largest power of two up to N, how many ranks rest, its logarithm, 1 if any rest)"""
    levels = N.bit_length() - 1
    rest = N - (1 << levels)
    return 1 << levels, rest, levels, int(rest > 0)


def _hops(N):
    """Messages that the chunks of N ranks take down the binomial tree, together."""
    # Rank 6 = 110 is two messages away from the root: one for each 1 in its number.
    return sum(bin(rank).count("1") for rank in range(N))
