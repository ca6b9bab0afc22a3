"""Miniatures of published data sets, drawn file by file as their pages lay them out.

Nothing here asks the library where files lie: it is what the library's table is held against.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.dataset_factories import picture, save, save_tif

PX = 16
COLS = 5
"""Width of what masks show; mask number n shows n + 1 rows of it."""

ONERA = "Onera Satellite Change Detection dataset - "


@dataclass(frozen=True)
class Miniature:
    """The files of one release: {split} and {n} stand for the folder and the number."""

    kind: str
    images: tuple[str, ...]
    masks: tuple[str, ...]
    counts: Mapping[str, int]
    """Samples by the name that the folder of their split has; one of "" where nothing is split."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    yes: int = 255


def drawn(number: int, yes: int = 255) -> NDArray[np.uint8]:
    """A mask with `number` + 1 rows of `COLS` pixels."""
    mask = np.zeros((PX, PX), np.uint8)
    mask[: number + 1, :COLS] = yes
    return mask


def write_miniature(root: Path, mini: Miniature) -> dict[str, int]:
    """Write the files; returns the pixels that the masks of each folder show."""
    shown = dict.fromkeys(mini.counts, 0)
    for split, count in mini.counts.items():
        for number in range(1, count + 1):
            names = {"{split}": split, "{n}": f"{split}{number}"}
            for date, path in enumerate(mini.images):
                save(root / _filled(path, names), picture(PX, PX, 10 * number + date))
            save(root / _filled(mini.masks[0], names), drawn(number, mini.yes))
            for path in mini.masks[1:]:  # of the second date nothing is there
                save(root / _filled(path, names), drawn(-1))
            shown[split] += (number + 1) * COLS
    return shown


