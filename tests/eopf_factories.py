"""One scene of real pixels in two forms: as COGs, and as a product of Sentinel-2 L2A of EOPF."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import shapely
import zarr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from noise2map_core.settings.catalog import SearchConfig
from tests.catalog_factories import catalog_of, item
from tests.raster_factories import write_tif

SIDE_PX = 240
NAMES = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
NUMBERS = {"raster:scale": 0.0001, "raster:offset": -0.1, "nodata": 0}
KIND: Literal["application/vnd+zarr"] = "application/vnd+zarr"
DATA = "data reflectance"
REFLECTANCE, SCL = "measurements/reflectance", "conditions/mask/l2a_classification/r20m/scl"


@dataclass(frozen=True)
class TwoForms:
    """Where a scene lies."""

    cogs: SearchConfig
    product: SearchConfig
    folder: Path
    geobox: GeoBox


def two_forms(scene: Path, folder: Path, zarr_format: Literal[2, 3] = 2) -> TwoForms:
    """A corner of a scene of OSCD, with a mask that is made up, in both forms."""
    pixels, geobox = {}, None
    for name, common in NAMES.items():
        with rasterio.open(scene / f"{common}.tif") as file:
            pixels[name] = file.read(1)[:SIDE_PX, :SIDE_PX]
            geobox = GeoBox((SIDE_PX, SIDE_PX), file.transform, str(file.crs))
    assert geobox is not None
    for values in pixels.values():
        values[:30, :50] = 0
    coarse = geobox.zoom_out(2)
    scl = np.random.default_rng(1).choice([4, 5, 8, 9], coarse.shape).astype(np.uint8)
    scl[:, :40] = 4
    cogs, product = folder / "cogs", folder / "eopf"
    for part in (cogs, product):
        part.mkdir(parents=True)
    return TwoForms(
        _as_cogs(cogs, pixels, scl, geobox, coarse),
        _as_product(product, pixels, scl, geobox, coarse, zarr_format),
        folder,
        geobox,
    )


def _search(folder: Path, geobox: GeoBox, assets: dict[str, Any]) -> SearchConfig:
    place = shapely.box(*geobox.geographic_extent.boundingbox)
    about = {"platform": "sentinel-2b", "processing:level": "L2A", "proj:code": str(geobox.crs)}
    document = item("S2B_MSIL2A_20160120T101010", "", place, **about)
    return catalog_of(folder, {**document, "assets": assets})


def _as_cogs(
    folder: Path,
    pixels: dict[str, NDArray[Any]],
    scl: NDArray[np.uint8],
    fine: GeoBox,
    coarse: GeoBox,
) -> SearchConfig:
    assets: dict[str, Any] = {}
    for name, values in pixels.items():
        write_tif(folder / f"{name}.tif", values, fine, nodata=0)
        band = {"name": name, "eo:common_name": NAMES[name]}
        assets[name] = {
            "href": f"./{name}.tif",
            "bands": [band],
            "gsd": 10,
            "roles": ["data"],
            **NUMBERS,
        }
    write_tif(folder / "SCL.tif", scl, coarse, nodata=0)
    return _search(folder, fine, assets | {"SCL": {"href": "./SCL.tif", "roles": ["data"]}})


def _as_product(
    folder: Path,
    pixels: dict[str, NDArray[Any]],
    scl: NDArray[np.uint8],
    fine: GeoBox,
    coarse: GeoBox,
    zarr_format: Literal[2, 3],
) -> SearchConfig:
    root = zarr.open_group(folder / "scene.zarr", mode="w", zarr_format=zarr_format)
    root.attrs["stac_discovery"] = {"properties": {"proj:epsg": fine.crs.to_epsg()}}
    for name, values in pixels.items():
        scaled = {"scale_factor": 0.0001, "add_offset": -0.1, "valid_min": 1, "valid_max": 65535}
        write_array(root, f"{REFLECTANCE}/r10m/{name.lower()}", values, fine, **scaled)
    write_array(root, f"{REFLECTANCE}/r20m/b02", pixels["B02"][::2, ::2], coarse)
    write_array(root, SCL, scl, coarse)
    if zarr_format == 2:
        zarr.consolidate_metadata(folder / "scene.zarr")
    return _search(folder, fine, assets_of("./scene.zarr"))


def write_array(
    root: zarr.Group, path: str, values: NDArray[Any], geobox: GeoBox, **attributes: Any
) -> None:
    """An array with the attributes of EOPF's sample service, and coordinates beside it."""
    epsg, place = geobox.crs.to_epsg(), [*geobox.affine]
    about = {"fill_value": 0, "dtype": values.dtype.str, "dimensions": ["y", "x"], **attributes}
    array = root.create_array(
        path, shape=values.shape, dtype=values.dtype, chunks=(64, 64), fill_value=0,
        attributes={"_eopf_attrs": about, "_ARRAY_DIMENSIONS": ["y", "x"], **about,
                    "proj:epsg": epsg, "proj:transform": place, "proj:shape": [*values.shape]},
    )  # fmt: skip
    array[:] = values
    group = path.rpartition("/")[0]
    for name, at in zip(("y", "x"), (geobox.coords["y"], geobox.coords["x"]), strict=True):
        if f"{group}/{name}" not in root:
            root.create_array(
                f"{group}/{name}", data=at.values, attributes={"_ARRAY_DIMENSIONS": [name]}
            )


def assets_of(root: str, *, arrays: bool = True) -> dict[str, Any]:
    """Assets as EOPF's catalogue names them; without `arrays` the groups alone."""

    def asset(path: str, roles: str, bands: Sequence[str], gsd: int, **more: Any) -> dict[str, Any]:
        told = [{"name": name, "eo:common_name": NAMES[name]} for name in bands]
        found = {"href": f"{root}/{path}".rstrip("/"), "type": KIND, "gsd": gsd, **more}
        return found | {"roles": roles.split()} | ({"bands": told} if told else {})

    def reflectance(path: str, bands: Sequence[str], gsd: int, more: str = "") -> dict[str, Any]:
        return asset(f"{REFLECTANCE}/{path}", f"data reflectance {more}", bands, gsd, **NUMBERS)

    groups = {
        "SR_10m": reflectance("r10m", [*NAMES], 10, "dataset"),
        "SR_20m": reflectance("r20m", ["B02"], 20, "dataset"),
        "product": asset("", "data metadata", [], 10),
        "SCL_20m": asset(SCL, "data", [], 20),
        "TCI_10m": asset("quality/l2a_quicklook/r10m/tci", "data", ["B04", "B03", "B02"], 10),
    }
    single = {f"{name}_10m": reflectance(f"r10m/{name.lower()}", [name], 10) for name in NAMES}
    return groups | single if arrays else groups


def rewrite_assets(search: SearchConfig, assets: dict[str, Any]) -> None:
    """Give the one item of a catalogue other assets."""
    file = next(Path(search.catalog).parent.glob("S2B*.json"))
    file.write_text(json.dumps({**json.loads(file.read_text()), "assets": assets}))
