import numpy as np
import pytest
import torch

from noise2map_core.models.noise2map import Noise2Map, TaskInput
from noise2map_core.models.spec import Normalisation
from noise2map_core.runtime.errors import CheckpointError
from noise2map_core.settings.diffusion import GaussianCorruption, MixtureCorruption, NoCorruption
from tests.factories import checkpoint_spec, task_spec

MEAN, STD = ((10.0, 20.0), (30.0, 40.0)), ((1.0, 2.0), (4.0, 8.0))


@pytest.fixture(scope="module")
def model() -> Noise2Map:
    torch.manual_seed(0)
    spec = checkpoint_spec(normalisation=Normalisation(mean=MEAN, std=STD))
    return Noise2Map(spec).eval()


def raw(dtype: torch.dtype = torch.uint8, count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(1, 200, (count, 4, 32, 32), generator=generator).to(dtype)


def test_normalisation_is_a_z_score_per_date_and_band(model: Noise2Map) -> None:
    image = raw().numpy().astype(float).reshape(3, 2, 2, 32, 32)
    mean, std = (np.asarray(v)[None, :, :, None, None] for v in (MEAN, STD))
    expected = ((image - mean) / std).reshape(3, 4, 32, 32)
    np.testing.assert_allclose(model.normalise(raw()).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int16, torch.float32, torch.float64])
def test_raw_numbers_of_any_dtype_give_the_same_logits(
    model: Noise2Map, dtype: torch.dtype
) -> None:
    with torch.inference_mode():
        assert torch.equal(model.logits(raw(dtype), 999), model.logits(raw(), 999))


def test_a_fixed_batch_gives_the_same_bits(model: Noise2Map) -> None:
    with torch.inference_mode():
        first, again = model.logits(raw(), 999), model.logits(raw(), 999)
    assert first.dtype == torch.float32
    assert first.shape == (3, 2, 32, 32)
    assert torch.equal(first, again)


def test_what_lies_under_an_invalid_pixel_does_not_matter(model: Noise2Map) -> None:
    valid = torch.ones(3, 2, 32, 32, dtype=torch.bool)
    valid[:, 1, 4:9, 10:20] = False
    image, other = raw(torch.float32), raw(torch.float32)
    other[:, :2, 4:9, 10:20] = 1e9
    other[:, 2:, 4:9, 10:20] = torch.nan
    with torch.inference_mode():
        assert torch.equal(model.logits(image, 999, valid), model.logits(other, 999, valid))
        assert not torch.equal(model.logits(image, 999, valid), model.logits(image, 999))
    assert (model.normalise(other, valid)[:, :, 4:9, 10:20] == 0).all()


def test_the_timestep_matters(model: Noise2Map) -> None:
    with torch.inference_mode():
        assert not torch.equal(model.logits(raw(), 999), model.logits(raw(), 0))


def both_tasks() -> Noise2Map:
    tasks = {
        "change": task_spec("change", corruption=MixtureCorruption(gaussian_share=0.5)),
        "segment": task_spec("segment", corruption=GaussianCorruption()),
    }
    torch.manual_seed(0)
    return Noise2Map(checkpoint_spec(tasks=tasks)).eval()


def test_a_model_of_both_tasks_wants_to_know_which() -> None:
    model = both_tasks()
    with torch.inference_mode():
        assert model.logits(raw(), 999, task="change").shape == (3, 2, 32, 32)
        assert model.logits(raw()[:, :2], 10, task="segment").shape == (3, 2, 32, 32)
    with pytest.raises(CheckpointError, match="several tasks; it knows: change, segment"):
        model.logits(raw(), 999)


def test_a_model_of_one_task_refuses_the_other(model: Noise2Map) -> None:
    with pytest.raises(CheckpointError, match="does not do task 'segment'; it knows: change"):
        model.logits(raw(), 999, task="segment")


def test_a_chip_has_the_same_logits_wherever_it_lies_in_a_batch_of_gaussian_noise() -> None:
    model, image = both_tasks(), raw(torch.float32, count=4)
    with torch.inference_mode():
        batch = model.logits(image, 500, task="change")
        turned = model.logits(image.flip(0), 500, task="change")
    torch.testing.assert_close(batch, turned.flip(0), rtol=1e-4, atol=1e-4)


def test_logits_over_timesteps_are_those_of_each(model: Noise2Map) -> None:
    with torch.inference_mode():
        several = model.logits_over(raw(), (0, 500, 999))
        for index, timestep in enumerate((0, 500, 999)):
            assert torch.equal(several[index], model.logits(raw(), timestep))


def test_without_noise_the_network_sees_the_clean_image() -> None:
    torch.manual_seed(0)
    model = Noise2Map(checkpoint_spec(corruption=NoCorruption(), inference_timesteps=(0,)))
    x_0 = model.normalise(raw())
    batch = TaskInput(x_0, torch.ones(3, 1, 32, 32).bool(), torch.tensor([0, 500, 999]))
    assert torch.equal(model.corrupt(batch, "change"), x_0)


def test_a_scene_normalised_model_sees_no_gain_and_no_offset_of_a_date() -> None:
    """As long as the scene's centre and spread move with them."""
    torch.manual_seed(0)
    spec = checkpoint_spec(normalisation=Normalisation(of="scene", mean=MEAN, std=STD))
    model = Noise2Map(spec).eval()
    image = raw(torch.float64)
    light = torch.stack([image.mean(dim=(0, 2, 3)), image.std(dim=(0, 2, 3))]).expand(3, 2, 4)
    gain, offset = torch.tensor([2.0, 3.0, 0.5, 7.0]), torch.tensor([10.0, -4.0, 100.0, 0.0])
    moved = image * gain[:, None, None] + offset[:, None, None]
    lit = torch.stack([light[:, 0] * gain + offset, light[:, 1] * gain], dim=1)
    with torch.inference_mode():
        first = model.logits(image, 999, light=light)
        torch.testing.assert_close(model.logits(moved, 999, light=lit), first)
        assert not torch.allclose(model.logits(moved, 999, light=light), first)


def test_where_the_light_is_not_known_the_training_parts_counts() -> None:
    by_scene = Normalisation(of="scene", mean=MEAN, std=STD)
    torch.manual_seed(0)
    model = Noise2Map(checkpoint_spec(normalisation=by_scene)).eval()
    unknown = torch.full((3, 2, 4), torch.nan)
    assert torch.equal(model.normalise(raw(), light=unknown), model.normalise(raw()))
    unknown[1, :, 2] = torch.tensor([50.0, 5.0])
    expected = model.normalise(raw())
    expected[1, 2] = (raw()[1, 2].float() - 50) / 5
    assert torch.equal(model.normalise(raw(), light=unknown), expected)


def test_a_model_of_the_training_parts_numbers_takes_no_light(model: Noise2Map) -> None:
    light = torch.full((3, 2, 4), 5.0)
    assert torch.equal(model.normalise(raw(), light=light), model.normalise(raw()))
    assert '"of"' not in model.spec.model_dump_json()  # digests of earlier checkpoints hold
