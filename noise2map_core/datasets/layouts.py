"""The layouts in which data sets are published, as a table: what is found by it is in `found`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noise2map_core.datasets.sample import BUILDINGS, CHANGE, MaskRule
from noise2map_core.labels import IGNORE

SPLITS = {
    "train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "Train": "train", "Val": "val", "Test": "test",
}  # fmt: skip
"""Splits by the names that folders and lists give them."""


SPLIT = "{split}/"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of a release lie, below the folder of the data set.

    In a path {split} is one of `splits`, {stem} what the files of one sample have in common; a path
    without an ending is that of an image in any format. Where every path has a single file in a
    split, these are one sample whatever they are called.
    """

    release: str
    images: tuple[str, ...]
    """Of one date, or before and after."""
    segment: tuple[str, ...] = ()
    """Mask of each date."""
    change: tuple[str, ...] = ()
    """Mask of change, or of two dates whose difference it is."""
    splits: Mapping[str, str] = field(default_factory=lambda: SPLITS)
    lists: str = ""
    """Text files that name the samples of a split, where they are there."""
    tested: str = ""
    """Regular expression of the stems that are for testing, whatever their folder."""
    unlabelled: tuple[str, ...] = ()
    """Folders whose masks the authors keep."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Of everything that a sample has."""
        return (*self.images, *self.segment, *self.change)

    def __str__(self) -> str:
        """The paths, with what they share said once."""
        paths = [path.removesuffix("/{stem}") for path in self.paths]
        if all(path.startswith(SPLIT) for path in paths):
            return f"{SPLIT}{{{','.join(path.removeprefix(SPLIT) for path in paths)}}}"
        return f"{{{','.join(paths)}}}"


@dataclass(frozen=True, slots=True)
class Published:
    """A data set with a page of its own."""

    title: str
    page: str
    terms: str
    """Licence, or what it is free for."""
    gsd: float
    """Metres a pixel, as the authors give it, or the middle of what they give."""
    layouts: tuple[Layout, ...]
    segment: MaskRule = field(default_factory=MaskRule)
    """What masks of one date mean."""
    change: MaskRule = field(default_factory=MaskRule)
    classes: Mapping[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"segment": BUILDINGS, "change": CHANGE}
    )
    """Class table of each task."""

    @property
    def attribution(self) -> str:
        """Who is to be named, and the terms."""
        return f"{self.title} ({self.page}), {self.terms}"


def pairs(release: str, before: str, after: str, mask: str, *, lists: str = "") -> Layout:
    """Folders of images before, after, and of masks of change."""
    paths = [f"{folder}/{{stem}}" for folder in (before, after, mask)]
    return Layout(release, (paths[0], paths[1]), change=(paths[2],), lists=lists)


def singles(release: str, image: str, mask: str) -> Layout:
    """Folders of images and of their masks."""
    return Layout(release, (f"{image}/{{stem}}",), segment=(f"{mask}/{{stem}}",))


LISTS = "list/{split}.txt"

LEVIR = (
    pairs("folders by split", "{split}/A", "{split}/B", "{split}/label"),
    pairs("lists of names, or to test on", "A", "B", "label", lists=LISTS),
)
"""What most data sets of change are brought to."""

ANY_GREY = MaskRule(threshold=127, values=())
"""Masks that were saved as JPEG somewhere: black and white, and a little between."""

LAND = ("water", "ground", "low_vegetation", "tree", "building", "playground")
LAND_COLOURS = {
    (255, 255, 255): IGNORE, (0, 0, 255): 0, (128, 128, 128): 1, (0, 128, 0): 2, (0, 255, 0): 3,
    (128, 0, 0): 4, (255, 0, 0): 5,
}  # fmt: skip
"""SECOND: what is not changed is white, and of no class."""

_OSCD = "{stem}/pair/img"
_SECOND = ("{split}/im1/{stem}", "{split}/im2/{stem}")

