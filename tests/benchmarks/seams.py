"""Does a map have seams, and how much does it depend on where the lattice of chips lies?

Maps the same invented pixels four times in one process: as the pipeline does; with chips cut hard,
without overlap, as the control that must fail; with chips that overlap by half as much; and with
the lattice moved by half a stride. Steps of the probability across the edges of tiles and of chips
are compared with those elsewhere; the 95 % intervals are by a bootstrap over blocks.

    python tests/benchmarks/seams.py [--size 3072] [--preset tiny]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from rasterio.windows import Window as Place

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.geo.grid import ChipLattice
from noise2map_core.inference.decision import decide
from noise2map_core.inference.networks.predictor import Predictor
from noise2map_core.inference.numeric_path import resolve_numeric_path
from noise2map_core.mapping.mosaic import Mosaic
from noise2map_core.mapping.seams import seam_ratio
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.settings.inference import InferenceConfig
from tests.large_region import DATES, Change, pixels, train_checkpoint
from tests.map_factories import CLASSES, region_grid

CHECKOUT = Path(__file__).resolve().parents[2]

from noise2map_core.geo.window import Window  # noqa: E402

TILE_PX, CHIP_PX = 512, 128


def main(size: int = 3072, preset: str = "tiny") -> None:
    """Print the ratios of each map, and the share of pixels that change."""
    with tempfile.TemporaryDirectory() as folder:
        root, change = Path(folder), Change(share=0.05)
        train_checkpoint(root / "checkpoint", change, preset, CHIP_PX, CHIP_PX // 2)
        maps = {
            name: _map(root, name, size, stride, moved)
            for name, stride, moved in (
                ("blended", CHIP_PX // 2, 0),
                ("overlap of a quarter", 3 * CHIP_PX // 4, 0),
                ("cut hard", CHIP_PX, 0),
                ("moved", CHIP_PX // 2, CHIP_PX // 4),
            )
        }
    changed = maps["blended"]
    print(f"{preset}, {size}², {100 * (changed == 1).mean():.1f} % changed")
    for name, classes in maps.items():
        if name != "blended":
            share = (classes != changed).mean()
            print(f"{name}: {100 * share:.4f} % of the pixels have another class than blended")


def _map(root: Path, name: str, size: int, stride: int, moved: int) -> NDArray[np.uint8]:
    """Predict the pixels, print the ratios, and return the classes.

    `moved`: the pixels lie so many pixels further south and east on the grid; the lattice does not.
    """
    model, lattice = load_checkpoint(root / "checkpoint"), ChipLattice(CHIP_PX, stride)
    path = resolve_numeric_path(InferenceConfig(threads=2), 0)
    predictor = Predictor(model, path, lattice, (999,))
    grid = region_grid(size, size, TILE_PX)
    mosaic = Mosaic.create(root / f"{name}.zarr", grid, CLASSES)
    first = grid.tile_frame
    for tile in grid.tiles():
        core = grid.window(tile)
        placed = Window(core.row + moved, core.col + moved, core.height, core.width)
        image = _pixels(lattice.cover(placed), first.row + moved, first.col + moved)
        valid = np.ones((len(image), *image.shape[2:]), np.bool_)
        inside = np.ones((TILE_PX, TILE_PX), np.bool_)
        said = predictor.predict(image, valid, placed, inside)
        seen = np.broadcast_to(inside, (len(image), TILE_PX, TILE_PX))
        mosaic.write(tile, decide(said.verdict, seen, inside))
    tiles, chips = seam_ratio(mosaic, TILE_PX, TILE_PX), seam_ratio(mosaic, stride, TILE_PX)
    print(f"{name}: tiles {tiles}, chips {chips}", flush=True)
    classes: NDArray[np.uint8] = mosaic.read("class", grid.region)
    return classes


def _pixels(window: Window, row: int, col: int) -> NDArray[np.uint8]:
    """[date, band, H, W] of the invented ground, whose first pixel is (row, col) of the grid."""
    place = Place(window.col - col + 10**6, window.row - row + 10**6, window.width, window.height)
    return np.stack([pixels(place, date, Change(share=0.05)) for date in DATES])


if __name__ == "__main__":
    tyro.cli(main)
