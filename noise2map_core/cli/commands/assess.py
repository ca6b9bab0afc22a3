"""Accuracy and area of a map from a filled sample: `noise2map assess SAMPLE`.

User's, producer's and overall accuracy and areas with 95 % intervals, after Olofsson et al. (2014),
from the sample.gpkg or sample.geojson that `noise2map sample` wrote and interpreters filled in.
"""

from __future__ import annotations

import json

from noise2map_core.assessment.result import Assessment, assess
from noise2map_core.assessment.sample_files import STRATA, read_design, read_references
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.tools.assess import AssessConfig


def run(config: AssessConfig) -> Assessment:
    """Read the sample and its design, estimate, and write the result."""
    if not config.sample.is_file():
        raise ConfigError(f"sample {config.sample} does not exist. Give a filled sample.gpkg.")
    design = read_design(config.strata or config.sample.with_name(STRATA))
    assessment = assess(design, read_references(config.sample, design))
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(config.output, json.dumps(assessment.document(), indent=2) + "\n")
    return assessment
