"""The last gradients leave first, and no bucket is fuller than it may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.plans.buckets import buckets


def test_three_layers_of_weights_and_biases():
    #       w0  b0  w1  b1  w2  b2
    assert buckets([40, 4, 40, 4, 40, 4], 44) == [[5, 4], [3, 2], [1, 0]]
    assert buckets([40, 4, 40, 4, 40, 4], 1000) == [[5, 4, 3, 2, 1, 0]]
    assert buckets([40, 4], 1) == [[1], [0]] and buckets([], 8) == []


@given(st.lists(st.integers(0, 100)), st.integers(1, 150))
def test_every_gradient_once_in_backward_order_and_no_bucket_too_full(sizes, capacity):
    filled = buckets(sizes, capacity)
    assert [i for bucket in filled for i in bucket] == list(reversed(range(len(sizes))))
    assert all(sum(sizes[i] for i in bucket) <= capacity or len(bucket) == 1 for bucket in filled)
    assert all(
        sum(sizes[i] for i in a) + sizes[b[0]] > capacity for a, b in zip(filled, filled[1:])
    )


def test_a_bucket_holds_something():
    with pytest.raises(ValueError, match="at least 1 byte"):
        buckets([1], 0)
