"""The rate follows the batch; the noise scale is what the formula says of gradients whose noise
is known.
"""

import pytest
import torch

from minidl import RankError, VirtualWorld
from minidl.parallel.large_batch import flat_gradient, noise_scale, scaled_rate


def test_the_rate_grows_in_equal_parts_and_stays():
    assert [scaled_rate(step, 0.1, ranks=4, warmup_steps=3) for step in range(5)] == pytest.approx(
        [0.2, 0.3, 0.4, 0.4, 0.4]
    )
    assert scaled_rate(0, 0.1, 4, 0) == pytest.approx(0.4) and scaled_rate(
        9, 0.1, 1, 5
    ) == pytest.approx(0.1)


def estimate(batch, comm):
    """Signal and noise of a gradient (1, 1, ..., 1) + noise of variance 9 an example,
    over 400 steps.
    """
    generator = torch.Generator().manual_seed(comm.rank)
    found = []
    for _ in range(400):
        own = 1 + 3 * torch.randn(batch, 16, generator=generator).mean(0)
        mean = sum(all_of(own, comm)) / comm.world_size
        found.append(noise_scale(own, mean, batch, comm))
    return torch.tensor(found).mean(0)


def all_of(x, comm):
    from minidl.collectives import ring

    return ring.all_gather(x, comm).chunk(comm.world_size)


@pytest.mark.parametrize("N, batch", [(2, 4), (3, 2)])
def test_the_estimate_is_unbiased(N, batch):
    for signal, noise in VirtualWorld(N).run(estimate, batch).results:
        assert float(signal) == pytest.approx(16, rel=0.1) and float(noise) == pytest.approx(
            16 * 9, rel=0.1
        )


def test_one_rank_has_nothing_to_compare():
    with pytest.raises(RankError, match="two ranks"):
        VirtualWorld(1).run(lambda comm: noise_scale(torch.ones(1), torch.ones(1), 1, comm))


def test_a_gradient_in_one_vector():
    model = torch.nn.Linear(2, 1)
    model(torch.tensor([[1.0, 2.0]])).sum().backward()
    assert flat_gradient(model).tolist() == [1, 2, 1]
