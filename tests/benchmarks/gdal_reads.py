"""What a GDAL makes of a map's rasters and of its mosaic, be it another than rasterio's.

    python tests/benchmarks/gdal_reads.py [OUT [LIBGDAL.so ...]]

Without a map, one is made up; without a library, those of rasterio and pyogrio are asked.
Any shared library of GDAL will do, as wheels hold it (`gdal_wheel.libs/libgdal-….so`): it is asked
through its C interface, in a process of its own.
"""

import ctypes
import sys
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pyogrio
import rasterio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.mapping.overviews import write_overviews
from noise2map_core.products.bundle import write_products
from noise2map_core.settings.products import ProductsConfig
from tests.map_factories import blobs, subject_of, write_mosaic

ARRAYS = ("class", "probability")


def make_map(folder: Path) -> Path:
    """An invented map of 640 x 640 pixels, with its products."""
    (folder / "map").mkdir()
    mosaic = write_mosaic(folder / "map" / "mosaic.zarr", blobs(640, 640), tile_px=128)
    write_overviews(mosaic)
    mosaic.finish()
    write_products(mosaic, subject_of(folder / "scenes", 640, 640), ProductsConfig())
    return mosaic.path.parent


def main(output: Path, libraries: list[Path]) -> None:
    """Print a line for each library and raster."""
    for library in libraries or _of_wheels():
        with get_context("spawn").Pool(1) as pool:
            for line in pool.apply(read_all, (library, output)):
                print(line, flush=True)


def _of_wheels() -> list[Path]:
    packages = (Path(rasterio.__file__).parent, Path(pyogrio.__file__).parent)
    return [next(one.with_name(f"{one.name}.libs").glob("libgdal*")) for one in packages]


def read_all(library: Path, output: Path) -> list[str]:
    """A line for each raster and array."""
    gdal = ctypes.CDLL(str(library))
    for name in ("GDALOpenEx", "GDALGetRasterBand", "GDALGetDriverByName"):
        getattr(gdal, name).restype = ctypes.c_void_p
    for name in ("GDALVersionInfo", "GDALGetProjectionRef", "CPLGetLastErrorMsg"):
        getattr(gdal, name).restype = ctypes.c_char_p
    gdal.GDALAllRegister()
    version = gdal.GDALVersionInfo(b"RELEASE_NAME").decode()
    zarr = "has" if gdal.GDALGetDriverByName(b"Zarr") else "is built without"
    lines = [f"GDAL {version} {zarr} the driver Zarr"]
    names = [file.name for file in sorted(output.glob("*.tif"))]
    arrays = [f'ZARR:"{output / "mosaic.zarr"}":/{name}' for name in ARRAYS]
    for name in [*(str(output / name) for name in names), *arrays]:
        lines.append(f"  {Path(name).name:24} {_read(gdal, name)}")
    return lines


def _read(gdal: ctypes.CDLL, name: str) -> str:
    gdal.CPLErrorReset()
    gdal.CPLPushErrorHandler(ctypes.cast(gdal.CPLQuietErrorHandler, ctypes.c_void_p))
    data = gdal.GDALOpenEx(name.encode(), 0x2, None, None, None)  # GDAL_OF_RASTER
    if not data:
        return f"not opened: {gdal.CPLGetLastErrorMsg().decode()[:120]}"
    data = ctypes.c_void_p(data)
    band = ctypes.c_void_p(gdal.GDALGetRasterBand(data, 1))
    size = gdal.GDALGetRasterXSize(data), gdal.GDALGetRasterYSize(data)
    pixels = (ctypes.c_double * (64 * 64))()
    failed = gdal.GDALRasterIO(band, 0, 0, 0, *size, pixels, 64, 64, 7, 0, 0)  # GDT_Float64
    crs = gdal.GDALGetProjectionRef(data).decode()
    read = f"not read: {gdal.CPLGetLastErrorMsg().decode()[:120]}" if failed else "read"
    return (
        f"{size[0]} x {size[1]}, CRS {crs[8:30] or 'none'}…, "
        f"{gdal.GDALGetOverviewCount(band)} overviews, {read}"
    )


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        given = [Path(one).resolve() for one in sys.argv[1:]]
        main(given[0] if given else make_map(Path(scratch)), given[1:])
