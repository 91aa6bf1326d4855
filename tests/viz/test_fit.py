"""The fit finds the alpha and beta that made the times, knows how far off it may be, and refuses
what cannot be told.
"""

import math
import statistics

import pytest

from minidl.viz.drawing.scene import Dot, Path
from minidl.viz.pictures.fit import fit
from tests.viz import samples


def test_exact_times_give_the_exact_numbers():
    found = fit(samples.sizes(noise=0))
    assert found.alpha == pytest.approx(2e-4, rel=1e-6) and found.beta == pytest.approx(
        4e-10, rel=1e-6
    )
    assert found.alpha_error < 1e-9 and found.seconds(1 << 20) == pytest.approx(
        2e-4 + 4e-10 * 2**20
    )


def test_noisy_times_give_them_within_the_error():
    fits = [fit(samples.sizes(seed=seed)) for seed in range(40)]
    for name, truth in (("alpha", 2e-4), ("beta", 4e-10)):
        scores = [(getattr(f, name) - truth) / getattr(f, name + "_error") for f in fits]
        assert sum(abs(score) < 2 for score in scores) >= 36  # 95 % if the errors are right
        assert 0.5 < statistics.pstdev(scores) < 1.5  # neither too proud nor too humble
        assert all(getattr(f, name + "_error") < 0.1 * truth for f in fits)


def test_a_late_receiver_and_wild_outliers_do_not_count():
    maker = samples.Maker(2)
    for i in range(20):
        for nbytes in (100, 1_000_000):
            start, wild = i + nbytes * 1e-7, 0.05 if i % 5 == 0 else 0.0
            maker.message(
                0, 1, start, start + 0.1, start + 0.1 + 1e-4 + 1e-9 * nbytes + wild, nbytes
            )
    found = fit(maker.trace())
    assert found.alpha == pytest.approx(1e-4, rel=1e-3) and found.beta == pytest.approx(
        1e-9, rel=1e-3
    )


def test_neither_falls_below_zero():
    maker = samples.Maker(2)
    for i, (nbytes, seconds) in enumerate(((10, 5e-4), (1000, 4e-4), (100_000, 3e-4))):
        maker.message(0, 1, i, i, i + seconds, nbytes)
    found = fit(maker.trace())
    assert (
        found.beta == 0 and 3e-4 < found.alpha < 5e-4 and found.title.endswith("whatever its size")
    )


def test_one_size_is_refused():
    with pytest.raises(ValueError, match="1 size: send messages of at least two sizes"):
        fit(samples.ring())
    with pytest.raises(ValueError, match="at least two sizes"):
        fit(samples.deadlock())


def test_one_message_a_size_tells_no_error():
    found = fit(samples.sizes(each=1, powers=(4, 20)))
    assert found.beta > 0 and math.isnan(found.alpha_error) and math.isnan(found.beta_error)


def test_the_picture_shows_medians_and_the_line():
    found = fit(samples.sizes())
    medians = [dot for dot in found.scene.shapes(Dot) if dot.size > 5]
    assert [(dot.x, dot.y) for dot in medians] == [(row[0], row[2]) for row in found.table()]
    (line,) = found.scene.shapes(Path)
    assert (
        line.ys == tuple(found.seconds(n) for n in line.xs)
        and found.scene.x.log
        and found.scene.y.log
    )
    assert repr(found) == "Picture(fit: 11 sizes, 330 messages)"
    assert str(found).startswith("alpha = 20") and "ns per byte" in str(found)


def test_messages_of_no_bytes_are_fitted_and_not_drawn():
    maker = samples.Maker(2)
    for i in range(9):
        maker.message(0, 1, i, i, i + 1e-4 + 1e-9 * (i % 3) * 1000, (i % 3) * 1000)
    found = fit(maker.trace())
    assert found.alpha == pytest.approx(1e-4) and "0 B are fitted and not drawn" in found.caption
    assert found.svg() and found.plotly()
