"""What a run says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from noise2map_core.detectors.spec import DetectorSpec
from noise2map_core.inference.comparison import Comparison
from noise2map_core.inference.region_run import RegionRun
from noise2map_core.products.bundle import CLASS_FILES, MapFigures
from noise2map_core.products.manifest import read_manifest
from noise2map_core.products.report import balance_lines
from noise2map_core.report.notebook import Shown


@dataclass(frozen=True)
class InferRegionResult(Shown):
    """What a run did."""

    output: Path
    tiles: int
    """Tiles of the region."""
    predicted: int
    """Tiles that this run predicted."""
    figures: MapFigures | None
    """None: the products were current already."""
    map_file: str
    """Name of the map in `output`."""
    warnings: tuple[str, ...] = ()
    """What does not look right, and what to do; a rerun without work repeats them."""
    about: str = ""
    """What the map was made by, where nobody named it."""
    dates: tuple[str, ...] = ()
    """Lines on dates that were chosen."""

    def files(self) -> Mapping[str, Path]:
        """The picture, and what is looked at next."""
        named = {
            "picture": "quicklook.png", "report": "report.html", "map": self.map_file,
            "polygons": "polygons.gpkg",
        }  # fmt: skip
        return {name: self.output / file for name, file in named.items()}

    def summary(self) -> list[str]:
        """Lines for people."""
        kept = self.tiles - self.predicted
        done = [
            *self.dates,
            f"{self.predicted} of {self.tiles} tiles predicted, {kept} kept from earlier runs",
            *filter(None, [self.about]),
            *self.warnings,
        ]
        if self.figures is None:
            return [*done, f"nothing new: {self.output} is complete and current"]
        return [
            *done,
            *_found(self.figures),
            f"map       {self.output / self.map_file}",
            f"polygons  {self.output / 'polygons.parquet'}",
            f"picture   {self.output / 'quicklook.png'}",
            f"report    {self.output / 'report.html'}",
        ]


def result_of(run: RegionRun, figures: MapFigures | None) -> InferRegionResult:
    """The result of a run that is over; `figures` None: its products were current already."""
    stated = read_manifest(run.config.output).get("warnings", ())
    doubts = stated if figures is None else figures.warnings
    warnings = (*_lost(run.comparison), *(f"warning: {text}" for text in doubts))
    return InferRegionResult(
        run.config.output, run.comparison.tiles, run.comparison.missing, figures,
        CLASS_FILES[run.job.task_name], warnings, _about(run),
        tuple(one.line for one in run.chosen),
    )  # fmt: skip


def _about(run: RegionRun) -> str:
    spec = run.job.spec
    if run.config.checkpoint is not None or not isinstance(spec, DetectorSpec):
        return ""
    return (
        f"no checkpoint was named: the detector {spec.kind} made the map, from the statistics of "
        "both dates. It finds any change, the season's too; of what did not change about "
        f"{spec.false_alarms:.2%} may be false alarms (--detector.false-alarms)"
    )


def _lost(comparison: Comparison) -> list[str]:
    """A warning where pixels were gone that the ledger has."""
    if not comparison.lost:
        return []
    tiles = "1 tile" if comparison.lost == 1 else f"{comparison.lost:,} tiles"
    return [f"warning: the pixels of {tiles} were missing or damaged, and were made again"]


def _found(figures: MapFigures) -> list[str]:
    """What the map shows, what is too small for a polygon, and what has no decision."""
    lines = [f"{figures.changed_m2 / 1e4:,.1f} ha in {figures.polygons:,} polygons"]
    lines += [f"{name}: {text}" for name, text in balance_lines(figures.balance).items()]
    if figures.left_out:
        area = f"{figures.left_out_m2 / 1e4:,.1f} ha"
        lines.append(f"{area} in {figures.left_out:,} areas too small for a polygon")
    if figures.undecided:
        total = sum(figures.pixels.values())
        shares = (f"{name} {count / total:.1%}" for name, count in figures.undecided.items())
        lines.append(f"no decision: {', '.join(shares)}")
    return lines
