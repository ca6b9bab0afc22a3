"""How large the rasters of a map are by codec, and what vector tiles of its polygons take.

python tests/benchmarks/map_files.py [OUTPUT]: an output of infer-region, that of `make demo` unless
another is named. It is left as it is.
"""

import sys
import time
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from rasterio.shutil import copy

from noise2map_core.products.vectors.pmtiles import write_tiles
from noise2map_core.products.verification import open_output

CODECS = {"deflate": (6, 9), "zstd": (9, 19)}
PREDICTORS = ("no", "standard")


def main(output: Path) -> None:
    for name in ("change.tif", "probability.tif", "reason.tif"):
        for codec, predictor in product(CODECS, PREDICTORS):
            for level in CODECS[codec]:
                size, seconds = _packed(output / name, codec, level, predictor)
                how = f"{codec} {level}, predictor {predictor}"
                print(f"{name:16} {how:30} {size:10,} {seconds:6.2f} s")
    mosaic, _ = open_output(output)
    with TemporaryDirectory() as folder:
        started, path = time.perf_counter(), Path(folder) / "polygons.pmtiles"
        if write_tiles(output / "polygons.parquet", path, mosaic.grid):
            seconds = time.perf_counter() - started
            print(f"{path.name:16} {path.stat().st_size:,} bytes {seconds:.2f} s")


def _packed(file: Path, codec: str, level: int, predictor: str) -> tuple[int, float]:
    """Bytes and seconds, on one thread."""
    with TemporaryDirectory() as folder:
        started, path = time.perf_counter(), Path(folder) / "packed.tif"
        copy(file, path, driver="COG", compress=codec, level=level, predictor=predictor,
             blocksize=512)  # fmt: skip
        return path.stat().st_size, time.perf_counter() - started


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo"))
