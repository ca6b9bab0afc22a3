"""Look at a chip store, check every byte of it, or mend what is broken.

`noise2map store info|verify|repair STORE`
"""

from pathlib import Path
from typing import NamedTuple

from noise2map_core.chips.append import staged_folder
from noise2map_core.chips.manifest import newest_manifest
from noise2map_core.chips.repair import (
    Damage,
    count_objects,
    find_strays,
    iter_checks,
    repair_store,
)
from noise2map_core.chips.store import open_store
from noise2map_core.chips.summary import store_lines
from noise2map_core.chips.writer import clear_progress
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.store_lease import hold_store, lease_folder
from noise2map_core.workflows.tools.store import StoreConfig


class StoreReport(NamedTuple):
    """What was found or done."""

    lines: list[str]
    exit_code: int = 0

    def summary(self) -> list[str]:
        """Lines for people."""
        return self.lines


def run(config: StoreConfig) -> StoreReport:
    """Do what is asked."""
    actions = {"info": info, "verify": verify, "repair": repair}
    return actions[config.action](config.store)


def info(path: Path) -> StoreReport:
    """What a store holds. Raises ChipStoreError."""
    return StoreReport(store_lines(open_store(path)))


def verify(path: Path) -> StoreReport:
    """Which objects are damaged; exit code 1 if there are any. Raises ChipStoreError.

    Raises OutputHeldError if something is amiss while another run is at work in the store.
    """
    damages = _check(path)
    if damages and lease_folder(path).exists():  # an append that came in meanwhile is no damage
        with hold_store(path):
            damages = _check(path)
    strays = find_strays(path)
    lines = [str(damage) for damage in damages]
    lines += [f"{key}: not of the store" for key in strays]
    if not damages:
        return StoreReport([*lines, f"intact   {path}"])
    lines.append(
        f"damaged  {path}: {len(damages)} object(s); mend with `noise2map store repair {path}`"
    )
    return StoreReport(lines, 1)


def repair(path: Path) -> StoreReport:
    """Mend what is broken; exit code 1 if something cannot be.

    Raises ChipStoreError, and OutputHeldError if another run is at work in the store.
    """
    newest_manifest(path)  # what is no finished store is refused before anything is written
    with hold_store(path):
        damages = _check(path)
        if not damages:
            return StoreReport([f"intact   {path}"])
        done = repair_store(path, damages)
        if not staged_folder(path).exists():  # no append waits to be continued
            clear_progress(path)
    lines = [f"{key}: restored from a copy" for key in done.restored]
    lines += [f"{key}: read again" for key in done.remade]
    lines += [f"{key}: not mended: {reason}" for key, reason in done.lost.items()]
    mended = len(done.restored) + len(done.remade)
    lines.append(f"mended   {mended} of {len(damages)} objects of {path}")
    return StoreReport(lines, int(bool(done.lost)))


def _check(path: Path) -> list[Damage]:
    """Every object that is damaged, with a progress line."""
    found = []
    with progress(count_objects(path), "verify", "objects") as bar:
        for damage in iter_checks(path):
            bar.update()
            if damage is not None:
                found.append(damage)
    return found