def _filled(path: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        path = path.replace(name, value)
    return path


def _pairs(
    kind: str, before: str, after: str, mask: str, *, split: bool = True, **more: Any
) -> Any:
    counts = more.pop("counts", {"train": 4, "val": 2, "test": 3} if split else {"": 3})
    head = "{split}/" if split else ""
    images = (f"{head}{before}/{{n}}.png", f"{head}{after}/{{n}}.png")
    return Miniature(kind, images, (f"{head}{mask}/{{n}}.png",), counts, **more)


TRAIN_TEST = {"train": 4, "test": 3}
TEN = {"resolution": 10}

MINIATURES: dict[str, Miniature] = {
    "LEVIR-CD": _pairs("levir-cd", "A", "B", "label"),
    "LEVIR-CD+": _pairs("levir-cd-plus", "A", "B", "label", counts=TRAIN_TEST),
    "LEVIR-CD, test alone": _pairs("levir-cd", "A", "B", "label", counts={"test": 3}),
    "S2Looking": _pairs("s2looking", "Image1", "Image2", "label"),
    "SYSU-CD": _pairs("sysu-cd", "time1", "time2", "label"),
    "CLCD": _pairs("clcd", "time1", "time2", "label"),
    "DSIFN": Miniature(
        "dsifn", ("{split}/t1/{n}.jpg", "{split}/t2/{n}.jpg"), ("{split}/mask/{n}.png",),
        {"train": 4, "val": 2, "test": 3},
    ),
    "OSCD": Miniature(
        "oscd", (f"{ONERA}Images/{{n}}/pair/img1.png", f"{ONERA}Images/{{n}}/pair/img2.png"),
        (f"{ONERA}{{split}} Labels/{{n}}/cm/cm.png",), {"Train": 4, "Test": 3},
    ),
    "Massachusetts": Miniature(
        "massachusetts", ("{split}/sat/{n}.tiff",), ("{split}/map/{n}.tif",),
        {"train": 4, "valid": 2, "test": 3},
    ),
    "Massachusetts, one folder each": Miniature(
        "massachusetts", ("tiff/{split}/{n}.tiff",), ("tiff/{split}_labels/{n}.tif",),
        {"train": 4, "val": 2, "test": 3},
    ),
    "WHU-CD of the reference": _pairs("whu", "A", "B", "OUT", counts=TRAIN_TEST),
    "WHU-CD 2012 and 2016, whole": Miniature(
        "whu",
        tuple(f"1. The two-period image data/{y}/whole_image/{{split}}/image/{y}_{{split}}.tif"
              for y in (2012, 2016)),
        ("1. The two-period image data/change_label/{split}/change_label.tif",),
        {"train": 1, "val": 1, "test": 1},
    ),
    "WHU-CD 2012 and 2016, cut": Miniature(
        "whu", tuple(f"{y}/splited_images/{{split}}/image/{{n}}.tif" for y in (2012, 2016)),
        tuple(f"{y}/splited_images/{{split}}/label/{{n}}.tif" for y in (2012, 2016)),
        {"train": 4, "val": 2, "test": 3},
    ),
    "WHU-CD in folders by split": _pairs("whu", "A", "B", "label"),
    "folders images and masks": Miniature(
        "folders", ("{split}/images/{n}.png",), ("{split}/masks/{n}.png",), TRAIN_TEST, TEN,
    ),
    "folders image and label": Miniature(
        "folders", ("{split}/image/{n}.tif",), ("{split}/label/{n}.tif",), {"test": 3}, TEN, yes=1,
    ),
    "folders of images and masks without split": Miniature(
        "folders", ("images/{n}.png",), ("masks/{n}.png",), {"": 3}, TEN,
    ),
    "folders of pairs without split": _pairs(
        "folders", "A", "B", "label", split=False, settings=TEN,
    ),
}  # fmt: skip

XBD_SUBTYPES = ("no-damage", "minor-damage", "major-damage", "destroyed", "un-classified")


def xbd_labels(subtypes: tuple[str, ...], *, after: bool, px: int = 1024) -> dict[str, Any]:
    """Labels of an image: for each subtype a square of 64 px, one below the other."""
    features = []
    for number, subtype in enumerate(subtypes):
        top = 128 * number
        ring = ", ".join(
            f"{x} {y}" for x, y in ((0, top), (64, top), (64, top + 64), (0, top + 64), (0, top))
        )
        properties = {"feature_type": "building", "uid": str(number)}
        properties |= {"subtype": subtype} if after else {}
        features.append({"properties": properties, "wkt": f"POLYGON (({ring}))"})
    return {"features": {"lng_lat": [], "xy": features}, "metadata": {"width": px, "height": px}}


def write_xbd(
    root: Path,
    images: Mapping[str, Mapping[str, tuple[str, ...]]],
    *,
    labels: bool = True,
    targets: bool = True,
) -> Path:
    """{split}/{images,labels,targets} of 1024 px: for each name the subtypes of its buildings."""
    values = {"no-damage": 1, "minor-damage": 2, "major-damage": 3, "destroyed": 4}
    for split, named in images.items():
        for number, (name, subtypes) in enumerate(named.items()):
            for when in ("pre", "post"):
                stem = f"{name}_{when}_disaster"
                grey = np.full((1024, 1024, 3), 40 * number + 9 * (when == "post"), np.uint8)
                save(root / split / "images" / f"{stem}.png", grey)
                if labels:
                    path = root / split / "labels" / f"{stem}.json"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(xbd_labels(subtypes, after=when == "post")))
                if targets:
                    target = np.zeros((1024, 1024), np.uint8)
                    for place, subtype in enumerate(subtypes):
                        value = values.get(subtype, 0) if when == "post" else 1
                        target[128 * place : 128 * place + 64, :64] = value
                    save(root / split / "targets" / f"{stem}_target.png", target)
    return root


def write_spacenet7_download(
    root: Path, areas: Mapping[str, tuple[tuple[int, int], ...]], outside: int = 0
) -> Path:
    """train/<area>/{images_masked,labels_match_pix,UDM_masks}; month number n of an area has a
    building of n + 1 rows; `outside` more lie beside the image; the second month is cloudy."""
    for area, months in areas.items():
        folder = root / "train" / area
        for number, (year, month) in enumerate(months):
            name = f"global_monthly_{year}_{month:02d}_mosaic_{area}"
            image = picture(PX, PX, number, bands=4)
            image[..., 3] = 255
            save_tif(folder / "images_masked" / f"{name}.tif", image)
            if number == 1:
                save_tif(folder / "UDM_masks" / f"{name}_UDM.tif", image[..., 0])
            rings = [[(0, 0), (COLS, 0), (COLS, number + 1), (0, number + 1), (0, 0)]]
            rings += [[(90, 90), (95, 90), (95, 95), (90, 95), (90, 90)]] * outside
            features = [
                {
                    "type": "Feature", "properties": {"Id": 1},
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                }
                for ring in rings
            ]  # fmt: skip
            path = folder / "labels_match_pix" / f"{name}_Buildings.geojson"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return root
