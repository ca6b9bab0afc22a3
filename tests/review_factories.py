"""An area as nights leave it, over the embedded scene: alerts with imagery to look at."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features
import shapely

from noise2map_core.alerts.settle import EVENTS, OBJECTS, settle
from noise2map_core.alerts.tables import write_alerts, write_history
from noise2map_core.catalog.search import search_scenes
from noise2map_core.geo.aoi import read_aoi
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.review.scenes import write_scenes
from noise2map_core.settings.catalog import SearchConfig
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.infer_region import InferRegionConfig
from tests.event_factories import alert, history_of

DAY = date(2025, 6, 20)


def write_reviewed_area(
    root: Path, embedded: EmbeddedCatalog, aoi: Path, number: int, **columns: Any
) -> Path:
    """The folder "farm" with `number` alerts: the first half lie where the truth has change, the
    others where it has none. Every second alert names its items."""
    area = root / "farm"
    search = SearchConfig(
        catalog=embedded.catalog, collection=embedded.collection, bands=embedded.bands
    )
    outline = read_aoi(str(aoi))
    before, after = (
        search_scenes(search, outline, dates, embedded.bands)
        for dates in (embedded.before, embedded.after)
    )
    grid = RegionGrid.covering(outline, embedded.crs, embedded.resolution)
    write_scenes(area, DAY, before, after, grid)
    settings = InferRegionConfig(
        aoi=str(aoi), search=search, before=embedded.before, after=embedded.after,
        checkpoint="mad", output=str(area / "slices" / str(DAY)),
        grid={"crs": grid.crs, "resolution": grid.resolution, "tile_px": 512, "origin": [0.0, 0.0]},
    )  # fmt: skip
    (area / "settings").mkdir(parents=True)
    text = json.dumps(settings.model_dump(mode="json"))
    (area / "settings" / f"{DAY}.yaml").write_text(text)
    shapes = [*_places(embedded, grid, True, number // 2),
              *_places(embedded, grid, False, number - number // 2)]  # fmt: skip
    rows = [
        alert(
            f"a{at}", geometry=shape, first_seen=DAY, last_seen=DAY, last_look=DAY,
            before_item=before[0].id if at % 2 else "", after_item=after[0].id if at % 2 else "",
            status="confirmed" if at % 3 else "provisional", **columns,
        )
        for at, shape in enumerate(shapes)
    ]  # fmt: skip
    (area / "alerts").mkdir()
    table = gpd.GeoDataFrame(rows, geometry="geometry", crs=embedded.crs)
    write_alerts(area / "alerts" / OBJECTS, table)
    names = [row["object_id"] for row in rows]
    write_history(area / "alerts" / EVENTS, history_of([(name, 0, "opened") for name in names]))
    settle(area / "alerts")
    return area


def _places(
    embedded: EmbeddedCatalog, grid: RegionGrid, changed: bool, number: int
) -> list[shapely.Polygon]:
    """Squares of 4 × 4 pixels without overlap, all changed or all unchanged."""
    with rasterio.open(embedded.truth) as file:
        truth, transform = file.read(1) == 1, file.transform
    inside = rasterio.features.geometry_mask([grid.outline], truth.shape, transform, invert=True)
    found: list[shapely.Polygon] = []
    for row in range(0, truth.shape[0] - 4, 5):
        for col in range(0, truth.shape[1] - 4, 5):
            block = (slice(row, row + 4), slice(col, col + 4))
            if inside[block].all() and np.all(truth[block] == changed):
                corners = transform @ (col, row), transform @ (col + 4, row + 4)
                found.append(shapely.box(*corners[0], *corners[1]))
    step = max(1, len(found) // number)
    assert len(found) >= number
    return [shapely.normalize(shapely.box(*one.bounds)) for one in found[::step][:number]]
