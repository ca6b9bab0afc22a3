"""Puts the applications into the standard wheel, so that `noise2map` works without a checkout."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

APPLICATIONS = ("pipelines", "tune")


class ApplicationsHook(BuildHookInterface):
    """Copies `pipelines/` and `tune/` under `noise2map_core/applications/`.

    Never in an editable install: there the copies would shadow the package of the checkout.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a wheel is built; `version` is "standard" or "editable"."""
        if version != "standard":
            return
        for name in APPLICATIONS:
            for path in sorted(Path(self.root, name).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    inside = path.relative_to(self.root).as_posix()
                    build_data["force_include"][str(path)] = f"noise2map_core/applications/{inside}"
