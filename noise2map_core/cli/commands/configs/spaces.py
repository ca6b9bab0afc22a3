"""List the spaces of settings that search-schedules can try, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noise2map_core.settings.reading import Settings, read_settings
from noise2map_core.workflows.configs import shipped_spaces, told_of
from noise2map_core.workflows.tools.configs.spaces import SpacesConfig


@dataclass(frozen=True)
class Spaces:
    """What ships."""

    files: dict[str, Path]
    """By name."""

    def summary(self) -> list[str]:
        """Lines for people."""
        return [
            "spaces (noise2map search-schedules --space NAME, or the path of a file like theirs):",
            *(
                line
                for name, path in self.files.items()
                for line in _lines(name, told_of(path), read_settings(path))
            ),
        ]


def _lines(name: str, told: str, space: Settings) -> list[str]:
    trials = f"{space['trials']} trials" if "trials" in space else "every combination"
    varied = ", ".join(space["parameters"])
    return [
        f"  {name:<20} {told}",
        f"  {'':<20} {trials} of up to {space['epochs']} epochs: {varied}",
    ]


def run(config: SpacesConfig) -> Spaces:
    """Look at what ships."""
    return Spaces(shipped_spaces())
