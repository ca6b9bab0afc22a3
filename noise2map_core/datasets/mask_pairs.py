"""Pairs of dates made of chips of one date with masks: change is where the masks differ.

So change can be learnt where only single images were labelled (Zheng et al. 2021, "Change is
everywhere"). A pair is either two places, or one place into which the objects of another were
pasted (in the other order: from which they were removed).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise2map_core.chips.parts import PART_COLUMNS, join_parts, require_free, write_parts
from noise2map_core.chips.store import CHIPS_PER_SHARD, ChipStore, Columns
from noise2map_core.chips.writer import StoreHeader
from noise2map_core.labels import IGNORE
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import ChipStoreError

Int64 = NDArray[np.int64]

GROUP_SHARDS = 16
"""Partners are looked for among the chips of so many shards, which memory holds."""

PIXELS = ("image", "valid", "label_segment")
CHANGE = [{"value": 0, "name": "unchanged"}, {"value": 1, "name": "changed"}]


@dataclass(frozen=True)
class PairRule:
    """How pairs are made."""

    per_chip: int
    """Pairs that each chip is the first of."""
    paste: float
    """Share of the pairs that are one place with objects pasted or removed; the others are two."""
    seed: int


def write_pairs(
    singles: Sequence[ChipStore], rule: PairRule, output: Path, pairs: Sequence[ChipStore] = ()
) -> None:
    """Write a store of pairs: labels of change, and of what each date shows.

    Both chips of a pair are of one store and one split; `pairs` are taken over as they are. Raises
    ChipStoreError if a store has dates or labels of another kind, or the stores do not fit each
    other; OutputMismatchError if something lies at `output`. The caller holds the lease of
    `output`.
    """
    header = pairs_header(singles, rule, pairs)
    require_free(output)
    stores = (*singles, *pairs)
    tables = _Tables.of(stores, header)
    batches = (
        tables.coded(number, batch)
        for number, store in enumerate(stores)
        for batch in (_pairs_of(store, rule) if store.num_dates == 1 else _all_of(store))
    )
    join_parts(output, header, write_parts(output, header, batches))


def pairs_header(
    singles: Sequence[ChipStore], rule: PairRule, pairs: Sequence[ChipStore] = ()
) -> StoreHeader:
    """Of the store that `write_pairs` makes; see there for what it raises."""
    stores = (*singles, *pairs)
    for store in singles:
        _require_masks(store)
    for store in pairs:
        _require_pairs(store)
    for store in stores:
        _require_alike(stores[0], store)
    headers = [StoreHeader.of(store) for store in stores]
    origins = _origins(stores, headers)
    return replace(
        headers[0],
        key=digest_of(["mask_pairs", vars(rule), [store.objects for store in stores]]),
        classes={**headers[0].classes, "change": CHANGE},
        splits=_merged(header.splits for header in headers),
        crs_table=tuple(origins),
        origins=tuple(origins.values()),
        places=tuple(place for header in headers for place in header.places),
        items=[item for header in headers for item in header.items],
        buffer_px=min(header.buffer_px for header in headers),
        labels_from=_merged(header.labels_from for header in headers),
        made_pairs=vars(rule),
        earlier_keys=(),
    )


def _require_masks(store: ChipStore) -> None:
    if store.num_dates != 1 or not store.has_labels_of("segment"):
        raise ChipStoreError(
            f"chip store {store.path} has {store.num_dates} date(s) and labels of: "
            f"{', '.join(store.tasks) or 'nothing'}. Pairs are made of one date with labels of "
            "segment; ingest it so."
        )


def _require_pairs(store: ChipStore) -> None:
    if store.num_dates != 2 or set(store.tasks) != {"segment", "change"}:
        raise ChipStoreError(
            f"chip store {store.path} has {store.num_dates} date(s) and labels of: "
            f"{', '.join(store.tasks) or 'nothing'}. Pairs that are taken over have two dates, and "
            "labels of change and of segment; draw-worlds writes such."
        )


def _require_alike(first: ChipStore, other: ChipStore) -> None:
    for name in ("bands", "classes", "chip_px", "gsd"):
        one, another = (_compared(store, name) for store in (first, other))
        if one != another:
            raise ChipStoreError(
                f"chip stores {first.path} and {other.path} differ in {name}. Ingest both with the "
                "same settings."
            )


def _compared(store: ChipStore, name: str) -> Any:
    """What has to be the same: of classes, those of segment; of bands, what they are called."""
    found = store.attributes[name]
    if name == "bands":
        return [band["name"] for band in found]
    return found["segment"] if name == "classes" else found


def _origins(
    stores: Sequence[ChipStore], headers: Sequence[StoreHeader]
) -> dict[str, tuple[float, float]]:
    """Of every CRS of any store."""
    found: dict[str, tuple[float, float]] = {}
    for store, header in zip(stores, headers, strict=True):
        for crs, origin in zip(header.systems, header.all_origins, strict=True):
            if found.setdefault(crs, origin) != origin:
                raise ChipStoreError(
                    f"chip stores {stores[0].path} and {store.path} differ in origin. Ingest both "
                    "with the same settings."
                )
    return found


def _merged(tables: Any) -> tuple[str, ...]:
    """All entries, each once, in order."""
    return tuple(dict.fromkeys(entry for table in tables for entry in table))


def _pairs_of(store: ChipStore, rule: PairRule) -> Iterator[Columns]:
    """All pairs of a store, a group of shards at a time; codes are the store's own."""
    rows = {name: store.read(name) for name in PART_COLUMNS}
    for round_, start in product(range(rule.per_chip), range(0, store.num_shards, GROUP_SHARDS)):
        generator = np.random.default_rng((rule.seed, round_, start))
        shards = range(start, min(start + GROUP_SHARDS, store.num_shards))
        read = [store.read_shard(shard, PIXELS) for shard in shards]
        offset = start * CHIPS_PER_SHARD
        chips = {name: np.concatenate([part[name] for part in read]) for name in PIXELS}
        part = slice(offset, offset + len(chips["valid"]))
        chips |= {name: values[part] for name, values in rows.items()}
        first, second = _partners(chips["split"], generator)
        for places in range(0, len(first), CHIPS_PER_SHARD):
            few = slice(places, places + CHIPS_PER_SHARD)
            yield make_pairs(
                _chosen(chips, first[few]), _chosen(chips, second[few]), rule, generator
            )


