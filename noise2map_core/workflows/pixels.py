"""Settings of all workflows that read scenes: from files to the pixels of a date or two."""

from pydantic import BaseModel, ConfigDict, Field

from noise2map_core.settings.detector import DetectorConfig
from noise2map_core.settings.grid import GridConfig
from noise2map_core.settings.imagery import (
    CompositeConfig,
    MapMaskConfig,
    PairQualityConfig,
    RadiometryConfig,
    SceneMaskConfig,
)
from noise2map_core.settings.inference import InferenceConfig
from noise2map_core.settings.products import ProductsConfig
from noise2map_core.settings.resources import ResourcesConfig


class PixelsConfig(BaseModel):
    """From scenes to pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    grid: GridConfig = Field(default_factory=GridConfig)
    """The grid."""

    composite: CompositeConfig = Field(default_factory=CompositeConfig)
    """How the scenes of one date range become one picture."""

    mask: SceneMaskConfig = Field(default_factory=SceneMaskConfig)
    """Cloud, shadow and defects."""

    pair_quality: PairQualityConfig = Field(default_factory=PairQualityConfig)
    """Whether the dates can be compared."""

    radiometry: RadiometryConfig = Field(default_factory=RadiometryConfig)
    """Bringing the second date to the first."""


class RegionConfig(PixelsConfig):
    """From scenes to a map."""

    mask: MapMaskConfig = Field(default_factory=MapMaskConfig)
    """Cloud, shadow and defects."""

    inference: InferenceConfig = Field(default_factory=InferenceConfig)
    """How the network is run."""

    detector: DetectorConfig = Field(default_factory=DetectorConfig)
    """How a detector decides, where one is named in place of a checkpoint."""

    products: ProductsConfig = Field(default_factory=ProductsConfig)
    """What is made from the mosaic."""

    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    """Workers and what each takes."""
