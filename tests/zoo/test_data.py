"""All ranks together see what one process sees, in every step;
a sampler goes on where it stopped.
"""

import itertools

import pytest
import torch

from minidl.zoo.data import Sampler, digits, english, paragraphs, windows

WORLDS = [1, 2, 3, 4, 7]


def epoch(*args, **kwargs):
    return [part.tolist() for part in Sampler(*args, **kwargs)]


# --- Sampler -------------------------------------------------------------------------------------


@pytest.mark.parametrize("N", WORLDS)
@pytest.mark.parametrize("n, batch", [(23, 5), (24, 6), (10, 3), (5, 8), (1, 1)])
def test_the_ranks_together_see_the_batches_of_one_process(n, batch, N):
    ranks = [epoch(n, batch, rank, N, seed=4) for rank in range(N)]
    together = [sum(parts, []) for parts in zip(*ranks, strict=True)]  # in rank order
    assert together == epoch(n, batch, seed=4)
    for parts in zip(*ranks, strict=True):
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1 and sizes == sorted(sizes, reverse=True)


def test_an_epoch_has_each_example_once():
    batches = epoch(23, 5)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3] and len(Sampler(23, 5)) == 5
    assert sorted(sum(batches, [])) == list(range(23))


def test_epochs_and_seeds_differ_and_both_are_reproducible():
    sampler = Sampler(50, 50, seed=1)
    first, second = ([part.tolist() for part in sampler] for _ in range(2))
    assert sampler.epoch == 2 and first != second and sorted(first[0]) == sorted(second[0])
    assert first == epoch(50, 50, seed=1) != epoch(50, 50, seed=2)


def test_other_random_numbers_do_not_matter():
    torch.manual_seed(1)
    before, state = epoch(50, 8), torch.get_rng_state()
    torch.rand(5)
    assert epoch(50, 8) == before
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def endless(sampler):
    while True:
        yield from sampler


@pytest.mark.parametrize("stop", range(12))
def test_another_sampler_goes_on_where_one_stopped(stop):
    stream, sampler = endless(Sampler(23, 5)), Sampler(23, 5)
    expected = [next(stream).tolist() for _ in range(15)]
    source = endless(sampler)
    assert [next(source).tolist() for _ in range(stop)] == expected[:stop]
    resumed = Sampler(23, 5)
    resumed.load(sampler.state())
    assert [part.tolist() for part in itertools.islice(endless(resumed), 15 - stop)] == expected[
        stop:
    ]


@pytest.mark.parametrize("N, M", [(4, 3), (1, 2), (7, 1)])
def test_a_run_goes_on_with_another_number_of_ranks(N, M):
    before = Sampler(23, 5, N - 1, N)
    for _ in zip(range(2), before):
        pass
    resumed = [Sampler(23, 5, rank, M) for rank in range(M)]
    for sampler in resumed:
        sampler.load(before.state())
    rest = [sum((part.tolist() for part in parts), []) for parts in zip(*resumed)]
    assert rest == epoch(23, 5)[2:]


def test_a_loop_that_was_left_goes_on():
    sampler, seen = Sampler(10, 3), []
    for part in sampler:
        seen.append(part.tolist())
        break
    assert sampler.state() == {"n": 10, "batch": 3, "seed": 0, "epoch": 0, "step": 1}
    assert repr(sampler) == "Sampler(10 examples in batches of 3, rank 0 of 1, epoch 0, step 1)"
    assert seen + [part.tolist() for part in sampler] == epoch(10, 3)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(n=0), "n is 1 or more, not 0"),
        (dict(batch=0), "batch is 1 or more"),
        (dict(seed=-1), "seed is 0 or more"),
        (dict(rank=2, world_size=2), "no rank 2 among 2 ranks"),
        (dict(rank=-1), "rank is 0 or more"),
        (dict(world_size=0), "world_size is 1"),
    ],
)
def test_wrong_numbers_are_refused_in_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        Sampler(**{"n": 10, "batch": 2, **arguments})


def test_wrong_kinds_are_refused_in_words():
    with pytest.raises(TypeError, match="batch is a whole number, not 2.5"):
        Sampler(10, 2.5)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(n=11), "this sampler has n = 10, the saved state has n = 11"),
        (dict(batch=3), "batch = 2"),
        (dict(seed=1), "seed = 0"),
        (dict(step=5), "steps 0 to 4, not 5"),
        (dict(epoch=-1), "epoch is 0 or more"),
        (dict(rank=0), "not n, batch, seed, epoch, step, rank"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change, words):
    sampler = Sampler(10, 2)
    with pytest.raises(ValueError, match=words):
        sampler.load(sampler.state() | change)
    assert sampler.state()["step"] == 0


# --- Digits and text -----------------------------------------------------------------------------


def test_digits_are_split_and_scaled():
    from sklearn.datasets import load_digits

    data = digits(held_out=0.25, seed=3)
    assert data.images.shape == (1348, 1, 8, 8) and data.held_out_images.shape == (449, 1, 8, 8)
    assert (
        data.images.min() == 0
        and data.images.max() == 1
        and set(data.labels.tolist()) == set(range(10))
    )
    rows = torch.cat([data.images, data.held_out_images]).flatten(1) * 16
    found = sorted(
        [*map(int, row), label]
        for row, label in zip(
            rows.tolist(), [*data.labels.tolist(), *data.held_out_labels.tolist()]
        )
    )
    bunch = load_digits()
    assert found == sorted(
        [*map(int, row), int(label)] for row, label in zip(bunch.data, bunch.target)
    )


def test_the_split_follows_the_seed():
    assert torch.equal(digits(seed=1).labels, digits(seed=1).labels) and not torch.equal(
        digits(seed=1).labels, digits(seed=2).labels
    )


def test_no_paragraph_stands_twice():
    plain = [" ".join(paragraph.split()) for paragraph in paragraphs()]
    assert len(set(plain)) == len(plain) > 1000 and all(plain)


def test_held_out_text_is_the_end_and_decodes():
    text = english(vocabulary=300)
    both = [text.tokenizer.decode(tokens).split("\n\n") for tokens in (text.tokens, text.held_out)]
    assert sum(both, []) == list(paragraphs()) and len(text.tokenizer) == 300
    assert len(both[1]) == pytest.approx(0.1 * len(paragraphs()), abs=1)


def test_windows_hold_each_token_once_as_a_target():
    rows = windows(torch.arange(20), 6)
    assert rows.tolist() == [list(range(0, 7)), list(range(6, 13)), list(range(12, 19))]
    assert rows[:, 1:].flatten().tolist() == list(range(1, 19))
    with pytest.raises(ValueError, match="6 tokens give no window of 6 \\+ 1"):
        windows(torch.arange(6), 6)


@pytest.mark.parametrize("share", [0, 1, -0.5, 20])
def test_a_share_is_between_none_and_all(share):
    for load in (digits, english):
        with pytest.raises(ValueError, match="between 0 and 1"):
            load(held_out=share)
