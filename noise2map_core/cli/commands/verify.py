"""Check an output: every tile there, every byte as written, rasters and item valid, no seams.

With --repair, what is missing or damaged is first made again, by the settings in the manifest; what
is as it was written stays.
"""

from dataclasses import dataclass
from pathlib import Path

from noise2map_core.cli.start import load
from noise2map_core.distributed.tasks import mapper_for
from noise2map_core.products.manifest import read_manifest
from noise2map_core.products.verification import open_output, verify_output
from noise2map_core.runtime.errors import OutputError
from noise2map_core.settings.reading import build_config
from noise2map_core.workflows.infer_region import InferRegionConfig
from noise2map_core.workflows.launch import find_command
from noise2map_core.workflows.tools.verify import VerifyConfig


@dataclass(frozen=True)
class Verified:
    """An output without a fault."""

    lines: list[str]

    def summary(self) -> list[str]:
        """Lines for people."""
        return self.lines


def run(config: VerifyConfig) -> Verified:
    """Check an output, with `repair` after it is mended. Raises OutputError, naming every fault, if
    there is one."""
    if config.repair:
        for line in repair(config.output):
            print(line, flush=True)
    mosaic, _ = open_output(config.output)
    with mapper_for(mosaic.grid, config.resources) as mapper:
        return Verified(verify_output(config.output, mapper))


def repair(output: Path) -> list[str]:
    """Make again what is missing or damaged, mosaic and products; lines for people.

    Reads the imagery of the tiles concerned. Raises OutputError if the output does not say how it
    was made, and whatever infer-region raises.
    """
    manifest = read_manifest(output)
    settings = manifest.get("config")
    if settings is None:
        raise OutputError(
            f"{output} has no manifest that says how it was made. Run the same infer-region "
            "command again; it makes what is missing."
        )
    given = {**manifest.get("chosen_dates", {}), "output": str(output), "overwrite": False}
    config = build_config(InferRegionConfig, settings, given)
    found: list[str] = load(find_command("infer-region")).run(config, recheck=True).summary()
    return found
