"""The house: rooms of one noun, imports that run down, and none that hides in a function."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

MOST_FILES = 20
SOURCES = ("noise2map_core", "pipelines", "tune", "infra")


@pytest.fixture(scope="module")
def rooms(checkout: Path) -> list[str]:
    """As the import contract lists them, the highest first."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    layered = next(one for one in contracts if one["type"] == "layers")["layers"]
    return [room.strip() for layer in layered for room in layer.split("|")]


def test_every_room_is_listed_and_no_import_runs_up(rooms: list[str]) -> None:
    graph = grimp.build_graph("noise2map_core", exclude_type_checking_imports=True, cache_dir=None)
    modules = {name for name in graph.modules if "." in name}
    assert {_room_of(name) for name in modules} == set(rooms)
    up = [
        (one, other)
        for one in modules
        for other in graph.find_modules_directly_imported_by(one) & modules
        if rooms.index(_room_of(one)) > rooms.index(_room_of(other))
    ]
    assert up == []


def _room_of(module: str) -> str:
    return module.split(".")[1]


def test_no_room_has_too_many_files(checkout: Path, rooms: list[str]) -> None:
    counts = {
        folder.relative_to(checkout).as_posix(): len(list(folder.glob("*.py")))
        for folder in (checkout / "noise2map_core").rglob("*")
        if folder.is_dir()
    }
    assert {name: n for name, n in counts.items() if n > MOST_FILES} == {}


def test_the_architecture_names_every_room_in_its_place(checkout: Path, rooms: list[str]) -> None:
    text = (checkout / "docs" / "explanations" / "architecture.md").read_text()
    assert re.findall(r"^\| `(\w+)/` \|", text, flags=re.MULTILINE) == rooms


def test_an_import_within_a_function_has_its_reason_beside_it(checkout: Path) -> None:
    bare = [
        f"{path.relative_to(checkout)}:{line}"
        for folder in SOURCES
        for path in sorted((checkout / folder).rglob("*.py"))
        for line in _bare_imports(path.read_text())
    ]
    assert bare == []


def _bare_imports(source: str) -> Iterator[int]:
    """Lines of imports within functions that have no comment on them or above their group."""
    lines = source.split("\n")
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for function in (node for node in ast.walk(ast.parse(source)) if isinstance(node, functions)):
        explained = 0
        for node in ast.walk(function):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            start, stop = node.lineno, node.end_lineno or node.lineno
            own = any("#" in lines[number - 1] for number in range(start, stop + 1))
            above = lines[start - 2].strip().startswith("#") or explained == start - 1
            if own or above:
                explained = stop
            else:
                yield start
