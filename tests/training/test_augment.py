"""Augmentation: the geometry does what the recipe says, nothing leaves 0..1, and a seed decides everything."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mien.training.expression.augment import augment
from mien.training.recipe import AugmentTable

torch.set_num_threads(1)
OFF = AugmentTable(
    flip=0, rotate=0, shift=0, scale=(1, 1), stretch=0, brightness=0, contrast=0, gamma=0, blur=0,
    low_resolution=0, noise=0, erase=0,
)  # fmt: skip


def off_but(**changes: object) -> AugmentTable:
    return AugmentTable.model_validate(OFF.model_dump() | changes)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(16, 1, 48, 48, generator=seeded(1))


def spot(row: int, column: int, size: int = 49) -> Tensor:
    """A bright blob, soft enough to survive resampling."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.exp(-((y - row) ** 2 + (x - column) ** 2) / 8.0).expand(32, 1, size, size).clone()


def centre_of_mass(images: Tensor) -> Tensor:
    """`(n, 2)`: row and column relative to the middle of the image."""
    weight = (images[:, 0] - 0.01).clamp_min(0)
    place = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    total = weight.sum((1, 2))
    return torch.stack([(weight.sum(2) * place).sum(1) / total, (weight.sum(1) * place).sum(1) / total], 1)


@pytest.mark.parametrize("size", [24, 36, 48, 64])
def test_size_and_range_with_everything_on(images: Tensor, size: int) -> None:
    table = AugmentTable(rotate=45, brightness=1, contrast=1, gamma=1, blur=1, low_resolution=1, noise=1, erase=1)
    changed = augment(images, size, table, seeded())
    assert changed.shape == (16, 1, size, size)
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1


def test_everything_off_is_the_identity(images: Tensor) -> None:
    torch.testing.assert_close(augment(images, 48, OFF, seeded()), images, atol=1.1e-4, rtol=0)


def test_the_input_is_left_alone(images: Tensor) -> None:
    before = images.clone()
    augment(images, 48, AugmentTable(), seeded())
    assert torch.equal(images, before)


def test_flip_mirrors_left_and_right(images: Tensor) -> None:
    flipped = augment(images, 48, off_but(flip=1), seeded())
    torch.testing.assert_close(flipped, images.flip(3), atol=1.1e-4, rtol=0)


def test_flip_of_one_half_flips_about_half() -> None:
    changed = augment(spot(24, 40), 49, off_but(flip=0.5), seeded())
    right = int((centre_of_mass(changed)[:, 1] > 0).sum())
    assert 8 <= right <= 24


def test_rotation_keeps_the_distance_and_turns_both_ways_up_to_its_limit() -> None:
    place = centre_of_mass(augment(spot(24, 40), 49, off_but(rotate=30), seeded()))
    torch.testing.assert_close(place.norm(dim=1), torch.full((32,), 16.0), atol=0.5, rtol=0)
    angle = torch.rad2deg(torch.atan2(-place[:, 0], place[:, 1]))
    assert float(angle.abs().max()) < 31
    assert float(angle.min()) < -15 < 15 < float(angle.max())


def test_rotation_turns_the_whole_image_one_way() -> None:
    """A rotation, no shear: with the same draws, the spot at the top moves left when the one at the right
    moves up."""
    right = centre_of_mass(augment(spot(24, 40), 49, off_but(rotate=30), seeded()))
    top = centre_of_mass(augment(spot(8, 24), 49, off_but(rotate=30), seeded()))
    torch.testing.assert_close(top[:, 1], right[:, 0], atol=0.5, rtol=0)
    torch.testing.assert_close(top[:, 0], -right[:, 1], atol=0.5, rtol=0)


def test_scale_above_one_magnifies() -> None:
    place = centre_of_mass(augment(spot(24, 34), 49, off_but(scale=(1.5, 1.5)), seeded()))
    torch.testing.assert_close(place[:, 1], torch.full((32,), 15.0), atol=0.5, rtol=0)


def test_shift_moves_by_up_to_its_share_of_the_side() -> None:
    place = centre_of_mass(augment(spot(24, 24), 49, off_but(shift=0.2), seeded()))
    assert 5 < float(place.abs().max()) < 0.2 * 49 + 0.5


def test_light_and_optics_leave_the_geometry() -> None:
    images = 0.1 + 0.5 * spot(24, 36)
    table = off_but(brightness=0.05, contrast=0.2, gamma=0.2, blur=0.5, noise=0.3)
    peaks = augment(images, 49, table, seeded()).flatten(1).argmax(1)
    assert float((peaks // 49 - 24).abs().max()) <= 3
    assert float((peaks % 49 - 36).abs().max()) <= 3


def test_blur_and_low_resolution_take_detail_and_noise_adds_it(images: Tensor) -> None:
    detail = images.diff(dim=3).abs().mean()
    assert augment(images, 48, off_but(blur=1), seeded()).diff(dim=3).abs().mean() < 0.8 * detail
    assert augment(images, 48, off_but(low_resolution=1), seeded()).diff(dim=3).abs().mean() < 0.9 * detail
    flat = torch.full((16, 1, 48, 48), 0.5)
    assert augment(flat, 48, off_but(noise=1), seeded()).diff(dim=3).abs().mean() > 0.01


def test_erasing_replaces_one_rectangle_by_one_grey() -> None:
    images = torch.full((64, 1, 48, 48), 0.5)
    changed = augment(images, 48, off_but(erase=1), seeded()) != augment(images, 48, OFF, seeded())
    share = changed.float().mean((1, 2, 3))
    assert 0 < float(share.max()) <= 0.3
    assert float((share > 0.01).float().mean()) > 0.9
    for mask in changed[:, 0]:
        rows, columns = mask.any(1), mask.any(0)
        assert int(mask.sum()) == int(rows.sum()) * int(columns.sum())


def test_a_share_leaves_the_others_untouched(images: Tensor) -> None:
    images = images.repeat(16, 1, 1, 1)
    changed = (augment(images, 48, off_but(erase=0.3), seeded()) - images).abs().flatten(1).amax(1) > 1e-3
    assert 0.15 < float(changed.float().mean()) < 0.45


def test_the_generator_decides_everything(images: Tensor) -> None:
    table = AugmentTable(blur=0.5, low_resolution=0.5, noise=0.5, erase=0.5)
    torch.manual_seed(1)
    once = augment(images, 48, table, seeded(5))
    torch.manual_seed(2)
    assert torch.equal(once, augment(images, 48, table, seeded(5)))
    assert not torch.equal(once, augment(images, 48, table, seeded(6)))


def test_strength_weakens_all_but_the_flip(images: Tensor) -> None:
    table = AugmentTable(flip=0.5, scale=(0.5, 2))
    half, none = table.scaled(0.5), table.scaled(0)
    assert (half.flip, half.rotate, half.erase) == (0.5, table.rotate / 2, table.erase / 2)
    assert half.scale == pytest.approx((0.5**0.5, 2**0.5))
    assert table.scaled(1) == table
    assert none == off_but(flip=0.5)
