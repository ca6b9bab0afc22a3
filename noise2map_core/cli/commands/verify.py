"""Check an output: every tile there, every byte as written, rasters and item valid, no seams.

With --repair, what is missing or damaged is first made again, by the settings in the manifest; what
is as it was written stays.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import listed, local_copy, location
from noise2map_core.settings.reading import build_config

CHIP_SEAMS, TILE_SEAMS = "edges of chips", "edges of tiles"
LATTICE_BLOCK_PX = 256
"""Blocks of the bootstrap, at least."""


def main() -> None:
    """The command `noise2map verify`."""
    args = _parser().parse_args(sys.argv[1:])
    if args.repair:
        for line in repair(args.output):
            print(line, flush=True)
    for line in run(args.output):
        print(line)


def repair(output: Path) -> list[str]:
    """Make again what is missing or damaged, mosaic and products; lines for people.

    Reads the imagery of the tiles concerned. Raises OutputError if the output does not say how it
    was made, and whatever infer-region raises.
    """
    from noise2map_core.products.manifest import read_manifest
    from noise2map_core.workflows.launch import load_application

    settings = read_manifest(output).get("config")
    if settings is None:
        raise OutputError(
            f"{output} has no manifest that says how it was made. Run the same infer-region "
            "command again; it makes what is missing."
        )
    infer_region = load_application("infer-region")
    own = {"output": str(output), "plan": False, "overwrite": False}
    config = build_config(infer_region.InferRegionConfig, settings, own)
    found: list[str] = infer_region.run(config, recheck=True).summary()
    return found


def run(output: Path) -> list[str]:
    """Lines for people. Raises OutputError, naming every fault, if there is one."""
    from noise2map_core.products.verification import count_reasons, iter_faults, open_output

    mosaic, manifest = open_output(output)
    faults = [
        *iter_faults(output, mosaic, manifest),
        *_invalid_rasters(output),
        *_invalid_item(output / "item.json"),
    ]
    if faults:
        raise OutputError(
            f"{output} has {len(faults)} faults: {'; '.join(faults)}. `noise2map verify --repair "
            f"{output}` makes again what is missing or damaged."
        )
    total = sum(count_reasons(mosaic).values())
    pixels = ", ".join(f"{n / total:.1%} {name}" for name, n in count_reasons(mosaic).items())
    return [
        f"{manifest['tiles']['total']} tiles complete, every object and product as written",
        f"pixels  {pixels}",
        *_seams(mosaic, manifest),
    ]


def _invalid_rasters(output: Path) -> Iterator[str]:
    from rio_cogeo.cogeo import cog_validate

    for file in listed(output, ".tif"):
        try:
            with local_copy(file) as local:
                valid, errors, _ = cog_validate(local, quiet=True)
        except Exception as error:  # whatever GDAL makes of damaged bytes
            valid, errors = False, [str(error)]
        if not valid:
            yield f"{file.name} is no valid cloud-optimised GeoTIFF ({', '.join(errors)})"


def _invalid_item(file: Path) -> Iterator[str]:
    """STAC's core schemas, which ship with pystac: no network is needed."""
    import pystac
    from pystac.errors import STACError, STACValidationError
    from pystac.validation import validate_dict
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        core = {**document, "stac_extensions": []}
        validate_dict(core, pystac.STACObjectType.ITEM, validator=JsonSchemaSTACValidator())
    except (OSError, ValueError, STACError, STACValidationError) as error:
        yield f"{file.name} is no valid STAC item ({' '.join(str(error).split())})"


def _seams(mosaic: Any, manifest: dict[str, Any]) -> Iterator[str]:
    """Steps across edges over steps elsewhere: 1 where there is no seam."""
    from noise2map_core.mapping.seams import seam_ratio

    tile_px, stride_px = mosaic.grid.tile_px, manifest.get("stride_px")
    for name, period in ((TILE_SEAMS, tile_px), (CHIP_SEAMS, stride_px)):
        if period:
            found = seam_ratio(mosaic, period, max(LATTICE_BLOCK_PX, period))
            yield f"seams   {name}: {found or 'none within the map'} (1: no seam)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("noise2map verify", description=__doc__)
    parser.add_argument(
        "output", type=location, metavar="OUTPUT", help="Directory that infer-region wrote."
    )
    parser.add_argument(
        "--repair", action="store_true",
        help="First make again what is missing or damaged, by the settings in the manifest.",
    )  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    return parser
