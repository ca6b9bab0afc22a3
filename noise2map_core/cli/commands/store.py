"""Look at a chip store, check every byte of it, or mend what is broken."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from noise2map_core.runtime.storage import location

if TYPE_CHECKING:
    from noise2map_core.chips.repair import Damage


def main() -> NoReturn:
    """The command `noise2map store info|verify|repair`."""
    args = _parser().parse_args(sys.argv[1:])
    run = {"info": info, "verify": verify, "repair": repair}[args.command]
    lines, code = run(args.store)
    for line in lines:
        print(line)
    sys.exit(code)


def info(path: Path) -> tuple[list[str], int]:
    """What a store holds. Raises ChipStoreError."""
    from noise2map_core.chips.store import open_store
    from noise2map_core.chips.summary import store_lines

    return store_lines(open_store(path)), 0


def verify(path: Path) -> tuple[list[str], int]:
    """Which objects are damaged; exit code 1 if there are any. Raises ChipStoreError.

    Raises OutputHeldError if something is amiss while another run is at work in the store.
    """
    from noise2map_core.chips.repair import find_strays
    from noise2map_core.runtime.store_lease import hold_store, lease_folder

    damages = _check(path)
    if damages and lease_folder(path).exists():  # an append that came in meanwhile is no damage
        with hold_store(path):
            damages = _check(path)
    strays = find_strays(path)
    lines = [str(damage) for damage in damages]
    lines += [f"{key}: not of the store" for key in strays]
    if not damages:
        return [*lines, f"intact   {path}"], 0
    return [
        *lines,
        f"damaged  {path}: {len(damages)} object(s); mend with `noise2map store repair {path}`",
    ], 1


def repair(path: Path) -> tuple[list[str], int]:
    """Mend what is broken; exit code 1 if something cannot be.

    Raises ChipStoreError, and OutputHeldError if another run is at work in the store.
    """
    from noise2map_core.chips.append import staged_folder
    from noise2map_core.chips.manifest import newest_manifest
    from noise2map_core.chips.repair import repair_store
    from noise2map_core.chips.writer import clear_progress
    from noise2map_core.runtime.store_lease import hold_store

    newest_manifest(path)  # what is no finished store is refused before anything is written
    with hold_store(path):
        damages = _check(path)
        if not damages:
            return [f"intact   {path}"], 0
        done = repair_store(path, damages)
        if not staged_folder(path).exists():  # no append waits to be continued
            clear_progress(path)
    lines = [f"{key}: restored from a copy" for key in done.restored]
    lines += [f"{key}: read again" for key in done.remade]
    lines += [f"{key}: not mended: {reason}" for key, reason in done.lost.items()]
    mended = len(done.restored) + len(done.remade)
    return [*lines, f"mended   {mended} of {len(damages)} objects of {path}"], bool(done.lost)


def _check(path: Path) -> list[Damage]:
    """Every object that is damaged, with a progress line."""
    from noise2map_core.chips.repair import count_objects, iter_checks
    from noise2map_core.runtime.progress import progress

    found = []
    with progress(count_objects(path), "verify", "objects") as bar:
        for damage in iter_checks(path):
            bar.update()
            if damage is not None:
                found.append(damage)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("noise2map store", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("store", type=location, metavar="STORE", help="The chip store.")
        command.add_argument("--debug", action="store_true", help="Show an error's traceback.")
    return parser


_COMMANDS = {
    "info": "What the store holds: splits, labels, bands, places, sources.",
    "verify": "Read every byte and compare it with the manifest; exit code 1 if any is wrong.",
    "repair": "Mend what verify finds: metadata from its copies, chips from their sources.",
}
