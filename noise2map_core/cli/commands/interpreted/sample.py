"""Draw a stratified sample of a map for interpreters: `noise2map sample MAP --output DIR`.

Writes sample.gpkg and sample.geojson, with an empty column `reference` for the class that is truly
there, and strata.json, which tells what the map says: keep it from the interpreters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noise2map_core.assessment import sampling
from noise2map_core.assessment.design import (
    draw_design,
    expected_accuracy,
    find_map,
    require_two_pixels,
)
from noise2map_core.assessment.sample_files import SampleDesign, require_unfilled, write_sample
from noise2map_core.workflows.tools.interpreted.sample import SampleConfig


@dataclass(frozen=True)
class DrawnSample:
    """A sample that was written."""

    output: Path
    design: SampleDesign
    expected_error: float
    """Standard error of overall accuracy if user's accuracies are as expected."""

    def summary(self) -> list[str]:
        """What was drawn, and what to do with it."""
        return [
            f"{len(self.design.units):,} points, expected standard error of overall accuracy "
            f"{self.expected_error:.4f}",
            *(
                f"  class {entry.value:3} {entry.name:16} {entry.samples:6,} of "
                f"{entry.pixels:14,} pixels, {entry.area_m2 / 1e4:16,.1f} ha"
                for entry in self.design.classes
            ),
            f"points  {self.output / 'sample.gpkg'} (or sample.geojson): fill in `reference`",
            f"strata  {self.output / 'strata.json'}: keep it from the interpreters",
            f"then    noise2map assess {self.output / 'sample.gpkg'}",
        ]


def run(config: SampleConfig) -> DrawnSample:
    """Measure the map's classes, size the sample, draw it and write it."""
    require_unfilled(config.output)
    path = find_map(config.map)
    strata = sampling.measure_strata(path)
    require_two_pixels(strata, path)
    accuracy = expected_accuracy(config, strata)
    size = sampling.sample_size(strata, accuracy, config.target_error)
    sizes = sampling.allocate(strata, size, config.minimum)
    design = draw_design(config, path, strata, sizes)
    write_sample(config.output, design)
    return DrawnSample(config.output, design, sampling.expected_error(strata, accuracy, sizes))
