"""Accuracy and area of a map from a filled sample: `noise2map assess SAMPLE`.

User's, producer's and overall accuracy and areas with 95 % intervals, after Olofsson et al. (2014),
from the sample.gpkg or sample.geojson that `noise2map sample` wrote and interpreters filled in.
Points without an answer, or of which nobody is sure, are counted, and left out.
"""

from __future__ import annotations

from noise2map_core.assessment.result import Assessment, assess, write_result
from noise2map_core.assessment.sample_files import read_sample
from noise2map_core.workflows.tools.interpreted.assess import AssessConfig


def run(config: AssessConfig) -> Assessment:
    """Read the sample and its design, estimate, and write the result."""
    design, reference = read_sample(config.sample, config.strata)
    assessment = assess(design, reference, config.output)
    if config.output is not None:
        write_result(config.output, assessment.document())
    return assessment
