"""What a chip store holds, in lines for people."""

from typing import Any

import numpy as np

from noise2map_core.chips.manifest import SOURCES
from noise2map_core.chips.store import UNKNOWN_TIME, ChipStore


def store_lines(store: ChipStore) -> list[str]:
    """All that a store says of itself, for people."""
    found, size = store.attributes, sum(length for length, _ in store.objects.values())
    image = store.array("image")
    dates, px = image.shape[1], image.shape[-1]
    classes = [
        f"{task}: {', '.join(str(entry['name']) for entry in table)}"
        for task, table in found["classes"].items()
    ]
    crs, labels_from = found["crs_table"], "; ".join(found.get("labels_from", ()))
    recorded = (store.path / SOURCES).exists()
    return [
        f"chips     {store.num_chips:,} of {px} x {px} pixels, {dates} date(s), "
        f"{store.num_shards:,} shards, {size / 1e6:,.1f} MB, format {found['format_version']}",
        f"bands     {', '.join(store.bands)} ({image.dtype})",
        f"labels    {'; '.join(classes) or 'none'}{f', by {labels_from}' if labels_from else ''}",
        f"grid      {found['gsd']:g} m, {crs[0] if len(crs) == 1 else f'{len(crs)} places'}",
        f"times     {acquisition_times(store)}",
        *(split_line(split, part) for split, part in found["counts"].items()),
        f"sources   {len(found['items']):,} items; "
        + ("chips can be read again" if recorded else "not recorded: chips cannot be read again"),
    ]


def acquisition_times(store: ChipStore) -> str:
    """First and last time of acquisition."""
    times = store.read("datetime")
    known = times[times != UNKNOWN_TIME]
    if not known.size:
        return "not known"
    first, last = (np.datetime64(int(edge), "s") for edge in (known.min(), known.max()))
    return f"{first}Z to {last}Z"


def split_line(split: str, part: dict[str, Any]) -> str:
    """One split: its chips, observed share per date, labelled pixels per task and class."""
    valid = ", ".join(f"{count / part['px']:.1%}" for count in part["valid_px"])
    labels = "".join(f"; {task} {_classes(px)}" for task, px in part["label_px"].items())
    return f"{split:<9} {part['chips']:,} chips; valid {valid}{labels}"


def _classes(label_px: dict[str, int]) -> str:
    return ", ".join(f"{count:,} px {name}" for name, count in label_px.items())
