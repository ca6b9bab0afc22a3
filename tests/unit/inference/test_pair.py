"""A pair in memory: lazy or not the same, and what does not fit is refused."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from affine import Affine
from dask.base import is_dask_collection
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from noise2map_core import predict_image, predict_pair
from noise2map_core.mapping.mosaic import Reason
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.settings.inference import InferenceConfig
from tests.factories import checkpoint_spec, task_spec

BOX = GeoBox((70, 100), Affine(10, 0, 600_005, 0, -10, 4_000_705), "EPSG:32651")
FP32 = InferenceConfig(precision="fp32", batch=4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path, spec = tmp_path_factory.mktemp("checkpoint") / "random", checkpoint_spec()
    save_checkpoint(Noise2Map(spec), spec, path, "# x\n")
    return path


def image(seed: int, box: GeoBox = BOX, bands: int = 2) -> xr.DataArray:
    """Raw numbers with a hole."""
    pixels = np.random.default_rng(seed).integers(1, 3000, (bands, *box.shape)).astype(np.uint16)
    pixels[0, 5:9, 20:30] = 0
    return wrap_xr(pixels, box, nodata=0, axis=1)


def test_lazy_or_not_a_pair_has_the_same_map(checkpoint: Path) -> None:
    before, after = image(0), image(1)
    made = predict_pair(before, after, checkpoint, inference=FP32, tile_px=64)
    lazy = predict_pair(before.chunk(y=17, x=23), after, checkpoint, inference=FP32, tile_px=64)
    assert is_dask_collection(lazy["probability"].data) and not is_dask_collection(
        made["class"].data
    )
    xr.testing.assert_identical(lazy.compute(), made)
    assert made.sizes == {"y": 70, "x": 100}
    assert made.odc.geobox == BOX
    hole = made["reason"] == Reason.NODATA_BEFORE
    assert int(hole.sum()) == 40 and bool(made["probability"].isnull().where(hole, True).all())


def test_what_a_pair_gives_is_a_raster_in_its_place(checkpoint: Path, tmp_path: Path) -> None:
    made = predict_pair(image(0), image(1), checkpoint, inference=FP32)
    made["class"].rio.to_raster(tmp_path / "change.tif")
    with rasterio.open(tmp_path / "change.tif") as raster:
        assert (raster.transform, raster.shape, raster.nodata) == (BOX.affine, BOX.shape, 255)
        assert raster.crs.to_epsg() == 32651
        np.testing.assert_array_equal(raster.read(1), made["class"])
    made["probability"].rio.to_raster(tmp_path / "probability.tif")
    with rasterio.open(tmp_path / "probability.tif") as raster:
        assert raster.transform == BOX.affine
        np.testing.assert_array_equal(raster.read(1), made["probability"])


def test_tiles_leave_no_trace(checkpoint: Path) -> None:
    fine, coarse = (
        predict_pair(image(0), image(1), checkpoint, inference=FP32, tile_px=px)["probability"]
        for px in (32, 256)
    )
    np.testing.assert_allclose(fine, coarse, atol=1.01e-4)  # one step of what is stored


def test_numbers_that_are_none_are_not_observed(checkpoint: Path) -> None:
    before = image(0).astype(np.float32)
    before[1, 40, 50], before[0, 41, 50], before[0, 41, 51] = np.nan, np.inf, -np.inf
    made = predict_pair(before, image(1), checkpoint, inference=FP32)
    for row, col in ((40, 50), (41, 50), (41, 51)):
        assert int(made["reason"][row, col]) == Reason.NODATA_BEFORE
        assert int(made["class"][row, col]) == 255
    assert np.isfinite(made["probability"].values[made["reason"].values == 0]).all()


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (image(1, BOX.pad(1)), "lie on different grids"),
        (
            xr.DataArray(np.ones((2, 70, 100)), dims=("band", "y", "x")),
            r"after must be \[band, y, x\] with a CRS",
        ),
    ],
)
def test_images_that_do_not_fit_each_other_are_refused(
    checkpoint: Path, after: xr.DataArray, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        predict_pair(image(0), after, checkpoint)


@pytest.mark.parametrize(
    ("box", "bands", "words"),
    [
        (BOX, 3, "expects 2 bands"),
        (BOX.zoom_out(10), 2, "this map would have 100 m"),
    ],
)
def test_images_that_do_not_fit_the_checkpoint_are_refused(
    checkpoint: Path, box: GeoBox, bands: int, words: str
) -> None:
    pair = image(0, box, bands), image(1, box, bands)
    with pytest.raises(CheckpointError, match=words):
        predict_pair(*pair, checkpoint)


def test_degrees_are_refused(checkpoint: Path) -> None:
    box = GeoBox.from_bbox((10, 50, 10.01, 50.01), "EPSG:4326", resolution=0.0001)
    with pytest.raises(ConfigError, match="square pixels in metres"):
        predict_pair(image(0, box), image(1, box), checkpoint)


def test_maps_of_a_checkpoint_that_only_segments_are_compared(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = checkpoint_spec(tasks={"segment": task_spec("segment", temperature=0.01)})
    save_checkpoint(Noise2Map(spec), spec, tmp_path / "maps", "# x\n")
    made, turned, same = (
        predict_pair(image(one), image(other), tmp_path / "maps", inference=FP32)
        for one, other in ((0, 1), (1, 0), (1, 1))
    )
    kinds = "unchanged other_to_building building_to_other"
    assert made["class"].attrs["flag_meanings"] == kinds
    swapped = np.array([0, 2, 1], np.uint8)
    decided = (made["class"] != 255).to_numpy()
    assert {0, 2} <= set(np.unique(made["class"])) and 1 in turned["class"]
    np.testing.assert_array_equal(
        swapped[made["class"].to_numpy()[decided]], turned["class"].to_numpy()[decided]
    )
    np.testing.assert_array_equal(made["probability"], turned["probability"])
    assert set(np.unique(same["class"])) == {0, 255} and float(same["probability"].max()) == 0
    images = FP32.model_copy(update={"compare": "images"})
    with pytest.raises(CheckpointError, match="does not do task 'change'"):
        predict_pair(image(0), image(1), tmp_path / "maps", inference=images)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that does change and segmentation."""
    torch.manual_seed(1)
    spec = checkpoint_spec(tasks={"change": task_spec("change"), "segment": task_spec("segment")})
    path = tmp_path_factory.mktemp("checkpoint") / "both"
    save_checkpoint(Noise2Map(spec), spec, path, "# x\n")
    return path


