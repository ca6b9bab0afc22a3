"""List the configs that ship: recipes of trainings, and whole examples, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noise2map_core.workflows.configs import PRESETS, shipped_configs, told_of
from noise2map_core.workflows.tools.configs.presets import PresetsConfig


@dataclass(frozen=True)
class Presets:
    """What ships."""

    files: dict[str, Path]
    """By name."""

    def summary(self) -> list[str]:
        """Lines for people."""
        folder = PRESETS.name
        recipes = {name: path for name, path in self.files.items() if path.parent.name == folder}
        examples = {name: path for name, path in self.files.items() if name not in recipes}
        return [
            "recipes, to which --chips and --output are added (noise2map finetune-maps NAME):",
            *(_line(name, path) for name, path in recipes.items()),
            "examples, each for the command that its name ends with (noise2map config show NAME):",
            *(_line(name, path) for name, path in examples.items()),
        ]


def _line(name: str, path: Path) -> str:
    return f"  {name:<28} {told_of(path)}"


def run(config: PresetsConfig) -> Presets:
    """Look at what ships."""
    return Presets(shipped_configs())
