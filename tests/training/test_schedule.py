"""Learning rate, image size and strength of augmentation over the epochs."""

from __future__ import annotations

import numpy as np
import pytest
from training_sets import small_recipe

from mien.training.recipe import OptimTable
from mien.training.schedule import learning_rate, size_at, strength_at


def test_learning_rate_rises_then_falls_to_zero() -> None:
    optim = OptimTable(epochs=10, lr=0.2, warmup_epochs=2)
    rates = [learning_rate(epoch / 4, optim) for epoch in range(41)]
    assert 0 < rates[0] < 0.001
    assert max(rates) == rates[8] == 0.2
    assert rates[:9] == sorted(rates[:9])
    assert rates[8:] == sorted(rates[8:], reverse=True)
    assert rates[-1] == pytest.approx(0)
    assert learning_rate(6, optim) == pytest.approx(0.1)


def test_sizes_grow_at_their_share_of_the_epochs() -> None:
    assert [size_at(small_recipe(), epoch) for epoch in range(4)] == [20, 20, 28, 28]
    assert [size_at(small_recipe(sizes=[]), epoch) for epoch in range(4)] == [28] * 4


def test_augmentation_fades_at_the_end_only() -> None:
    optim = OptimTable(epochs=10, calm_share=0.4, calm_strength=0.2)
    strengths = [strength_at(epoch, optim) for epoch in range(10)]
    np.testing.assert_allclose(strengths, [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert {strength_at(epoch, OptimTable(epochs=10)) for epoch in range(10)} == {1.0}