def _all_of(store: ChipStore) -> Iterator[Columns]:
    """All chips of a store of pairs, a shard at a time."""
    rows = {name: store.read(name) for name in PART_COLUMNS}
    for shard in range(store.num_shards):
        pixels = store.read_shard(shard, (*PIXELS, "label_change"))
        start = shard * CHIPS_PER_SHARD
        part = slice(start, start + len(pixels["valid"]))
        yield {**pixels, **{name: values[part] for name, values in rows.items()}}


def _partners(split: NDArray[np.integer], generator: np.random.Generator) -> tuple[Int64, Int64]:
    """First and second chip of each pair: every chip once as either, none with itself.

    A chip that is alone in its split is left out.
    """
    orders = [
        generator.permutation(np.flatnonzero(split == code)) for code in np.unique(split).tolist()
    ]
    orders = [order for order in orders if len(order) > 1]
    empty = np.empty(0, np.int64)
    first = np.concatenate([empty, *orders])
    return first, np.concatenate([empty, *(np.roll(order, -1) for order in orders)])


def _chosen(columns: Columns, numbers: Int64) -> Columns:
    return {name: values[numbers] for name, values in columns.items()}


def make_pairs(
    first: Columns, second: Columns, rule: PairRule, generator: np.random.Generator
) -> Columns:
    """Pairs of chips of one date, as the columns of a store of two dates.

    Place and split are the first chip's. Where either is unlabelled, so is change.
    """
    count = len(first["split"])
    pasted = (generator.random(count) < rule.paste)[:, None, None, None]
    objects = _pasteable(first, second) & pasted
    later = {
        name: np.where(_shaped(objects | ~pasted, second[name]), second[name], first[name])
        for name in PIXELS
    }
    swapped = (generator.random(count) < 0.5) & pasted[:, 0, 0, 0]
    dates = {name: _in_order(first[name], later[name], swapped) for name in PIXELS}
    label = dates["label_segment"]
    known = (label != IGNORE).all(axis=1)
    change = np.where(known, label[:, 0] != label[:, 1], np.uint8(IGNORE))
    return {
        **{name: first[name] for name in PART_COLUMNS},
        **dates,
        "scene": _in_order(
            first["scene"], np.where(pasted[:, :, 0, 0], first["scene"], second["scene"]), swapped
        ),
        "label_change": change.astype(np.uint8),
        "datetime": np.concatenate([first["datetime"], second["datetime"]], axis=1),
        "items": np.concatenate([first["items"], second["items"]], axis=1),
    }


def _pasteable(first: Columns, second: Columns) -> NDArray[np.bool_]:
    """[chip, 1, y, x] objects of the second where the first shows none."""
    there, here = second["label_segment"], first["label_segment"]
    return (there != 0) & (there != IGNORE) & (here == 0) & second["valid"]


def _shaped(mask: NDArray[np.bool_], like: NDArray[Any]) -> NDArray[np.bool_]:
    """[chip, 1, y, x] with a dimension for bands where `like` has one."""
    return mask[:, :, None] if like.ndim > mask.ndim else mask


def _in_order(first: NDArray[Any], later: NDArray[Any], swapped: NDArray[np.bool_]) -> NDArray[Any]:
    """[chip, 2, …], the dates of some in the other order."""
    pair = np.concatenate([first, later], axis=1)
    return np.where(swapped.reshape(-1, *[1] * (pair.ndim - 1)), pair[:, ::-1], pair)


@dataclass(frozen=True)
class _Tables:
    """What the codes of each store are in the tables of the common one."""

    split: list[NDArray[np.uint8]]
    crs: list[NDArray[np.uint32]]
    first_item: list[int]
    first_scene: list[int]
    slots: int
    """Items that a chip of any store has at most."""

    @classmethod
    def of(cls, stores: Sequence[ChipStore], header: StoreHeader) -> "_Tables":
        found = [store.attributes for store in stores]
        firsts = [
            np.cumsum([0, *(len(one[name]) for one in found[:-1])]).tolist()
            for name in ("items", "scenes")
        ]
        return cls(
            [_codes(one["splits"], header.splits, np.uint8) for one in found],
            [_codes(one["crs_table"], header.crs_table, np.uint32) for one in found],
            firsts[0],
            firsts[1],
            max(store.array("items").shape[-1] for store in stores),
        )

    def coded(self, number: int, batch: Columns) -> Columns:
        """A batch of one store with the codes of the common one."""
        missing = self.slots - batch["items"].shape[-1]
        items = np.pad(batch["items"], ((0, 0), (0, 0), (0, missing)), constant_values=-1)
        return batch | {
            "split": self.split[number][batch["split"]],
            "crs": self.crs[number][batch["crs"]],
            "items": np.where(items < 0, items, items + np.int32(self.first_item[number])),
            "scene": batch["scene"] + np.uint32(self.first_scene[number]),
        }


def _codes(names: Sequence[str], table: Sequence[str], dtype: Any) -> NDArray[Any]:
    return np.asarray([table.index(name) for name in names], dtype)
