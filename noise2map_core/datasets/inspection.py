"""Whether the files of a data set fit each other and can be used, before any chip is cut."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from noise2map_core.datasets.images import RGB, ImageInfo, inspect_image
from noise2map_core.datasets.masks import MaskReport, inspect_mask, is_raster
from noise2map_core.datasets.sample import Benchmark, Faults, MaskRule, Sample
from noise2map_core.runtime.errors import ConfigError

Infos = dict[Path, ImageInfo]
Reports = dict[Path, MaskReport]


def files_of(sample: Sample) -> tuple[Path, ...]:
    """Every file of a sample, once."""
    return tuple(dict.fromkeys((*sample.images, *sample.segment, *sample.change)))


def inspected(benchmark: Benchmark) -> tuple[Benchmark, Infos]:
    """A data set without what cannot be used (`paper`), and what its images say of themselves.

    Raises ConfigError where `strict` would leave something out, where images differ in kind, or
    where nothing is left; AssetReadError for a file that cannot be read.
    """
    infos = _infos(benchmark)
    faults = Faults(benchmark.root, benchmark.protocol)
    reports = _reports(benchmark, infos)
    kept = [one for one in benchmark.samples if _fits(benchmark, one, infos, reports, faults)]
    dropped = benchmark.dropped | faults.settle()
    if not kept:
        raise ConfigError(f"no sample of {benchmark.root} is left. Set another protocol or root.")
    _require_one_kind(kept, infos)
    notes = (*benchmark.notes, *_outside(benchmark, reports))
    return replace(benchmark, samples=tuple(kept), dropped=dropped, notes=notes), infos


def _infos(benchmark: Benchmark) -> Infos:
    files = dict.fromkeys(path for sample in benchmark.samples for path in files_of(sample))
    rasters = [path for path in files if is_raster(path)]
    with ThreadPoolExecutor() as pool:
        return dict(zip(rasters, pool.map(inspect_image, rasters), strict=True))


def _rules(benchmark: Benchmark, infos: Infos) -> list[tuple[Path, MaskRule, tuple[int, int]]]:
    """Every mask with each of its meanings, and the size of its image."""
    found = {
        (path, task): (path, rule, infos[sample.images[0]].shape)
        for sample in benchmark.samples
        for task, rule in (("segment", benchmark.masks), ("change", benchmark.rule_of_change))
        for path in getattr(sample, task)
    }
    return list(found.values())


def _reports(benchmark: Benchmark, infos: Infos) -> Reports:
    """What the masks of which something is to be said are like."""
    masks = _rules(benchmark, infos)
    with ThreadPoolExecutor() as pool:
        reports = zip(masks, pool.map(lambda mask: inspect_mask(*mask), masks), strict=True)
        return {mask[0]: report for mask, report in reports if report != MaskReport()}


def _fits(
    benchmark: Benchmark, sample: Sample, infos: Infos, reports: Reports, faults: Faults
) -> bool:
    """True if a sample can be used; notes every file that it cannot be used for."""
    wrong = [(path, _wrong(path, sample.images[0], infos, reports)) for path in files_of(sample)]
    for path, (what, detail) in wrong:
        if what:
            faults.add(what, f"{benchmark.name_of(path)}{detail and f' ({detail})'}")
    return not any(what for _, (what, _) in wrong)


def _wrong(path: Path, image: Path, infos: Infos, reports: Reports) -> tuple[str, str]:
    """What is wrong with a file of a sample, and its particulars; empty: nothing."""
    if path in infos and infos[path].shape != infos[image].shape:
        sizes = ", ".join(f"{one.name} {_size(infos[one])}" for one in (path, image))
        return "files of another size than their image", sizes
    report = reports.get(path, MaskReport())
    return report.wrong, report.detail


def _size(info: ImageInfo) -> str:
    return "x".join(map(str, info.shape))


def _require_one_kind(samples: list[Sample], infos: Infos) -> None:
    dtype = infos[samples[0].images[0]].dtype
    for path in (path for sample in samples for path in sample.images):
        if infos[path].count < len(RGB):
            raise ConfigError(f"image {path} has {infos[path].count} band(s); RGB is needed.")
        if infos[path].dtype != dtype:
            raise ConfigError(f"image {path} is {infos[path].dtype}; the first one is {dtype}.")


def _outside(benchmark: Benchmark, reports: Reports) -> list[str]:
    """One line on polygons that touch no pixel of their image."""
    counts = {path: report.outside for path, report in reports.items() if report.outside}
    if not counts:
        return []
    total, first = sum(counts.values()), benchmark.name_of(next(iter(counts)))
    return [f"{total:,} polygons lie outside of their image and are not burnt; the first: {first}"]