PUBLISHED: dict[str, Published] = {
    "levir-cd": Published(
        "LEVIR-CD", "https://justchenhao.github.io/LEVIR", "free for research", 0.5, LEVIR,
    ),
    "levir-cd-plus": Published(
        "LEVIR-CD+", "https://github.com/S2Looking/Dataset", "free for research", 0.5, LEVIR,
    ),
    "s2looking": Published(
        "S2Looking", "https://github.com/S2Looking/Dataset", "free for research", 0.65,
        (pairs("as published", "{split}/Image1", "{split}/Image2", "{split}/label"), *LEVIR),
    ),
    "sysu-cd": Published(
        "SYSU-CD", "https://github.com/liumency/SYSU-CD", "free for research", 0.5,
        (pairs("as published", "{split}/time1", "{split}/time2", "{split}/label"), *LEVIR),
    ),
    "clcd": Published(
        "CLCD", "https://github.com/liumency/CropLand-CD", "free for research", 1.0,
        (pairs("as published", "{split}/time1", "{split}/time2", "{split}/label"), *LEVIR),
    ),
    "dsifn": Published(
        "DSIFN",
        "https://github.com/GeoZcx/A-deeply-supervised-image-fusion-network-for-change-detection"
        "-in-remote-sensing-images", "terms not stated", 2.0,
        (pairs("as published", "{split}/t1", "{split}/t2", "{split}/mask"), *LEVIR),
        change=ANY_GREY,
    ),
    "second": Published(
        "SECOND", "https://captain-whu.github.io/SCD", "free for research", 1.0,
        (
            Layout(
                "as published", _SECOND,
                segment=("{split}/label1/{stem}", "{split}/label2/{stem}"),
                change=("{split}/label1/{stem}",),
            ),
            Layout(
                "A and B", ("{split}/A/{stem}", "{split}/B/{stem}"),
                segment=("{split}/labelA/{stem}", "{split}/labelB/{stem}"),
                change=("{split}/labelA/{stem}",),
            ),
        ),
        segment=MaskRule(
            colours=LAND_COLOURS,
            table={0: IGNORE} | {number + 1: number for number in range(len(LAND))},
        ),
        change=MaskRule(
            colours={colour: int(value != IGNORE) for colour, value in LAND_COLOURS.items()},
            table={number: int(number > 0) for number in range(len(LAND) + 1)},
        ),
        classes={
            "segment": [{"value": value, "name": name} for value, name in enumerate(LAND)],
            "change": CHANGE,
        },
    ),
    "oscd": Published(
        "OSCD", "https://rcdaudt.github.io/oscd",
        "images free with attribution, labels CC BY-NC-SA", 10.0,
        tuple(
            Layout(release, (f"{images}{_OSCD}1.png", f"{images}{_OSCD}2.png"), change=(masks,))
            for release, images, masks in (
                (
                    "as published (RGB)",
                    "Onera Satellite Change Detection dataset - Images/",
                    "Onera Satellite Change Detection dataset - {split} Labels/{stem}/cm/cm.png",
                ),
                ("short names (RGB)", "images/", "{split}_labels/{stem}/cm/cm.png"),
            )
        ),
    ),
    "inria": Published(
        "Inria Aerial Image Labeling", "https://project.inria.fr/aerialimagelabeling",
        "free for research", 0.3,
        (
            Layout(
                "as published", ("{split}/images/{stem}",), segment=("{split}/gt/{stem}",),
                tested=r"[a-z-]+[1-5]", unlabelled=("test",),
            ),
        ),
    ),
    "massachusetts": Published(
        "Massachusetts Buildings", "https://www.cs.toronto.edu/~vmnih/data", "free for research",
        1.0,
        (
            singles("as published", "{split}/sat", "{split}/map"),
            singles("one folder each", "{split}", "{split}_labels"),
            singles("one folder each, TIFF", "tiff/{split}", "tiff/{split}_labels"),
        ),
    ),
}  # fmt: skip
"""By what settings call them."""

_PAIRS = (
    ("A", "B", "label"), ("A", "B", "OUT"), ("A", "B", "mask"), ("Image1", "Image2", "label"),
    ("time1", "time2", "label"), ("t1", "t2", "mask"), ("im1", "im2", "label"),
    ("before", "after", "label"), ("pre", "post", "label"),
)  # fmt: skip
_SINGLES = (
    ("images", "masks"), ("images", "labels"), ("image", "label"), ("image", "mask"),
    ("Image", "Mask"), ("images", "gt"),
)  # fmt: skip

FOLDERS: tuple[Layout, ...] = (
    *(pairs("by split", *(f"{{split}}/{name}" for name in names)) for names in _PAIRS),
    *(singles("by split", *(f"{{split}}/{name}" for name in names)) for names in _SINGLES),
    *(pairs("by lists, or to test on", *names, lists=LISTS) for names in _PAIRS),
    *(
        Layout(
            "by lists, or to test on", (f"{image}/{{stem}}",), (f"{mask}/{{stem}}",), lists=LISTS
        )
        for image, mask in _SINGLES
    ),
)
"""Plain folders, whose names say what they hold."""

_WHU_DATES = ("2012", "2016")

WHU_CHANGE: tuple[Layout, ...] = (
    pairs("pairs of 256 px", "{split}/A", "{split}/B", "{split}/OUT"),
    *LEVIR,
    pairs("before and after", "before", "after", "change label", lists=LISTS),
    Layout(
        "2012 and 2016, cut",
        tuple(f"{date}/splited_images/{{split}}/image/{{stem}}" for date in _WHU_DATES),
        change=tuple(f"{date}/splited_images/{{split}}/label/{{stem}}" for date in _WHU_DATES),
    ),
    Layout(
        "2012 and 2016, whole",
        tuple(f"{date}/whole_image/{{split}}/image/{{stem}}" for date in _WHU_DATES),
        change=("change_label/{split}/{stem}",),
    ),
    pairs("2012 and 2016 by split", "2012/{split}", "2016/{split}", "change_label/{split}"),
    pairs("2012 and 2016", "2012", "2016", "change_label", lists=LISTS),
)

WHU_SEGMENT: tuple[Layout, ...] = (
    singles("Image and Mask", "{split}/Image", "{split}/Mask"),
    singles("image and label, as published", "{split}/image", "{split}/label"),
)

XVIEW2: tuple[Layout, ...] = (
    Layout(
        "as published",
        ("{split}/images/{stem}_pre_disaster", "{split}/images/{stem}_post_disaster"),
        splits={"train": "train", "tier3": "train", "hold": "val", "val": "val", "test": "test"},
    ),
    Layout(
        "xBD by event",
        (
            "{split}/xBD/{event}/images/{stem}_pre_disaster",
            "{split}/xBD/{event}/images/{stem}_post_disaster",
        ),
    ),
)
"""Images; masks are looked up beside them. {event} is that of the settings."""
