"""Products of large areas of alerts: seconds, and the memory that they take.

    python tests/benchmarks/alert_products.py [--sides 2048 6144]

Each side is measured in a process of its own: products of a day, then the export for GFW, of pixels
of all kinds that do not compress.
"""

import sys
import tempfile
import time
from pathlib import Path

import shapely
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tests are not installed

from noise2map_core.alert_products.bundle import write_alert_products
from noise2map_core.alert_products.export import export_alerts
from noise2map_core.alerts.state import nothing_known
from noise2map_core.alerts.store import LookKey, StateRules, StateStore
from noise2map_core.alerts.tables import write_alerts
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.settings.alerts import AlertsConfig
from tests.alert_product_factories import AS_OF, alert_table, random_state
from tests.map_factories import region_grid
from tests.measure import measured

TILE_PX = 2048


def main(sides: tuple[int, ...] = (2048, 6144), area: Path | None = None) -> None:
    """Print a line a side.

    Args:
        area: Whose products this process makes; of the script's own use.
    """
    if area:
        _make(area)
        return
    for side in sides:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder) / "area", side)
            found = measured([sys.executable, __file__, "--area", str(Path(folder) / "area")])
            print(f"{side:,}²: {found.out.strip()}; {found.mib:,.0f} MiB at most", flush=True)


def _make(area: Path) -> None:
    started = time.perf_counter()
    aoi = AreaOfInterest("area", shapely.box(15, 45, 16, 46))
    write_alert_products(area, aoi, area / "collection.json")
    made = time.perf_counter()
    export_alerts(area, "gfw", area / "gfw.tif")
    print(f"products {made - started:.0f} s, export {time.perf_counter() - made:.0f} s")


def _write(area: Path, side: int) -> None:
    """The same tile again and again: what is random does not compress, so every byte counts."""
    grid = region_grid(side, side, TILE_PX)
    path = area / "alerts" / "alerts.zarr"
    path.parent.mkdir(parents=True)
    store = StateStore.create(path, grid, StateRules.of(AlertsConfig(), grid))
    nothing = nothing_known((TILE_PX, TILE_PX))
    state = type(nothing)(**random_state(TILE_PX, TILE_PX))
    for tile in grid.tiles():
        store.write(tile, nothing, state)
    store.note((LookKey(AS_OF, "a"),))
    write_alerts(area / "alerts" / "alerts.parquet", alert_table(grid))


if __name__ == "__main__":
    tyro.cli(main)
