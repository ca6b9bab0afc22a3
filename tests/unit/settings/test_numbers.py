"""Settings take no number that a machine cannot deal with: none that is not finite, none of any
length."""

import importlib
import math
import pkgutil
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

import noise2map_core.cli.commands
import noise2map_core.workflows
import pipelines
import tune
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.grid import GridConfig
from tests.unit.geo.test_grid import area_of

LIMITS = ("gt", "ge", "lt", "le", "allow_inf_nan")
WRONG = {float: (math.nan, math.inf, -math.inf), int: (10**30, -(10**30), 10**400)}
FREE = {
    "changed", "unchanged", "ignored", "classes", "timesteps", "disagreement_timesteps", "integers",
    "expected_accuracy",
}  # fmt: skip
"""Values of rasters and timesteps, which are looked up in a file and in a schedule."""


def configs() -> Iterator[type[BaseModel]]:
    """The config classes of all commands, and all sections of them."""
    todo: list[Any] = []
    for package in (noise2map_core.cli.commands, noise2map_core.workflows, pipelines, tune):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            todo += [v for k, v in vars(module).items() if k.endswith("Config")]
    seen = set()
    while todo:
        one = todo.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            if one not in seen:
                seen.add(one)
                todo += [field.annotation for field in one.model_fields.values()]
                yield one
        else:
            todo += get_args(one)


def leaves(annotation: Any, limits: tuple[Any, ...]) -> Iterator[tuple[type, TypeAdapter[Any]]]:
    """The types of numbers within a type, with their limits."""
    if annotation in WRONG:
        kept = [one for one in limits if isinstance(one, FieldInfo) or _limits(one)]
        yield annotation, TypeAdapter(Annotated[annotation, *kept] if kept else annotation)
    elif get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from leaves(inner, (*limits, *more))
    elif get_origin(annotation) in (Union, UnionType, tuple, dict, list):
        for part in get_args(annotation):
            yield from leaves(part, limits)


def _limits(one: Any) -> bool:
    return any(getattr(one, name, None) is not None for name in LIMITS)


def settings() -> list[Any]:
    found = []
    for config in configs():
        for name, field in config.model_fields.items():
            numbers = list(leaves(field.annotation, tuple(field.metadata)))
            if numbers and name not in FREE:
                found.append(pytest.param(numbers, id=f"{config.__name__}.{name}"))
    return list({param.id: param for param in found}.values())


def test_there_are_more_than_a_hundred_such_settings() -> None:
    assert len(settings()) > 80


@pytest.mark.parametrize("numbers", settings())
def test_no_setting_takes_a_number_that_no_machine_can_deal_with(numbers: Any) -> None:
    for kind, adapter in numbers:
        for value in WRONG[kind]:
            with pytest.raises(ValidationError):
                adapter.validate_python(value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": (math.nan, 0)}, {"origin": (1e308, 0)}, {"tile_px": 10**9}, {"tile_px": 0},
        {"resolution": math.inf}, {"resolution": 1e-300}, {"resolution": "nan"},
    ],
)  # fmt: skip
def test_a_grid_of_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GridConfig.model_validate(wrong)


def test_a_grid_of_more_tiles_than_can_be_made_is_refused_at_once() -> None:
    import shapely

    area: AreaOfInterest = area_of(shapely.box(0, 0, 1e6, 1e6))
    with pytest.raises(ConfigError, match=r"too many to be made\. Set a coarser grid\.resolution"):
        RegionGrid.covering(area, "EPSG:32633", 0.01, tile_px=256)
