"""Configs by their paths or, of those that ship, by their names; several, one over the other."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from pydantic import BaseModel

from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.places import beside, placed, shipped_below
from noise2map_core.settings.reading import Settings, merged, nearest, read_settings
from noise2map_core.workflows.launch import applications_root

CONFIGS = Path("pipelines") / "configs"
"""Where configs lie that ship with the applications, below their root."""
PRESETS = CONFIGS / "presets"
"""Those that hold no path: recipes, each for a command with other settings beside it."""
SPACES = Path("tune") / "spaces"
"""Where the spaces of sweeps lie, below the root."""
SUFFIXES = (".yaml", ".yml")
PACKAGE = "noise2map_core"


def shipped_configs() -> dict[str, Path]:
    """The configs that ship, by name: presets first."""
    root = applications_root()
    files = [*sorted((root / PRESETS).glob("*.yaml")), *sorted((root / CONFIGS).glob("*.yaml"))]
    return {path.stem: path for path in files}


def shipped_spaces() -> dict[str, Path]:
    """The spaces of sweeps that ship, by name."""
    return {path.stem: path for path in sorted((applications_root() / SPACES).glob("*.yaml"))}


def find_config(word: str) -> Path:
    """A YAML file by its path, or one that ships by its name. Raises ConfigError for neither."""
    path, shipped = Path(word), shipped_configs()
    if path.suffix in SUFFIXES or path.exists() or len(path.parts) > 1:
        return path
    if word not in shipped:
        near = nearest(word, shipped)
        meant = f" Did you mean {near}?" if near else ""
        raise ConfigError(
            f"config {word} is no file, and none of that name ships.{meant} "
            "`noise2map presets` lists those that do."
        )
    return shipped[word]


def read_configs(config_type: type[BaseModel], words: Sequence[str]) -> Settings:
    """The settings of configs, each over those before it, with all paths where they lie.

    Raises ConfigError if one is missing or not readable.
    """
    return reduce(merged, (_read(config_type, find_config(word)) for word in words), {})


def _read(config_type: type[BaseModel], path: Path) -> Settings:
    root = _ships_with(path.resolve())
    place = beside(path) if root is None else shipped_below(root)
    return placed(config_type, read_settings(path), place)


def _ships_with(path: Path) -> Path | None:
    """The root of the applications that a config ships with: those installed, or a checkout's,
    whether installed from there or not. None: it is a user's own."""
    checkouts = [one for one in path.parents if (one / PACKAGE / "__init__.py").is_file()]
    roots = [applications_root().resolve(), *checkouts]
    return next((root for root in roots if path.is_relative_to(root / CONFIGS)), None)


def told_of(path: Path) -> str:
    """What a config says of itself: the first sentence of the comment at its head."""
    lines = path.read_text("utf-8").splitlines()
    head = " ".join(line.lstrip("# ") for line in lines[: _end_of_head(lines)])
    return head.partition(". ")[0].rstrip(".") + "."


def _end_of_head(lines: list[str]) -> int:
    return next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
