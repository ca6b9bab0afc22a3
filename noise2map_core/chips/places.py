"""Whole places for training, validation and testing, whatever the parts of a store are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from noise2map_core.chips.store import ChipStore
from noise2map_core.chips.writer import merged_totals
from noise2map_core.labels.splits import ROUNDING_PX, near_pairs
from noise2map_core.runtime.errors import ChipStoreError, ConfigError
from noise2map_core.settings.labels import PlacesConfig

FOLD_FOLDER = "fold-"
"""Of a training's output for each fold, the start of its name; its number follows."""

VAL = "val"
"""The part on which epochs, thresholds and temperatures are chosen."""

CHOSEN_ON = "chosen_on"
"""Attribute of a store whose part of this name stands for `val`."""

Parts = Mapping[str, tuple[str, ...]]
"""Names of places by split."""


def dealt(store: ChipStore, config: PlacesConfig) -> ChipStore:
    """The store with the parts that are set; where none are, with those that its protocol trains
    and judges epochs on. Raises ChipStoreError."""
    if not config.val:
        return as_its_protocol(store)
    named = {"val": config.val, "test": config.test}
    known = _known(store)
    for name in (*config.val, *config.test):
        if name not in known:
            raise ChipStoreError(
                f"chip store {store.path} has no place {name!r}; it has: {', '.join(known)}."
            )
    others = tuple(name for name in known if name not in (*config.val, *config.test))
    if not others:
        raise ChipStoreError(
            f"chip store {store.path}: no place is left to train on. Name fewer of val and test."
        )
    return with_parts(store, {"train": others, **{n: p for n, p in named.items() if p}})


def as_its_protocol(store: ChipStore) -> ChipStore:
    """The store with the part that the protocol of its data set chooses checkpoints on as `val`.

    `paper` chooses on the test part where the authors do: there is no part of that name then.
    """
    chosen_on = judged_on(store)
    if chosen_on == VAL or chosen_on not in store.attributes["splits"]:
        return store
    splits = np.where(
        store.splits == chosen_on, VAL, np.where(store.splits == VAL, "", store.splits)
    )
    renamed = {
        name: _as_val(store.attributes[name], chosen_on) for name in ("statistics", "counts")
    }
    names = [VAL if name == chosen_on else name for name in store.attributes["splits"]]
    changed = {"splits": names, CHOSEN_ON: chosen_on} | renamed
    return replace(store, attributes=store.attributes | changed, parts=splits)


def judged_on(store: ChipStore) -> str:
    """Name of the part on which the protocol of a store's data set chooses checkpoints; val, where
    it is of none."""
    origin: Mapping[str, Any] = store.attributes.get("dataset") or {}
    return str(origin.get("selected_on", VAL))


def require_protocol(store: ChipStore, protocol: str | None) -> None:
    """Raise ConfigError for a store of no data set, ChipStoreError for one that was made under
    another protocol than is asked for; None: none is."""
    origin: Mapping[str, Any] = store.attributes.get("dataset") or {}
    if protocol is None:
        return
    if not origin:
        raise ConfigError(
            f"chip store {store.path} is of no published data set, so there is no protocol. "
            "Leave protocol out."
        )
    if origin["protocol"] != protocol:
        raise ChipStoreError(
            f"chip store {store.path} was made under protocol {origin['protocol']}, not "
            f"{protocol}. Make one with ingest-dataset --protocol {protocol}."
        )


def _as_val(by_split: Mapping[str, Any], name: str) -> dict[str, Any]:
    others = {split: value for split, value in by_split.items() if split not in (name, VAL)}
    return others | {VAL: by_split[name]}


def with_parts(store: ChipStore, parts: Parts) -> ChipStore:
    """The store with these parts; places of none of them are in no split."""
    of_place = {place: split for split, places in parts.items() for place in places}
    splits = np.asarray([of_place.get(place, "") for place in store.places.tolist()])
    totals = store.attributes["places"]
    merged = {split: merged_totals(totals, places) for split, places in parts.items()}
    attributes = store.attributes | {
        "splits": list(parts),
        "statistics": {split: part["statistics"] for split, part in merged.items()},
        "counts": {split: part["counts"] for split, part in merged.items()},
    }
    return replace(store, attributes=attributes, parts=splits)


def folds_of(store: ChipStore, count: int, task: str) -> list[tuple[str, ...]]:
    """The places, dealt out into folds so that each has about as many pixels of the rarer classes.

    Places that touch one another go together. Those with the most go to the fold with the fewest;
    ties by name. Raises ChipStoreError if there are fewer places, apart, than folds.
    """
    groups = _apart(store)
    if len(groups) < max(count, 3):
        raise ChipStoreError(
            f"chip store {store.path} has {len(groups)} place(s) apart: "
            f"{', '.join('+'.join(group) for group in groups)}. {count} folds need "
            f"{max(count, 3)}: ingest more areas into it, or set fewer folds."
        )
    sought = {group: sum(_sought(store, name, task) for name in group) for group in groups}
    folds: list[list[tuple[str, ...]]] = [[] for _ in range(count)]
    for group in sorted(groups, key=lambda group: (-sought[group], group)):
        least = min(folds, key=lambda fold: (len(fold), sum(sought[one] for one in fold)))
        least.append(group)
    return [tuple(sorted(name for group in fold for name in group)) for fold in folds]


def _apart(store: ChipStore) -> list[tuple[str, ...]]:
    """Names of the places, those together that lie nearer than the store's buffer."""
    names = _known(store)
    number = np.searchsorted(names, store.places)
    reach = (store.attributes["buffer_px"] - ROUNDING_PX) * float(store.attributes["gsd"])
    one, other = near_pairs(store.read("footprint"), store.read("crs"), reach)
    links = coo_matrix((np.ones(len(one)), (number[one], number[other])), shape=(len(names),) * 2)
    _, component = connected_components(links, directed=False)
    groups = [np.flatnonzero(component == n) for n in range(component.max() + 1)]
    return [tuple(names[i] for i in group) for group in groups]


def places_of_fold(folds: Sequence[tuple[str, ...]], number: int) -> PlacesConfig:
    """The fold's places for testing, and the next fold's for validation."""
    following = folds[(number + 1) % len(folds)]
    return PlacesConfig(test=folds[number], val=following)


def _known(store: ChipStore) -> list[str]:
    return sorted(store.attributes["places"]["counts"])


def _sought(store: ChipStore, place: str, task: str) -> int:
    """Pixels of a place that are not of its first class."""
    found: Iterable[Any] = store.attributes["places"]["counts"][place]["label_px"][task].values()
    return int(sum(list(found)[1:]))
