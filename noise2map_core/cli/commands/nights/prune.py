"""Delete the slices of nightly areas that no retention rule keeps (keep_last, keep_first_of)."""

from dataclasses import dataclass
from pathlib import Path

from noise2map_core.nightly.areas import Area, iter_areas
from noise2map_core.nightly.retention import prune_area
from noise2map_core.runtime.errors import FailedAreasError, Noise2MapError
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.workflows.run_nightly import NightlyConfig


@dataclass(frozen=True)
class Pruned:
    """What was deleted, or, in a dry run, would be."""

    slices: list[Path]
    size: int
    """Bytes of them."""
    dry_run: bool

    def summary(self) -> list[str]:
        """Lines for people."""
        verb = "would delete" if self.dry_run else "deleted"
        total = f"{verb} {len(self.slices)} slices, {self.size / 1e6:,.1f} MB"
        return [*(f"{verb} {path}" for path in self.slices), total]


def run(config: NightlyConfig) -> Pruned:
    """Prune every area; those that cannot be read are named at the end. Holds the nights' lease."""
    slices: list[Path] = []
    size, errors = 0, []
    with hold_lease(config.output):
        for _, area in iter_areas(config):
            try:
                if not isinstance(area, Area):
                    raise area
                paths, freed = prune_area(area, config.dry_run)
            except (Noise2MapError, OSError) as error:
                errors.append(str(error))
                continue
            slices, size = slices + paths, size + freed
    result = Pruned(slices, size, config.dry_run)
    if errors:
        print("\n".join(result.summary()))
        raise FailedAreasError(f"{len(errors)} areas were left alone: {'; '.join(errors)}")
    return result
