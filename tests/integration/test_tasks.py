"""Parts as tasks of a cluster: what they make is what this process makes."""

from itertools import islice
from pathlib import Path

import pytest

from noise2map_core.distributed.tasks import TaskMapper, mapper_for
from noise2map_core.products import parts
from noise2map_core.products.bundle import product_files, write_products
from noise2map_core.products.verification import count_reasons
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.mapper import here
from noise2map_core.settings.products import ProductsConfig
from noise2map_core.settings.resources import ClusterConfig
from tests.map_factories import blobs, region_grid, subject_of, write_mosaic

pytestmark = pytest.mark.usefixtures("ray_cluster")


def halves(number: int) -> float:
    if number == 33:
        raise OutputError("33 cannot be halved")
    return number / 2


def test_what_is_made_comes_in_the_order_of_the_parts() -> None:
    mapper = TaskMapper()
    assert list(mapper(halves, range(30))) == [number / 2 for number in range(30)]
    assert list(mapper(halves, iter(range(5)))) == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert list(mapper(halves, [])) == []


def test_few_parts_are_taken_ahead_of_what_is_asked_for() -> None:
    taken = []

    def parts():
        for number in range(30):
            taken.append(number)
            yield number

    assert list(islice(TaskMapper()(halves, parts()), 1)) == [0.0]
    assert len(taken) < 10


def test_an_error_is_raised_as_what_it_was() -> None:
    with pytest.raises(OutputError, match="33 cannot be halved"):
        list(TaskMapper()(halves, range(40)))


def test_products_of_a_large_region_are_made_by_tasks_and_have_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _made_by(region_grid(1000, 1000, 512)) is here
    monkeypatch.setattr(parts, "WORTH_PX", 1)
    mosaic = write_mosaic(tmp_path / "map" / "mosaic.zarr", blobs(150, 130))
    subject, config = subject_of(tmp_path / "scenes", 150, 130), ProductsConfig()
    found = []
    for mapper in (here, _made_by(mosaic.grid)):
        write_products(mosaic, subject, config, mapper=mapper)
        names = product_files(mosaic, subject, config)
        digests = {name: file_sha256(mosaic.path.parent / name) for name in names}
        found.append((digests, count_reasons(mosaic, mapper)))
    assert found[0] == found[1]


def _made_by(grid):
    with mapper_for(grid, ClusterConfig()) as mapper:
        return mapper
