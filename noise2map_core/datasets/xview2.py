"""xView2 (xBD), by default the Santa Rosa wildfire: change detection and segmentation."""

from dataclasses import dataclass, replace
from pathlib import Path

from noise2map_core.datasets.found import Found, find_samples
from noise2map_core.datasets.images import read_grey
from noise2map_core.datasets.layouts import XVIEW2, Layout
from noise2map_core.datasets.masks import is_raster
from noise2map_core.datasets.polygons import read_polygons
from noise2map_core.datasets.resizing import Sizing
from noise2map_core.datasets.sample import (
    BUILDINGS,
    CHANGE,
    Benchmark,
    Faults,
    MaskRule,
    Sample,
    about,
    require_no_share,
    with_validation,
)
from noise2map_core.labels import IGNORE
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.datasets import Protocol, XView2Config

GSD = 0.5
"""Metres, nominal: the images come from several satellites of Maxar's, 0.3 to 0.8 m."""

SIDE_PX = 256
"""Side to which images of 1024 px are resized."""

WITHOUT_MASK = {
    "train": {"00000334", "00000192", "00000125", "00000247", "00000327", "00000258", "00000320"},
    "test": {"00000087", "00000289"},
}
"""Santa Rosa: images without buildings, which have no file among the masks, by number."""

BEFORE = [{"value": 0, "name": "background"}, {"value": 1, "name": "building_before"}]

DAMAGE = {"no-damage": 0, "un-classified": IGNORE} | dict.fromkeys(
    ("minor-damage", "major-damage", "destroyed"), 1
)
"""Change by the subtype of a building after the disaster."""

RULES = {
    ("change", "labels"): MaskRule(subtypes=DAMAGE),
    ("change", "targets"): MaskRule(table={0: 0, 1: 0, 2: 1, 3: 1, 4: 1}),
    ("segment", "labels"): MaskRule(),
    ("segment", "targets"): MaskRule(table={0: 0, 1: 1, 2: 1, 3: 1, 4: 1}),
    ("segment", "masks"): MaskRule(threshold=127, values=()),
}
"""What masks mean, by what is looked for and where it is looked up."""

NAMES = {
    "labels": "{stem}_{when}_disaster.json",
    "targets": "{stem}_{when}_disaster_target.png",
    "masks": "{stem}_{when}_disaster.png",
}

SOURCES = ("labels", "targets")
"""What is published."""

PAPER_NOTE = (
    "change is the mask of the buildings before the disaster, as the paper's protocol reads it: "
    "scores on it are of finding buildings, not damage"
)


@dataclass(frozen=True)
class Reading:
    """What is taken for a mask."""

    seen: str
    """change (damage) or segment (buildings)."""
    source: str
    """Folder beside that of the images."""
    when: str
    """pre or post: whose mask."""

    @property
    def rule(self) -> MaskRule:
        """What it means."""
        return RULES[self.seen, self.source]

    def path(self, image: Path, stem: str) -> Path:
        """The mask of an image."""
        name = NAMES[self.source].replace("{stem}", stem).replace("{when}", self.when)
        return image.parents[1] / self.source / name


def open_xview2(config: XView2Config, protocol: Protocol) -> Benchmark:
    """Images before the disaster with their buildings, or pairs with damage.

    `paper` takes the mask of the buildings before for change, leaves out images without buildings,
    resizes as OpenCV does, and chooses the checkpoint on test. Raises ConfigError.
    """
    change, paper = config.task == "change", protocol == "paper"
    if paper:
        require_no_share(config.val_share, "by protocol paper, which validates on test")
    found = find_samples(config.root, _layouts(config), protocol, about(config))
    reading = _reading(config, protocol, found)
    wanted = [one for one in _of_event(config, found) if not paper or one.split != "val"]
    samples, dropped = _masked(wanted, reading, config, protocol, found)
    return Benchmark(
        kind=config.kind,
        task=config.task,
        protocol=protocol,
        root=found.root,
        gsd=GSD,
        attribution="xBD (Gupta et al. 2019, arXiv:1911.09296), Maxar, CC BY-NC-SA 4.0",
        samples=tuple(samples if paper else with_validation(samples, config.val_share)),
        classes={"change": BEFORE if paper else CHANGE} if change else {"segment": BUILDINGS},
        selected_on="test" if paper else "val",
        evaluated_on="test",
        dropped=found.dropped | dropped,
        masks=reading.rule,
        sizing=Sizing(SIDE_PX, "cv2" if paper else "gdal"),
        release=f"{found.layout.release}, {reading.source}",
        notes=(PAPER_NOTE,) if change and paper else (),
    )


