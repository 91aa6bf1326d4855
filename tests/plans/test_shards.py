"""Shards cover a vector of any length, and all have one length."""

from hypothesis import given
from hypothesis import strategies as st

from minidl.plans.shards import shard_bounds, shard_length, split_points


def test_ten_elements_over_four_ranks():
    assert [shard_bounds(10, 4, rank) for rank in range(4)] == [(0, 3), (3, 6), (6, 9), (9, 12)]
    assert split_points([4, 6, 0, 2]) == [(0, 4), (4, 10), (10, 10), (10, 12)]


@given(st.integers(0, 1000), st.integers(1, 20))
def test_shards_meet_and_padding_is_less_than_one_element_a_rank(count, N):
    bounds = [shard_bounds(count, N, rank) for rank in range(N)]
    assert all(a[1] == b[0] for a, b in zip(bounds, bounds[1:]))
    assert count <= bounds[-1][1] < count + N and {stop - start for start, stop in bounds} == {
        shard_length(count, N)
    }
