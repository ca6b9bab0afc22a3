"""What workers ask Ray for: an estimate that always fits, or what the settings say."""

from types import SimpleNamespace
from typing import Any

import pytest
import ray

from noise2map_core.distributed.cluster.memory import (
    GB,
    MB,
    READER_BYTES,
    _fitted,
    shares_of_stream,
    stack_bytes,
)
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.imagery import CompositeConfig
from noise2map_core.settings.resources import ResourcesConfig


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    found = [{"Alive": True, "Resources": {"memory": gb * GB}} for gb in request.param]
    dead = {"Alive": False, "Resources": {"memory": 1.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [*found, dead])


def asked(reader: float, predictor: float | None, **settings: Any) -> tuple[float, float | None]:
    """Gigabytes that a reader and a predictor ask for, whose estimates are given in gigabytes."""
    estimate = None if predictor is None else int(predictor * GB)
    resources = ResourcesConfig(**settings)
    shares = _fitted(resources, int(reader * GB), estimate, resources.predictors)
    found = [shares.of(kind).get("memory") for kind in ("reader", "predictor")]
    first, second = (None if one is None else one / GB for one in found)
    assert first is not None
    return first, second


@pytest.mark.parametrize("nodes", [[16.0]], indirect=True)
def test_where_there_is_enough_the_estimate_is_asked_for(nodes: None) -> None:
    assert asked(0.5, 2.0) == (0.5, 2.0)
    assert asked(0.5, None) == (0.5, None)


@pytest.mark.parametrize(
    ("nodes", "predictors"), [([1.0], 1), ([1.0], 3), ([4.0, 1.0], 2), ([1.0] * 3, 5)],
    indirect=["nodes"],
)  # fmt: skip
def test_where_there_is_less_all_predictors_and_a_reader_fit_all_the_same(
    nodes: None, predictors: int
) -> None:
    """Else Ray would wait for ever."""
    reader, predictor = asked(8.0, 9.0, predictors=predictors)
    assert predictor is not None and reader > 0
    free = [node["Resources"]["memory"] / GB for node in ray.nodes() if node["Alive"]]
    for need in [predictor] * predictors + [reader]:  # first fit
        place = next(number for number, left in enumerate(free) if left >= need - 1e-9)
        free[place] -= need


@pytest.mark.parametrize("nodes", [[4.0, 0.0]], indirect=True)
def test_an_estimate_takes_what_a_setting_leaves(nodes: None) -> None:
    assert asked(2.0, 9.0, predictor_memory_gb=3) == (1.0, 3.0)
    assert asked(2.0, 9.0, reader_memory_gb=3, predictors=2) == (3.0, 0.5)
    assert asked(2.0, 3.0, predictors=1, reader_memory_gb=0.5) == (0.5, 3.0)


@pytest.mark.parametrize("nodes", [[4.0]], indirect=True)
def test_what_is_set_is_asked_for_and_off_asks_for_nothing(nodes: None) -> None:
    assert asked(0.5, 1.0, reader_memory_gb=1.5, predictor_memory_gb=2) == (1.5, 2.0)
    shares = _fitted(ResourcesConfig(reader_memory_gb="off", predictor_memory_gb="off"), 1, 1, 1)
    assert shares.of("reader") == shares.of("predictor") == {}
    with pytest.raises(ConfigError, match=r"resources\.predictor_memory_gb 5 is more than any .*4"):
        asked(0.5, 1.0, predictor_memory_gb=5)
    with pytest.raises(ConfigError, match=r"2 of 2\.0 GB and a reader of 0\.5 GB do not fit"):
        asked(0.5, 1.0, predictors=2, predictor_memory_gb=2, reader_memory_gb=0.5)
    assert asked(0.5, 1.0, predictor_memory_gb=5, address="auto")[1] == 5  # may get such a node


@pytest.mark.parametrize(
    ("composite", "scenes"),
    [({}, 0), ({"before": "median"}, 5), ({"kind": "median"}, 5), ({"kind": "median", "before":
     "first"}, 2)],
)  # fmt: skip
def test_the_scenes_of_a_median_are_reckoned_with(composite: Any, scenes: int) -> None:
    grid = SimpleNamespace(shape_tiles=(3, 3), tile_at=lambda number: number)
    dates = {4: [["scene"] * 5, ["scene"] * 2]}  # those of the tile in the middle
    recipe = SimpleNamespace(composite=CompositeConfig(**composite))
    job: Any = SimpleNamespace(grid=grid, recipe=recipe, scenes=dates.__getitem__)
    assert stack_bytes(job, 200) == 100 * scenes


@pytest.mark.parametrize("nodes", [[16.0], [0.5]], indirect=True)
def test_a_task_of_a_stream_asks_for_what_it_mixes(nodes: None) -> None:
    """Five shards of 32 chips of a megabyte, and as much again to hand on; if there is as much."""
    asked = shares_of_stream(1 * MB, 4, ResourcesConfig()).reader
    most = max(node["Resources"]["memory"] for node in ray.nodes())
    assert asked == min(READER_BYTES + 2 * 5 * 32 * MB, most)
    assert shares_of_stream(1 * MB, 4, ResourcesConfig(reader_memory_gb="off")).reader is None