def _layouts(config: XView2Config) -> tuple[Layout, ...]:
    """Both releases: of pairs, or of images before the disaster."""
    dates = 2 if config.task == "change" else 1
    return tuple(
        replace(
            layout,
            images=tuple(p.replace("{event}", config.event) for p in layout.images[:dates]),
        )
        for layout in XVIEW2
    )


def _reading(config: XView2Config, protocol: Protocol, found: Found) -> Reading:
    """From where masks are taken. Raises ConfigError where there are none of what is looked for."""
    here = {image.parents[1] for sample in found.samples for image in sample.images}
    damage = config.task == "change" and protocol == "strict"
    buildings = ("masks", *SOURCES) if protocol == "paper" else (*SOURCES, "masks")
    wanted = SOURCES if damage else buildings
    for source in wanted:
        if any((folder / source).is_dir() for folder in here):
            seen, when = ("change", "post") if damage else ("segment", "pre")
            return Reading(seen, source, when)
    what = "damage, without which nothing says what changed" if damage else "buildings"
    raise ConfigError(
        f"{found.root} has no {' or '.join(f'{name}/' for name in wanted)} beside images/ with "
        f"{what}. Unpack all of the download, or set dataset.task segment."
    )


def _of_event(config: XView2Config, found: Found) -> list[Sample]:
    if config.event == "all" or f"/{config.event}/" in found.layout.images[0]:
        return list(found.samples)
    kept = [one for one in found.samples if _stem(one).rpartition("_")[0] in ("", config.event)]
    if not kept:
        events = sorted({_stem(sample).rpartition("_")[0] for sample in found.samples})
        raise ConfigError(
            f"{found.root} has no image of {config.event}; it has {', '.join(events)}. Set "
            "dataset.event to one of them, or to all."
        )
    return kept


def _stem(sample: Sample) -> str:
    return sample.place.partition("/")[2]


def _masked(
    samples: list[Sample], reading: Reading, config: XView2Config, protocol: Protocol, found: Found
) -> tuple[list[Sample], dict[str, int]]:
    """The samples with their masks, and how many are left out, by reason."""
    faults, kept = Faults(found.root, protocol), []
    empty, unlabelled, paper = 0, 0, protocol == "paper"
    for sample in samples:
        mask = reading.path(sample.images[0], _stem(sample))
        if not mask.parent.is_dir():
            unlabelled += 1
        elif mask.is_file():
            if paper and _is_empty(mask, reading):
                empty += 1
            else:
                kept.append(_with_mask(sample, mask, config))
        elif reading.source == "masks" and _is_without(sample):
            empty += paper
            kept.extend([] if paper else [_negative(sample)])
        else:
            faults.add("images whose mask is missing", mask.relative_to(found.root).as_posix())
    dropped = {"no buildings": empty, "no masks published": unlabelled}
    return kept, {why: count for why, count in dropped.items() if count} | faults.settle()


def _with_mask(sample: Sample, mask: Path, config: XView2Config) -> Sample:
    segment, change = ((), (mask,)) if config.task == "change" else ((mask,), ())
    return Sample(sample.place, sample.split, sample.images, segment, change)


def _negative(sample: Sample) -> Sample:
    return Sample(sample.place, sample.split, sample.images, negative=True)


def _is_empty(mask: Path, reading: Reading) -> bool:
    """True if nothing is in a mask of labels or targets; the paper's own are never empty."""
    if not is_raster(mask):
        return not read_polygons(mask, reading.rule.subtypes).shapes
    return reading.source == "targets" and not read_grey(mask).any()


def _is_without(sample: Sample) -> bool:
    """True for the published numbers; xBD's own file names have the event before them."""
    return _stem(sample).rpartition("_")[2] in WITHOUT_MASK.get(sample.split, ())
