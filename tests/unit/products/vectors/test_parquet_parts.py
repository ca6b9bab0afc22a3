"""GeoParquet by parts: the file that pyarrow writes in one go, whoever packs row groups."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from noise2map_core.products.vectors.parquet_parts import GroupedFile
from noise2map_core.products.vectors.polygon_files import GeoParquetFile, arrow_table
from tests.mappers import elsewhere, pickled

CRS = "EPSG:32633"


def batches(sizes, seed=1):
    rng = np.random.default_rng(seed)
    for size in sizes:
        x, y = 1e5 * rng.random((2, size))
        table = gpd.GeoDataFrame(
            {"polygon_id": [f"1:{one}:é" for one in rng.integers(0, 9e9, size)],
             "class": rng.integers(0, 3, size).astype(np.uint8),
             "area_m2": rng.normal(size=size)},
            geometry=shapely.box(x, y, x + 10, y + 20 * (1 + rng.random(size))), crs=CRS,
        )  # fmt: skip
        yield arrow_table(table)


def by_parts(path: Path, sizes, version="1.1", mapper=pickled):
    return list(GroupedFile(path, CRS, version).write(batches(sizes), len, mapper))


@pytest.mark.parametrize("version", ["1.1", "2.0"])
@pytest.mark.parametrize("sizes", [(5,), (700, 1, 300, 0), (40,) * 20, (0,)], ids=len)
def test_the_bytes_are_those_of_a_file_written_in_one_go(tmp_path: Path, sizes, version) -> None:
    with GeoParquetFile(tmp_path / "whole", version) as file:
        for batch in batches(sizes):
            file.append(batch, CRS)
    told = by_parts(tmp_path / "parts", sizes, version)
    assert told == [(size, size) for size in sizes]
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["parts", "whole"]


def test_where_the_folder_is_not_seen_parts_come_back_and_the_bytes_are_the_same(
    tmp_path: Path,
) -> None:
    for name, mapper in (("seen", pickled), ("unseen", elsewhere)):
        by_parts(tmp_path / name, (50, 60), mapper=mapper)
    assert (tmp_path / "unseen").read_bytes() == (tmp_path / "seen").read_bytes()


def test_each_row_group_is_read_at_its_place(tmp_path: Path) -> None:
    by_parts(tmp_path / "file", (30, 20, 10))
    with pq.ParquetFile(tmp_path / "file") as file:
        found = [file.read_row_group(number) for number in (2, 0, 1)]
    wanted = list(batches((30, 20, 10)))
    for one, other in zip(found, (wanted[2], wanted[0], wanted[1]), strict=True):
        assert one.drop_columns(["bbox"]).to_pydict() == other.drop_columns(["bbox"]).to_pydict()
