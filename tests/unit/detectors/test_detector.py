"""Change without labels: invariant to light, the same in any window, alarms as asked for."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from noise2map_core.detectors.detector import Detector, default_kind, halo_px
from noise2map_core.detectors.null import fit_null, fit_posterior
from noise2map_core.learning.alteration import alteration_matrix
from noise2map_core.runtime.errors import PairRejectedError
from noise2map_core.settings.detector import Kind

BANDS = ("blue", "green", "red", "nir08", "swir16", "swir22")
KINDS: tuple[Kind, ...] = ("mad", "irmad", "cva")


def pair(seed: int = 0, side: int = 96, changed: int = 0) -> np.ndarray:
    """[date, band, H, W]: correlated dates under another light, with a square of change."""
    rng = np.random.default_rng(seed)
    ground = rng.normal(0, 300, (4, side, side)) + rng.normal(0, 200, (1, side, side))
    before = 6000 + ground + rng.normal(0, 20, ground.shape)
    after = 5000 + 1.3 * ground + rng.normal(0, 20, ground.shape)
    after[:, :changed, :changed] = 5000 + 1.3 * rng.normal(600, 300, (4, changed, changed))
    return np.stack([before, after]).round().astype(np.uint16)


def everywhere(image: np.ndarray) -> np.ndarray:
    return np.ones(image.shape[2:], bool)


@pytest.fixture(scope="module")
def taizhou(real_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Image [date, band, H, W] and labels of the real scene; the labels judge, no more."""
    folder = real_data / "stac" / "landsat-taizhou"
    dates = ("landsat-taizhou-20000317", "landsat-taizhou-20030206")
    image = np.stack([[_read(folder / date / f"{band}.tif") for band in BANDS] for date in dates])
    (labels,) = folder.glob("landsat-taizhou-change-*/*.tif")
    return image, _read(labels)


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def test_a_real_pair_is_mapped_without_its_labels(taizhou: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = taizhou
    detector = Detector.fit("mad", [(image, everywhere(image))])
    probability = detector.probability(image, everywhere(image))
    known = labels != 255
    said = probability[known] >= detector.threshold(0.01)
    assert f1_score(labels[known], said) >= 0.96
    off = calibration_error(probability[known], labels[known])
    assert off <= 0.03
    for asked in (0.01, 0.05):
        alarms = (probability[labels == 0] >= detector.threshold(asked)).mean()
        assert asked / 2 <= alarms <= asked * 2


def calibration_error(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of what is said from what is true, over 15 bins of equal width."""
    bins = np.minimum((probability * 15).astype(int), 14)
    parts = [(bins == number) for number in range(15) if (bins == number).any()]
    return sum(
        part.mean() * abs(float(probability[part].mean()) - float(truth[part].mean()))
        for part in parts
    )


@pytest.mark.parametrize("kind", KINDS)
def test_alarms_where_nothing_changed_are_as_many_as_asked_for(kind: Kind) -> None:
    image = pair(1, side=256)
    detector = Detector.fit(kind, [(image, everywhere(image))])
    probability = detector.probability(image, everywhere(image))
    for asked in (0.01, 0.05):
        assert asked / 2 <= (probability >= detector.threshold(asked)).mean() <= asked * 2
    assert (probability > 0.5).mean() < 0.01


@pytest.mark.parametrize("kind", ["mad", "irmad"])
def test_gain_offset_and_mixtures_of_bands_change_nothing(kind: Kind) -> None:
    image = pair(2, changed=30).astype(np.float64)
    mixture = np.random.default_rng(3).normal(0, 1, (4, 4)) + 3 * np.eye(4)
    mixed = image.copy()
    mixed[1] = np.einsum("ij,jyx->iyx", mixture, image[1]) + 700
    maps = [
        Detector.fit(kind, [(one, everywhere(one))]).probability(one, everywhere(one))
        for one in (image, mixed)
    ]
    np.testing.assert_allclose(*maps, atol=0.02)
    assert maps[0][5:25, 5:25].mean() > 0.9


@given(
    row=st.integers(0, 40), col=st.integers(0, 40), height=st.integers(12, 40),
    width=st.integers(12, 40), kind=st.sampled_from(KINDS),
)  # fmt: skip
def test_a_pixel_is_the_same_in_any_window(
    row: int, col: int, height: int, width: int, kind: Kind
) -> None:
    image = pair(4, changed=20)
    valid = np.random.default_rng(5).random(image.shape[2:]) > 0.1
    detector = Detector.fit(kind, [(image, valid)])
    whole, halo = detector.probability(image, valid), halo_px(kind)
    part = (slice(row, row + height), slice(col, col + width))
    inner = (slice(row + halo, row + height - halo), slice(col + halo, col + width - halo))
    found = detector.probability(image[:, :, *part], valid[part])
    np.testing.assert_array_equal(found[halo : height - halo, halo : width - halo], whole[inner])


def test_without_reweighting_the_variates_are_those_of_canonical_correlation() -> None:
    from sklearn.cross_decomposition import CCA  # an oracle, for this test alone

    image = pair(6).astype(np.float64).reshape(2, 4, -1)
    noise = np.random.default_rng(11).normal(0, 1, image[1].shape)
    before, after = image[0].T, (image[1] + noise * [[30], [90], [200], [400]]).T
    matrix, offset = alteration_matrix(before, after, lambda distance, _: np.ones_like(distance))
    variates = matrix @ np.hstack([before, after]).T + offset[:, None]
    one, other = CCA(4, scale=False, max_iter=5000, tol=1e-9).fit_transform(before, after)
    theirs = stats.zscore(stats.zscore(one) - stats.zscore(other))
    # Canonical pairs come by falling correlation, variates by falling spread.
    for mine, other_way in zip(variates, theirs.T[::-1], strict=True):
        assert abs(np.corrcoef(mine, other_way)[0, 1]) > 0.99


def test_what_is_known_of_no_change_comes_from_the_lower_half() -> None:
    rng = np.random.default_rng(7)
    unchanged, changed = rng.normal(1.0, 0.3, 80_000), rng.normal(3.0, 0.4, 20_000)
    sample = np.concatenate([unchanged, changed])
    null = fit_null(sample)
    assert (null.centre, null.spread) == (
        pytest.approx(1.0, abs=0.02),
        pytest.approx(0.3, abs=0.02),
    )
    posterior = fit_posterior(sample, null)
    values = np.array([1.0, 1.5, 1.9, 2.3, 3.0])
    parts = 0.8 * stats.norm(1.0, 0.3).pdf(values), 0.2 * stats.norm(3.0, 0.4).pdf(values)
    truth = parts[1] / (parts[0] + parts[1])
    np.testing.assert_allclose(posterior.of(values), truth, atol=0.1)
    assert (np.diff(posterior.probability) >= 0).all()


def test_a_band_that_does_not_vary_is_left_out() -> None:
    image = pair(8, changed=30)
    flat = np.insert(image, 2, 77, axis=1)
    for kind in KINDS:
        maps = [
            Detector.fit(kind, [(one, everywhere(one))]).probability(one, everywhere(one))
            for one in (image, flat)
        ]
        np.testing.assert_allclose(*maps, atol=1e-5)


def test_too_little_to_compare_is_refused() -> None:
    image = pair(9)
    with pytest.raises(PairRejectedError, match="only 12 of 9,216 pixels"):
        valid = np.zeros(image.shape[2:], bool)
        valid[:3, :4] = True
        Detector.fit("mad", [(image, valid)])
    with pytest.raises(PairRejectedError, match="no band varies"):
        flat = np.full_like(image, 7)
        Detector.fit("cva", [(flat, everywhere(flat))])


def test_one_band_is_enough() -> None:
    image = pair(10, changed=30)[:, :1]
    detector = Detector.fit(default_kind(1), [(image, everywhere(image))])
    assert default_kind(1) == "cva" and default_kind(4) == "mad"
    assert detector.probability(image, everywhere(image))[5:25, 5:25].mean() > 0.5
