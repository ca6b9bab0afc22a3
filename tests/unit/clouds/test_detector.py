"""Detectors of clouds: found by their names, and the network of ukis-csmask."""

import sys
from importlib.metadata import EntryPoint, PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from ukis_csmask.mask import CSmask

from noise2map_core.clouds import csmask, detector
from noise2map_core.clouds.csmask import FOUR, SIX, UkisCsmask
from noise2map_core.clouds.detector import CLEAR, CLOUD, SHADOW, CloudDetector, load_detector
from noise2map_core.clouds.hidden import Hidden
from noise2map_core.runtime.errors import ConfigError

Reflectance = Any


def field(bands: tuple[str, ...], size: int = 256, seed: int = 0) -> Reflectance:
    """Vegetation [band, H, W]."""
    green = dict(zip(SIX, (0.11, 0.10, 0.08, 0.30, 0.20, 0.11), strict=True))
    ground = np.array([green[name] for name in bands])[:, None, None]
    noise = np.random.default_rng(seed).normal(1, 0.05, (len(bands), size, size))
    return (ground * noise).astype(np.float32)


def paris(real_data: Path) -> Reflectance:
    """[band, H, W] at 30 m: two small clouds over Paris, and the shadow of one."""
    folder = real_data / "stac" / "oscd" / "oscd-paris-20171107"
    made = []
    for name in SIX:
        with rasterio.open(folder / f"{name}.tif") as file:
            pixels = file.read(1, out_shape=(132, 132), resampling=Resampling.average)
        made.append(pixels / np.float32(10_000))
    return np.stack(made)


class Mine:
    name, version = "mine", "1"
    sensors: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    bands = (("red",),)
    pixel_m, pixel_range_m = 10.0, (1.0, 100.0)
    window_px, margin_px = 16, 4

    def classes(self, reflectance: Any, bands: Any, level: str) -> Any:
        return (reflectance[0] > 0.5).astype(np.uint8)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("sky_of_tests")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setattr(detector, "load_detector", load_detector.__wrapped__)
    return made


def load(name: str) -> CloudDetector:
    return load_detector.__wrapped__(name)


def test_what_detectors_say_is_what_hides() -> None:
    assert (CLEAR, CLOUD, SHADOW) == (Hidden.NOTHING, Hidden.CLOUD, Hidden.SHADOW)


def test_a_detector_is_a_class_or_an_object_of_a_module(module: Any) -> None:
    module.Mine, module.inner = Mine, SimpleNamespace(made=Mine())
    assert isinstance(load("sky_of_tests:Mine"), Mine)
    assert load("sky_of_tests:inner.made") is module.inner.made


def test_a_package_offers_a_detector_by_an_entry_point(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module.Mine = Mine
    point = EntryPoint("theirs", "sky_of_tests:Mine", detector.ENTRY_POINTS)
    monkeypatch.setattr(
        detector, "entry_points", lambda group: [point] if group == detector.ENTRY_POINTS else []
    )
    assert isinstance(load("theirs"), Mine)
    with pytest.raises(ConfigError, match=r"'others' is not known.*ukis-csmask, theirs"):
        load("others")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fmask", "not known. Set it to none, ukis-csmask or module:object"),
        ("no_such_module:Mine", "cannot be loaded: No module named 'no_such_module'"),
        ("sky_of_tests:Other", "cannot be loaded.*Other"),
        ("sky_of_tests:Half", "no detector of clouds: it lacks .*bands.*classes"),
        ("sky_of_tests:Wide", "margin_px, 8, is not more than 0 and less"),
    ],
)
def test_what_is_no_detector_is_refused(module: Any, name: str, reason: str) -> None:
    module.Half, module.Wide = SimpleNamespace(name="half"), type("Wide", (Mine,), {"margin_px": 8})
    with pytest.raises(ConfigError, match=reason):
        load(name)


def test_the_detector_of_the_documentation_is_one(
    checkout: Path, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (checkout / "docs" / "how-to" / "clouds.md").read_text()
    theirs = ModuleType("omnicloudmask")
    theirs.predict_from_array = lambda image, **_: (image[:1] * 3.5).astype(np.uint8)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, theirs.__name__, theirs)
    exec(text.split("```python\n")[1].split("```")[0], module.__dict__)
    found = load("sky_of_tests:OmniCloudMask")
    shown = np.full((3, 2, 2), [[0.1, 0.3], [0.7, 0.9]], np.float32)
    assert found.classes(shown, found.bands[0], "").tolist() == [[CLEAR, CLOUD], [CLOUD, SHADOW]]


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(csmask, "version", missing)
    with pytest.raises(ConfigError, match=r"pip install 'noise2map\[clouds\]'"):
        load("ukis-csmask")


@pytest.mark.parametrize(("bands", "level"), [(FOUR, "l2a"), (SIX, "l1c")])
def test_the_network_sees_what_its_own_package_sees(
    real_data: Path, bands: tuple[str, ...], level: str
) -> None:
    image = np.pad(paris(real_data)[: len(bands)], ((0, 0), (62, 62), (62, 62)), mode="symmetric")
    found = UkisCsmask().classes(image, bands, level)
    theirs = CSmask(
        np.moveaxis(image, 0, -1).copy(), list(bands), level,
        intra_op_num_threads=1, providers=["CPUExecutionProvider"],
    ).csm[..., 0]  # fmt: skip
    inner = (slice(32, -32), slice(32, -32))
    assert (found[inner] == theirs[inner]).mean() > 0.98
    assert {CLEAR, CLOUD, SHADOW} == set(np.unique(found)) == set(np.unique(theirs))


def test_the_network_leaves_a_field_alone() -> None:
    assert (UkisCsmask().classes(field(SIX), SIX, "l2a") == CLEAR).mean() > 0.99


def test_the_network_says_the_same_twice() -> None:
    image, network = field(SIX, seed=3), UkisCsmask()
    first, second = (network.classes(image, SIX, "l2a") for _ in range(2))
    np.testing.assert_array_equal(first, second)
