import numpy as np
import pytest

from noise2map_core.learning.baseline import ChangeVectorAnalysis, magnitude_of

RNG = np.random.default_rng(0)


def test_the_magnitude_is_the_length_of_the_difference_of_z_scores_per_date() -> None:
    image = RNG.integers(0, 255, (3, 2, 4, 8, 9)).astype(np.uint8)
    mean, std = RNG.uniform(50, 150, (2, 4)), RNG.uniform(10, 30, (2, 4))
    analysis = ChangeVectorAnalysis(mean, std)
    found = analysis.magnitude(image)
    for chip, row, col in [(0, 0, 0), (1, 3, 5), (2, 7, 8)]:
        z = (image[chip, :, :, row, col] - mean) / std
        assert found[chip, row, col] == pytest.approx(np.linalg.norm(z[1] - z[0]), rel=1e-5)


def test_a_shift_of_light_between_the_dates_is_no_change() -> None:
    before = RNG.uniform(0, 100, (1, 1, 3, 20, 20))
    image = np.concatenate([before, before * 1.7 + 30], axis=1)
    mean, std = image.mean(axis=(0, 3, 4)), image.std(axis=(0, 3, 4))
    assert ChangeVectorAnalysis(mean, std).magnitude(image).max() < 1e-4


def test_a_score_names_its_magnitude() -> None:
    analysis = ChangeVectorAnalysis(np.zeros((2, 1)), np.ones((2, 1)))
    image = np.array([0.0, 3.0]).reshape(1, 2, 1, 1, 1)
    assert magnitude_of(float(analysis.score(image)[0, 0, 0])) == pytest.approx(3.0)
