"""Cutting: pictures of who gets what, and views where views are promised."""

import pytest
import torch

from minidl.collectives import chunks


def cut(pieces):
    return " | ".join(" ".join(str(int(v)) for v in piece.flatten()) for piece in pieces)


def test_ten_elements_over_four_ranks():
    assert cut(chunks.near_equal(torch.arange(10), 4)) == "0 1 2 | 3 4 5 | 6 7 | 8 9"
    assert cut(chunks.near_equal(torch.arange(6).reshape(2, 3), 4)) == "0 1 | 2 3 | 4 | 5"
    assert cut(chunks.near_equal(torch.tensor(7), 3)) == "7 |  | "
    assert cut(chunks.equal(torch.arange(8).reshape(4, 2), 2)) == "0 1 2 3 | 4 5 6 7"
    assert [piece.shape for piece in chunks.equal(torch.empty(0, 3), 2)] == [(0, 3)] * 2


@pytest.mark.parametrize("count", range(12))
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_bounds_are_those_of_the_chunks(count, n):
    sizes = [len(piece) for piece in chunks.near_equal(torch.arange(count), n)]
    assert [b - a for a, b in zip(chunks.bounds(count, n), chunks.bounds(count, n)[1:])] == sizes


def test_chunks_are_views_and_results_are_not():
    x = torch.arange(6.0)
    for piece in (*chunks.near_equal(x, 4), *chunks.equal(x, 2)):
        piece += 1
    assert x.tolist() == [2, 3, 4, 5, 6, 7]
    y = chunks.fresh(x.reshape(2, 3).T)
    assert y.is_contiguous() and y.data_ptr() != x.data_ptr()
    assert chunks.joined(torch.tensor(1), 3).shape == (3,) and chunks.joined(
        torch.ones(2, 5), 3
    ).shape == (6, 5)
