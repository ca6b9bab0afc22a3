from dataclasses import replace

import pytest
import torch

from noise2map_core.learning.augment import AugmentDraws, TrainingBatch, augment, draw_augmentations
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.settings.learning import TrainingConfig
from tests.factories import random_of, samples

COUNT, BANDS, PX = 24, 3, 8


def batch() -> TrainingBatch:
    """Every pixel's label is the rounded first band, so that their places can be compared."""
    generator = torch.Generator().manual_seed(2)
    label = torch.randint(0, 100, (COUNT, PX, PX), generator=generator)
    valid = torch.rand(COUNT, PX, PX, generator=generator) < 0.8
    pair = torch.randn(COUNT, 2 * BANDS, PX, PX, generator=generator)
    pair[:, 0] = label.float()
    pair[:, BANDS] = label.float()
    return TrainingBatch(torch.where(valid[:, None], pair, 0.0), label, valid, samples(COUNT))


def draws(jitter: float = 0.0, seed: int = 0) -> AugmentDraws:
    return drawn(TrainingConfig(jitter=jitter), seed)


def drawn(config: TrainingConfig, seed: int = 0) -> AugmentDraws:
    return draw_augmentations(random_of(COUNT, seed), 2 * BANDS, 2, config)


def test_pair_label_and_valid_are_turned_alike() -> None:
    turned = augment(batch(), draws(), 2)
    for channel in (0, BANDS):
        assert torch.equal(
            turned.image[:, channel], torch.where(turned.valid, turned.label.float(), 0.0)
        )


def test_all_eight_symmetries_occur() -> None:
    image = torch.arange(PX * PX).reshape(1, PX, PX)
    many = batch()
    turned = augment(
        replace(many, label=image.expand(COUNT, PX, PX), valid=torch.ones_like(many.valid)),
        draws(),
        2,
    )
    eight = {
        tuple(torch.rot90(way, k, dims=(-2, -1)).flatten().tolist())
        for k in range(4)
        for way in (image[0], image[0].flip(-1))
    }
    assert {tuple(label.flatten().tolist()) for label in turned.label} == eight


def test_dates_are_exchanged_in_about_half_of_the_chips() -> None:
    still = replace(
        draws(), flip=torch.zeros(COUNT, dtype=torch.bool), turns=torch.zeros(COUNT).long()
    )
    before = batch()
    after = augment(before, still, 2)
    exchanged = torch.cat([before.image[:, BANDS:], before.image[:, :BANDS]], dim=1)
    for index, swap in enumerate(still.reverse):
        assert torch.equal(after.image[index], (exchanged if swap else before.image)[index])
    assert 0.2 < still.reverse.float().mean() < 0.8


def test_jitter_is_one_gain_and_offset_per_date_and_band_and_spares_invalid_pixels() -> None:
    calm, jittered = augment(batch(), draws(), 2), augment(batch(), draws(jitter=0.3), 2)
    some = draws(jitter=0.3)
    expected = calm.image * some.gain[:, :, None, None] + some.offset[:, :, None, None]
    torch.testing.assert_close(jittered.image, torch.where(jittered.valid[:, None], expected, 0.0))
    assert (jittered.image[~jittered.valid[:, None].expand_as(jittered.image)] == 0).all()


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_a_chip_is_augmented_alike_whatever_the_number_of_workers(world_size: int) -> None:
    whole, config = batch(), TrainingConfig(jitter=0.2)
    alone = augment(whole, drawn(config), 2).image
    for rank in range(world_size):
        mine = slice(rank, None, world_size)
        part = TrainingBatch(
            whole.image[mine], whole.label[mine], whole.valid[mine], whole.draws_of[mine]
        )
        random = ChipRandom(0, 0, "test", part.draws_of)
        own = draw_augmentations(random, 2 * BANDS, 2, config)
        assert torch.equal(augment(part, own, 2).image, alone[mine])


def test_one_date_is_not_reversed_and_three_are() -> None:
    def calm(count: int, channels: int) -> AugmentDraws:
        drawn = draw_augmentations(random_of(count), channels, 1, TrainingConfig(jitter=0.0))
        none = torch.zeros(count, dtype=torch.bool)
        return replace(drawn, flip=none, turns=none.long(), reverse=~none)

    images = torch.randn(2, 6, PX, PX)
    label, valid = torch.zeros(2, PX, PX).long(), torch.ones(2, PX, PX).bool()
    batch = TrainingBatch(images, label, valid, samples(2))
    assert torch.equal(augment(batch, calm(2, 6), 1).image, images)
    three = augment(batch, calm(2, 6), 3).image
    assert torch.equal(three, torch.cat([images[:, 4:], images[:, 2:4], images[:, :2]], dim=1))


def test_what_is_switched_off_does_not_happen() -> None:
    config = TrainingConfig(flips=False, reverse_dates=False, jitter=0.0)
    assert torch.equal(augment(batch(), drawn(config), 2).image, batch().image)


STILL = TrainingConfig(flips=False, reverse_dates=False, jitter=0.0)


def test_a_crop_shows_the_place_that_it_names_in_image_label_and_valid_alike() -> None:
    rows, cols = torch.meshgrid(torch.arange(PX), torch.arange(PX), indexing="ij")
    place = torch.stack([rows, cols] * BANDS).float().expand(COUNT, 2 * BANDS, PX, PX)
    whole = TrainingBatch(
        place, cols.expand(COUNT, PX, PX), torch.ones(COUNT, PX, PX).bool(), samples(COUNT)
    )
    some = drawn(STILL.model_copy(update={"crop": 0.5}))
    shown = augment(whole, some, 2)
    side, top, left = (part[:, None] for part in some.crop.T)
    inside = (torch.arange(PX) + 0.5) / PX
    for axis, start in ((0, top), (1, left)):
        expected = ((1 - side) * start + side * inside) * PX - 0.5
        found = shown.image[:, axis].mean(dim=2 - axis)
        torch.testing.assert_close(found, expected.clamp(0, PX - 1), rtol=0, atol=1e-4)
    assert ((shown.label - shown.image[:, 1]).abs() <= 0.5 + 1e-4).all()


def test_a_cropped_pixel_to_which_an_invalid_one_contributes_is_none() -> None:
    whole = batch()
    poisoned = replace(
        whole, image=torch.where(whole.valid[:, None], whole.image, torch.tensor(1e9))
    )
    shown = augment(poisoned, drawn(STILL.model_copy(update={"crop": 0.5})), 2)
    # A ten thousandth of a pixel is let pass.
    assert (shown.image.abs() < 1.1e5).all() and shown.valid.any()


def test_haze_brightens_some_dates_and_what_it_hides_is_not_learnt() -> None:
    some = drawn(STILL.model_copy(update={"haze": 0.5}), seed=3)
    whole = replace(batch(), image=torch.zeros(COUNT, 2 * BANDS, PX, PX))
    shown = augment(replace(whole, valid=torch.ones_like(whole.valid)), some, 2)
    hazy = (shown.image != 0).flatten(2).any(dim=2)
    assert torch.equal(hazy[:, ::BANDS], (some.haze > 0).flatten(2).any(dim=2))
    assert 0.3 < hazy.float().mean() < 0.7
    assert ((shown.image >= 0) & (shown.image <= 3)).all()
    hidden = shown.image.amax(dim=1) >= 0.7 * 3
    assert 0 < hidden.float().mean() < 0.5
    assert torch.equal(shown.label == 255, hidden)