def test_a_model_in_memory_makes_the_map_of_its_checkpoint_and_is_left_as_it_is(
    checkpoint: Path,
) -> None:
    model = load_checkpoint(checkpoint).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    made = predict_pair(image(0), image(1), model, inference=FP32)
    xr.testing.assert_identical(made, predict_pair(image(0), image(1), checkpoint, inference=FP32))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_lazy_map_is_of_the_model_as_it_was_and_the_next_of_what_it_became(
    checkpoint: Path,
) -> None:
    model = load_checkpoint(checkpoint)
    expected = predict_pair(image(0), image(1), checkpoint, inference=FP32)
    lazy = predict_pair(image(0).chunk(), image(1), model, inference=FP32)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(-1.5)
    xr.testing.assert_identical(lazy.compute(), expected)
    learnt = predict_pair(image(0), image(1), model, inference=FP32)
    assert not np.array_equal(learnt["probability"], expected["probability"], equal_nan=True)


def test_plain_arrays_have_the_map_of_images_at_the_corner_of_the_lattice(
    checkpoint: Path,
) -> None:
    box = GeoBox(BOX.shape, Affine(10, 0, 0, 0, -10, 0), "EPSG:32651")
    pair = image(0, box), image(1, box)
    expected = predict_pair(*pair, checkpoint, inference=FP32)
    masked = [np.ma.masked_equal(one.to_numpy(), 0) for one in pair]
    made = predict_pair(*masked, checkpoint, inference=FP32)
    for name in ("class", "probability", "valid", "reason"):
        np.testing.assert_array_equal(made[name], expected[name])
    assert made.sizes == {"y": 70, "x": 100} and not made.coords


def test_one_image_has_the_classes_that_the_network_sees_in_each_chip(both: Path) -> None:
    apart = FP32.model_copy(update={"stride_px": 32})  # chips do not overlap: nothing is blended
    pixels = np.random.default_rng(3).integers(1, 3000, (2, 64, 64)).astype(np.uint16)
    made = predict_image(pixels, both, inference=apart)
    assert made["class"].attrs["flag_meanings"] == "other building"
    model = load_checkpoint(both)
    with torch.inference_mode():
        chip = torch.from_numpy(pixels[None, :, 32:, :32].astype(np.int32))
        said = model.logits(chip, 999, task="segment").softmax(dim=1)[0]
    corner = made.isel(y=slice(32, 64), x=slice(0, 32))
    np.testing.assert_array_equal(corner["class"], said.argmax(dim=0))
    np.testing.assert_allclose(corner["probability"], said.amax(dim=0), atol=1.01e-4)
    assert (made["valid"] & (made["reason"] == Reason.DECIDED)).all()


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ((np.ones((2, 40, 40)), np.ones((2, 40, 41))), "must be arrays of one size"),
        ((np.ones((2, 40, 40)), image(0)), "must be arrays of one size, or both be xarray's"),
        ((np.ones((40, 40)), np.ones((40, 40))), r"has 2 dimensions; an array is \[band"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(
    checkpoint: Path, pair: tuple[object, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        predict_pair(*pair, checkpoint)


def test_a_checkpoint_that_does_not_segment_maps_no_single_image(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="does not do task 'segment'"):
        predict_image(image(0), checkpoint)
