"""Which of two maps is better, from one sample: `noise2map compare MAP_A MAP_B --sample SAMPLE`.

Both are judged at the same points, so that their difference is told far more closely than the
accuracy of each. Where a map has no decision it is not right.
"""

from __future__ import annotations

from noise2map_core.assessment.comparison import MapComparison, compare_maps
from noise2map_core.assessment.design import find_map
from noise2map_core.assessment.result import write_result
from noise2map_core.assessment.sample_files import read_sample
from noise2map_core.workflows.tools.interpreted.compare import CompareConfig


def run(config: CompareConfig) -> MapComparison:
    """Read the sample, look at both maps at its points, and write the result."""
    design, reference = read_sample(config.sample, config.strata)
    maps = find_map(config.first), find_map(config.second)
    found = compare_maps(maps, design, reference, config.output)
    if config.output is not None:
        write_result(config.output, found.document())
    return found
