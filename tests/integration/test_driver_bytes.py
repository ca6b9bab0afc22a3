"""What comes back to the driver of what workers make: places and counts, not pixels."""

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from noise2map_core.runtime.stopwatch import Stopwatch
from noise2map_core.testing.scenes import write_catalog
from tests.region_in_process import DISTRIBUTED, map_here

SIDE, TILE, PREVIEW = 512, 128, 64
STORED = 5
"""Bytes of a pixel in a mosaic: class, probability, reason, observed."""
ARRAYS = 3
"""That a survey shows."""


class Counting:
    """Hands parts out to nobody, and counts what would come back, by stage."""

    def __init__(self) -> None:
        self.back, self._stage = Counter[str](), ""

    @contextmanager
    def open(self) -> Iterator[None]:
        """While this is open, it takes the place of a cluster's mapper."""
        stage = Stopwatch.stage

        @contextmanager
        def noted(watch: Stopwatch, name: str) -> Iterator[None]:
            outer, self._stage = self._stage, name
            with stage(watch, name):
                yield
            self._stage = outer

        with (
            patch.object(Stopwatch, "stage", noted),
            patch(f"{DISTRIBUTED}.tasks.mapper_for", lambda *_: nullcontext(self._mapped)),
        ):
            yield

    def _mapped(self, make: Callable[[Any], Any], parts: Iterable[Any], /) -> Iterator[Any]:
        for part in parts:
            made = make(part)
            self.back[self._stage] += len(pickle.dumps(made))
            yield made


def test_no_pixels_come_back_but_those_of_bounded_pictures(tmp_path: Path) -> None:
    scenes, counting = write_catalog(tmp_path / "scenes", size_px=SIDE), Counting()
    search = {
        "catalog": str(scenes.catalog),
        "collection": scenes.collection,
        "bands": list(scenes.bands),
    }
    with counting.open(), patch("noise2map_core.products.bundle.PREVIEW_PX", PREVIEW):
        map_here(scenes, None, tmp_path / "map", grid={"tile_px": TILE}, search=search)
    back = counting.back
    assert {"overviews", "rasters", "vector tiles", "digests", "survey"} <= set(back)
    places = sum(back[stage] for stage in ("overviews", "rasters", "vector tiles", "digests"))
    assert places < 0.01 * STORED * SIDE**2
    counts = 256 * 8 * (SIDE // TILE + 1) ** 2
    assert back["survey"] < 1.2 * ARRAYS * (PREVIEW**2 + counts)
