"""What is taught not to be change."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter
from torch import Tensor

from noise2map_core.learning.appearance import BLACK
from noise2map_core.learning.augment import AugmentDraws, TrainingBatch, augment, draw_augmentations
from noise2map_core.learning.pairs import CLEAR
from noise2map_core.learning.seeds import ChipRandom
from noise2map_core.settings.learning import InvarianceConfig, TrainingConfig
from tests.factories import random_of, samples

COUNT, BANDS, PX = 24, 3, 32
ALL = {
    "unchanged": 0.3, "pasted": 0.3, "shift_px": 1.5, "warp_px": 1.0, "mix": 0.1, "shadow": 0.6,
    "light": 0.2, "tone": 0.5, "seam": 0.2, "blur_px": 1.0, "noise": 0.1, "jpeg": 0.1,
}  # fmt: skip
LOOKS = ("mix", "shadow", "light", "tone", "seam", "blur_px", "noise", "jpeg")


def batch() -> TrainingBatch:
    """Dates that have nothing in common; labels unchanged, changed and unknown."""
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(COUNT, 2 * BANDS, PX, PX, generator=generator)
    label = torch.tensor([0, 1, 255])[torch.randint(3, (COUNT, PX, PX), generator=generator)]
    valid = torch.rand(COUNT, PX, PX, generator=generator) < 0.9
    return TrainingBatch(torch.where(valid[:, None], image, 0.0), label, valid, samples(COUNT))


def seen(image: Tensor) -> TrainingBatch:
    """All valid and unchanged."""
    label = torch.zeros(len(image), *image.shape[-2:]).long()
    return TrainingBatch(image, label, torch.ones_like(label).bool(), samples(len(image)))


def draws(seed: Any = 0, num_dates: Any = 2, **invariance: Any) -> AugmentDraws:
    return draws_by(random_of(COUNT, seed), num_dates, **invariance)


def draws_by(random: ChipRandom, num_dates: int, **invariance: Any) -> AugmentDraws:
    config = TrainingConfig(
        flips=False, reverse_dates=False, jitter=0.0, invariance=InvarianceConfig(**invariance)
    )
    return draw_augmentations(random, num_dates * BANDS, num_dates, config)


def dates(image: Tensor) -> Tensor:
    """[B, date, band, H, W]."""
    return image.unflatten(1, (-1, BANDS))


def test_an_unchanged_chip_shows_one_date_twice_and_is_labelled_so_where_it_is_valid() -> None:
    whole, some = batch(), draws(unchanged=0.5)
    assert some.pairs is not None
    shown = augment(whole, some, 2)
    for chip, date in enumerate(some.pairs.copied.tolist()):
        before, after = dates(whole.image)[chip], dates(shown.image)[chip]
        assert torch.equal(after, before if date < 0 else before[[date, date]])
        label = whole.label[chip]
        expected = label if date < 0 else torch.where(whole.valid[chip], 0, label)
        assert torch.equal(shown.label[chip], expected)
    assert {-1, 0, 1} == set(some.pairs.copied.tolist())
    assert 0.2 < (some.pairs.copied >= 0).float().mean() < 0.8


def test_dates_of_an_unchanged_chip_differ_in_what_else_is_set() -> None:
    shown = augment(seen(batch().image), draws(**ALL | {"unchanged": 1.0, "pasted": 0.0}), 2)
    before, after = dates(shown.image).unbind(1)
    assert ((before - after).abs().flatten(1).mean(dim=1) > 0.01).float().mean() > 0.8
    assert not shown.label.any()


def test_what_is_pasted_at_one_date_is_labelled_changed_but_for_its_edges() -> None:
    ground = torch.zeros(COUNT, 2, BANDS, PX, PX)
    ground[..., PX // 2 :] = 3.0  # alike at both dates
    shown = augment(seen(ground.flatten(1, 2)), draws(pasted=1.0), 2)
    before, after = dates(shown.image).unbind(1)
    differs = (before - after).abs().amax(dim=1)
    labels = shown.label
    pasted = (labels == 1).flatten(1).any(dim=1)
    assert 0.2 < pasted.float().mean() < 1
    assert (differs[labels == 0] == 0).all()
    # Rectangles that show both grounds are in part of the colour of what they cover.
    assert differs[labels == 1].mean() > 1.5 and (labels[pasted] == 255).any()
    assert set(labels.unique().tolist()) == {0, 1, 255}
    where = ((before != ground[:, 0]) | (after != ground[:, 1])).any(dim=1)
    assert (where <= (labels != 0)).all()


def test_what_is_of_the_colour_that_is_there_is_not_pasted() -> None:
    faint = batch().image * 0.5 * CLEAR
    shown = augment(seen(faint), draws(pasted=1.0), 2)
    assert torch.equal(shown.image, faint) and not shown.label.any()


def test_nothing_invalid_is_pasted_or_pasted_over() -> None:
    whole = batch()
    shown = augment(whole, draws(pasted=1.0), 2)
    assert torch.equal(shown.label[~whole.valid], whole.label[~whole.valid])
    assert (
        dates(shown.image).movedim(2, -1)[~whole.valid[:, None].expand(-1, 2, -1, -1)] == 0
    ).all()


def ramp() -> TrainingBatch:
    """Every pixel says its row, its column, and the sum."""
    rows, cols = torch.meshgrid(torch.arange(PX), torch.arange(PX), indexing="ij")
    place = torch.stack([rows, cols, rows + cols] * 2).float()
    return seen(place.expand(COUNT, -1, -1, -1))


@pytest.mark.parametrize("setting", ["shift_px", "warp_px"])
def test_one_date_is_moved_by_so_many_pixels_and_the_label_stays_with_the_other(
    setting: str,
) -> None:
    whole, some = ramp(), draws(**{setting: 1.5})
    whole = replace(whole, label=batch().label)
    assert some.moves is not None
    shown = augment(whole, some, 2)
    assert torch.equal(shown.label, whole.label) and shown.valid.all()
    further = dates(shown.image - whole.image)[:, :, :2, 3:-3, 3:-3]
    moved = (further.abs() > 1e-3).flatten(2).any(dim=2)
    assert torch.equal(moved, (some.moves != 0).flatten(2).any(dim=2))
    assert not moved.all(dim=1).any() and 0.2 < moved.any(dim=1).float().mean() < 0.8
    assert {0, 1} == set(moved.float().argmax(dim=1)[moved.any(dim=1)].tolist())
    assert 0.5 < further.abs().max() < 1.5 * 1.5  # bicubic: a little beyond the cells
    spread = further[moved].std(dim=(2, 3))
    assert (spread < 1e-3).all() if setting == "shift_px" else (spread > 1e-2).all()


def test_a_shift_looks_up_what_lies_further_down_and_right() -> None:
    some = draws(shift_px=1.0, share=1.0)
    assert some.moves is not None
    moves = torch.zeros_like(some.moves)
    moves[:, 1, 0], moves[:, 1, 1] = 1.0, -0.5
    further = dates(augment(ramp(), replace(some, moves=moves), 2).image - ramp().image)[:, 1]
    inner = further[:, :2, 3:-3, 3:-3]
    torch.testing.assert_close(inner[:, 0], torch.ones_like(inner[:, 0]), rtol=0, atol=1e-3)
    torch.testing.assert_close(inner[:, 1], -0.5 * torch.ones_like(inner[:, 1]), rtol=0, atol=1e-3)


def test_a_moved_and_cropped_pixel_to_which_an_invalid_one_contributes_is_none() -> None:
    whole = batch()
    poisoned = replace(
        whole, image=torch.where(whole.valid[:, None], whole.image, torch.tensor(1e6))
    )
    some = draws(shift_px=1.5, warp_px=1.0)
    for crop in (some.crop, torch.tensor([0.7, 0.2, 0.9]).expand(COUNT, 3)):
        shown = augment(poisoned, replace(some, crop=crop), 2)
        assert (shown.image.abs() < 200).all() and shown.valid.any()


def effect(setting: str, image: Tensor, seed: int = 0, most: float = 0.5) -> tuple[Tensor, Any]:
    """Of the dates that are not spared [n, band, H, W]: how they look, and the draws."""
    some = draws(seed, **{setting: most})
    (one,) = some.appearance + some.sensor
    shown = augment(seen(image), some, 2)
    assert not shown.label.any() and shown.valid.all()
    touched, before = one.strength.flatten() > 0, dates(image).flatten(0, 1)
    after = dates(shown.image).flatten(0, 1)
    assert torch.equal(after[~touched], before[~touched])
    assert 0.3 < touched.float().mean() < 0.7 and one.strength.max() <= most
    return after[touched], one.of_frames(touched.nonzero()[:, 0], torch.device("cpu"))


def touched(setting: str, image: Tensor, seed: int = 0, most: float = 0.5) -> Tensor:
    """What `effect` had to do with."""
    (one,) = (some := draws(seed, **{setting: most})).appearance + some.sensor
    return dates(image).flatten(0, 1)[one.strength.flatten() > 0]


def test_light_is_one_smooth_factor_for_all_bands() -> None:
    image = batch().image
    after, _ = effect("light", image)
    factor = (after - BLACK) / (touched("light", image) - BLACK)
    near_black = (touched("light", image) - BLACK).abs() < 0.1
    factor[near_black] = torch.nan
    mean = factor.nanmean(dim=1, keepdim=True)
    assert ((factor - mean).abs().nan_to_num() < 1e-3).all() and (mean.nan_to_num(1) > 0).all()
    assert mean.diff(dim=2).abs().nan_to_num().max() < 0.3


def test_shadows_darken_in_places_and_never_below_black() -> None:
    image = batch().image
    after, drawn = effect("shadow", image, most=1.0)
    before = touched("shadow", image, most=1.0)
    assert (after <= before).all() and (after >= before.clamp_max(BLACK)).all()
    darkened = (after < before).any(dim=1).float().mean(dim=(1, 2))
    assert (darkened < 0.6).all() and darkened.mean() > 0.02
    darkest = ((before - after) / (before - BLACK).clamp_min(1e-3)).flatten(1).amax(dim=1)
    assert (darkest <= drawn.strength + 1e-4).all()


def test_a_tone_curve_rises_everywhere_and_leaves_black_and_the_mean() -> None:
    image = torch.linspace(-6, 10, PX * PX).reshape(PX, PX).expand(COUNT, 2 * BANDS, PX, PX)
    curves = effect("tone", image, most=0.99)[0].flatten(2)
    assert (curves.diff(dim=2) > 0).all()
    fixed = torch.tensor([BLACK, 0.0]).repeat(PX // 2).expand(COUNT, 2 * BANDS, PX, PX)
    torch.testing.assert_close(effect("tone", fixed)[0], touched("tone", fixed), rtol=0, atol=1e-5)
    bright = effect("tone", torch.ones(COUNT, 2 * BANDS, PX, PX))[0]
    assert (bright > 1).any() and (bright < 1).any()


def test_bands_are_mixed_alike_over_a_date() -> None:
    image = batch().image
    after, drawn = effect("mix", image)
    matrix = torch.eye(BANDS) + drawn.weights * drawn.strength[:, None, None]
    expected = torch.einsum("nij,njhw->nihw", matrix, touched("mix", image))
    torch.testing.assert_close(after, expected)


def test_a_seam_changes_one_side_of_a_line() -> None:
    image = batch().image
    after, drawn = effect("seam", image)
    before = touched("seam", image)
    far = (after != before).any(dim=1, keepdim=True)
    gain = 1 + (drawn.gain * drawn.strength[:, None])[:, :, None, None]
    offset = (drawn.offset * drawn.strength[:, None])[:, :, None, None]
    torch.testing.assert_close(after, torch.where(far, before * gain + offset, before))
    assert 0.2 < far.float().mean() < 0.8
    corners = far[:, 0][:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (~corners.all(dim=1)).all()  # a line through the chip


def test_a_blur_is_a_gaussian() -> None:
    image = batch().image
    after, drawn = effect("blur_px", image, most=2.0)
    before = touched("blur_px", image, most=2.0).numpy()
    inner = slice(8, -8)
    for frame, (found, sigma) in enumerate(zip(after, drawn.strength.tolist(), strict=True)):
        if sigma > 0.5:
            expected = gaussian_filter(before[frame], (0, sigma, sigma), radius=5)
            np.testing.assert_allclose(found[:, inner, inner], expected[:, inner, inner], atol=1e-4)


def test_a_blur_takes_nothing_from_invalid_pixels_nor_from_outside() -> None:
    valid = batch().valid
    image = torch.where(valid[:, None], torch.ones(COUNT, 2 * BANDS, PX, PX), torch.tensor(1e9))
    label = torch.zeros_like(batch().label)
    shown = augment(
        TrainingBatch(image, label, valid, samples(len(image))), draws(blur_px=3.0, share=1.0), 2
    )
    torch.testing.assert_close(shown.image, valid[:, None].expand_as(image).float())
    assert torch.equal(shown.valid, valid)


def test_noise_is_white_and_each_dates_and_bands_own() -> None:
    image = torch.zeros(COUNT, 2 * BANDS, PX, PX)
    noise, drawn = effect("noise", image, seed=1)
    scaled = (noise / drawn.strength[:, None, None, None]).flatten(2)
    assert 0.95 < scaled.std() < 1.05 and scaled.mean().abs() < 0.02
    rows = torch.corrcoef(scaled.flatten(0, 1)).fill_diagonal_(0)
    assert rows.abs().max() < 0.25
    neighbours = (scaled[..., 1:] * scaled[..., :-1]).mean()
    assert neighbours.abs() < 0.02


def test_jpeg_rounds_the_coefficients_of_blocks() -> None:
    image = batch().image
    after, drawn = effect("jpeg", image)
    blocks = after.reshape(-1, BANDS, PX // 8, 8, PX // 8, 8).transpose(3, 4).double().numpy()
    found = dctn(blocks, axes=(-2, -1), norm="ortho")
    index = np.arange(8)
    coarseness = 8 * (1 + (index[:, None] + index) / 2)
    steps = found / (drawn.strength[:, None, None, None, None, None].numpy() * coarseness)
    fine = drawn.strength.numpy() > 0.02
    np.testing.assert_allclose(steps[fine], np.round(steps[fine]), atol=1e-3)
    assert (after - touched("jpeg", image)).abs().mean() > 0.01


def test_jpeg_takes_chips_of_any_side() -> None:
    image = torch.randn(COUNT, 2 * BANDS, 20, 20)
    shown = augment(seen(image), draws(jpeg=1e-6, share=1.0), 2).image
    torch.testing.assert_close(shown, image, rtol=0, atol=1e-3)


def test_invalid_pixels_stay_zero_and_get_into_no_others_whatever_is_done() -> None:
    whole = batch()
    poisoned = replace(
        whole, image=torch.where(whole.valid[:, None], whole.image, torch.tensor(1e6))
    )
    shown = augment(poisoned, draws(**ALL), 2)
    # A ten thousandth of a pixel is let pass, and effects make some more of it.
    assert (shown.image.abs() < 200).all() and shown.valid.any()
    assert (shown.image.movedim(1, -1)[~shown.valid] == 0).all()


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_a_chip_is_augmented_alike_whatever_the_number_of_workers(world_size: int) -> None:
    whole = batch()
    alone = augment(whole, draws(**ALL), 2)
    for rank in range(world_size):
        mine = slice(rank, None, world_size)
        own = draws_by(ChipRandom(0, 0, "test", whole.draws_of[mine]), 2, **ALL)
        part = augment(
            TrainingBatch(
                whole.image[mine], whole.label[mine], whole.valid[mine], whole.draws_of[mine]
            ),
            own,
            2,
        )
        torch.testing.assert_close(part.image, alone.image[mine], rtol=1e-5, atol=1e-5)
        assert torch.equal(part.label, alone.label[mine])
        assert torch.equal(part.valid, alone.valid[mine])


def test_the_same_draws_do_the_same_to_the_bit() -> None:
    once, again = (augment(batch(), draws(**ALL), 2) for _ in range(2))
    assert torch.equal(once.image, again.image) and torch.equal(once.label, again.label)


@pytest.mark.parametrize("setting", ALL)
def test_each_setting_does_something_to_pairs(setting: str) -> None:
    whole = batch()
    level = 3 * torch.tensor([1.0, -1.0]).repeat_interleave(PX // 2)  # what is elsewhere differs
    image = torch.where(whole.valid[:, None], whole.image + level, 0.0)
    assert not torch.equal(
        augment(replace(whole, image=image), draws(**{setting: 0.5}), 2).image, image
    )


@pytest.mark.parametrize("setting", ALL)
def test_single_dates_change_in_looks_alone(setting: str) -> None:
    whole = batch()
    one = replace(whole, image=whole.image[:, :BANDS])
    shown = augment(one, draws(num_dates=1, **{setting: 0.5}), 1)
    assert torch.equal(shown.image, one.image) == (setting not in LOOKS)
    assert torch.equal(shown.label, one.label)


def test_what_is_off_draws_nothing() -> None:
    nexts = []
    for given in ({}, {"unchanged": 0.0, "noise": 0.0}):
        random = random_of(COUNT)
        config = TrainingConfig(invariance=InvarianceConfig(**given))
        some = draw_augmentations(random, 2 * BANDS, 2, config)
        assert some.pairs is None and some.moves is None
        assert some.appearance == some.sensor == ()
        nexts.append(random.rand(4))
    assert torch.equal(*nexts)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="share is not used"):
        InvarianceConfig(share=0.3)
    assert InvarianceConfig(share=0.3, noise=0.1).share == 0.3
