"""A second ingest into a store: which chips are new, and how they come into it.

What is added is made beside the store, in `chips.zarr.progress/staged.zarr`: whole shards, from the
last one that is not full on, and the metadata of the store as it will be. A commit moves it in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from noise2map_core.chips.manifest import (
    MANIFEST,
    SOURCES,
    Manifest,
    commit,
    complete,
    is_shard,
    read_manifest,
)
from noise2map_core.chips.pixels import ChipJob
from noise2map_core.chips.plan import ChipTable, table_of
from noise2map_core.chips.sources import Ingest, dump_sources, load_sources
from noise2map_core.chips.store import FORMAT_VERSION, ChipStore, open_store
from noise2map_core.chips.writer import (
    StoreHeader,
    create_store,
    finish_store,
    progress_folder,
    read_ours,
    read_records,
    write_totals,
)
from noise2map_core.geo.grid import RegionGrid
from noise2map_core.labels.splits import ROUNDING_PX, find_too_near
from noise2map_core.runtime.digest import digest_of
from noise2map_core.runtime.errors import OutputMismatchError
from noise2map_core.runtime.storage import remove, sweep

SAME_GROUND_PX2 = 1e-3
"""Areas that differ by less are the same: corners are rounded."""


@dataclass(frozen=True)
class Standing:
    """How an output stands to an ingest."""

    store: ChipStore | None
    """What is there and finished."""
    current: bool
    """True if it holds this very ingest."""


def look_at(path: Path, header: StoreHeader, num_dates: int) -> Standing:
    """What lies at an output.

    Raises OutputMismatchError if it is no store, one that is not finished and of another ingest, or
    one that cannot be appended to; nothing is touched.
    """
    if not path.exists():
        return Standing(None, current=False)
    found = read_ours(path)
    finished, current = (path / MANIFEST).exists(), header.key in found["keys"]
    if not finished and not current:
        raise OutputMismatchError(
            f"chip store {path} is not finished and is of other scenes or settings. Run its own "
            "ingest again, set another --output, or delete it."
        )
    if not finished:
        return Standing(None, current=False)
    store = open_store(path)
    if not current:
        _require_appendable(store, header, num_dates)
    return Standing(store, current)


def complete_append(path: Path) -> None:
    """Move in what a killed append had committed (`is_pending`)."""
    complete(path, staged_folder(path))


def adopt_tiles(path: Path, grid: RegionGrid) -> RegionGrid:
    """The grid with the tiles of the store that is there: they follow from its first region."""
    if not path.exists():
        return grid
    return replace(grid, tile_px=int(read_ours(path).get("tile_px", grid.tile_px)))


def begin(
    path: Path, store: ChipStore | None, header: StoreHeader, ingest: Ingest, table: ChipTable
) -> ChipJob | None:
    """Create what is to be written: a store or, for a finished one, what it lacks of `table`.

    `ingest` is of all chips of `table`. Returns None if nothing is lacking. Raises
    OutputMismatchError for chips that the store has otherwise.
    """
    if store is None:
        job = ChipJob(path, header, (replace(ingest, first=0, stop=table.num_chips),), table)
        if not path.exists():
            create_store(path, header, table, dump_sources(job.ingests[0]))
        sweep(path)
        return job
    job_or_none = _append_job(path, store, header, ingest, table)
    if job_or_none is not None:
        _create_staged(job_or_none)
    return job_or_none


def finish(path: Path, job: ChipJob) -> None:
    """Once all shards are written: the statistics, the manifest, and the store may be read."""
    if job.kept is None:
        finish_store(path)
        return
    store, before = open_store(path), read_manifest(path)
    objects = write_totals(job.store, list(read_records(job.store)), store)
    kept = {key: digest for key, digest in before.objects.items() if is_shard(key)} | objects
    commit(path, job.store, Manifest(FORMAT_VERSION, before.generation + 1, kept))


def staged_folder(path: Path) -> Path:
    """Where an append is made."""
    return progress_folder(path) / "staged.zarr"


def _require_appendable(store: ChipStore, header: StoreHeader, num_dates: int) -> None:
    """Raise OutputMismatchError, naming what differs, unless the chips are of one kind."""
    if not (store.path / SOURCES).exists():
        raise OutputMismatchError(
            f"chip store {store.path} was made from other scenes or settings, and does not say "
            "from which, so nothing can be appended. Set another --output, or delete it."
        )
    mine = header.attributes(0) | {"dtype": header.dtype, "dates": num_dates}
    stored = {"dtype": str(store.array("image").dtype), "dates": store.num_dates}
    theirs = store.attributes | stored
    names = (
        "gsd",
        "tile_px",
        "chip_px",
        "stride_px",
        "dtype",
        "bands",
        "classes",
        "buffer_px",
        "dates",
    )
    for name in names:
        if digest_of(mine[name]) != digest_of(theirs[name]):
            raise _differs(store.path, name, theirs[name], mine[name])
    _require_same_pixels(store, header)


def _require_same_pixels(store: ChipStore, header: StoreHeader) -> None:
    """Places in several zones go into one store; pixels of one CRS lie on one grid, and those of
    all are equally large on the ground."""
    theirs = StoreHeader.of(store)
    origins, crs = dict(zip(theirs.systems, theirs.all_origins, strict=True)), header.grid.crs
    mine = (header.grid.x_origin, header.grid.y_origin)
    if origins.get(crs, mine) != mine:
        raise _differs(store.path, "origin", list(origins[crs]), list(mine))
    if crs not in origins and header.ground_gsd != store.attributes.get("ground_gsd"):
        raise _differs(store.path, "CRS", ", ".join(origins), crs)


def _differs(path: Path, name: str, theirs: Any, mine: Any) -> OutputMismatchError:
    return OutputMismatchError(
        f"chip store {path} was made from other scenes or settings, and cannot be appended to: "
        f"its {name.replace('_', ' ')} is {theirs}, not {mine}. Set another --output."
    )


def _append_job(
    path: Path, store: ChipStore, header: StoreHeader, ingest: Ingest, table: ChipTable
) -> ChipJob | None:
    earlier = load_sources((path / SOURCES).read_bytes(), labels=False)
    _require_same_reading(path, earlier, ingest)
    header, table = _joined_header(store, header, table)
    known = read_table(store)
    fresh = table.chosen(_fresh(path, known, table, earlier, ingest, header.splits))
    if not fresh.num_chips:
        return None
    whole = known.followed_by(fresh)
    _require_apart(path, header, whole)
    last = replace(ingest, first=known.num_chips, stop=whole.num_chips)
    return ChipJob(staged_folder(path.resolve()), header, (*earlier, last), whole, path.resolve())


def _require_same_reading(path: Path, earlier: Sequence[Ingest], ingest: Ingest) -> None:
    if earlier[-1].chips != ingest.chips:
        raise _differs(path, "chips", earlier[-1].chips, ingest.chips)
    for name in ("composite", "mask"):
        theirs, mine = (getattr(one.recipe, name) for one in (earlier[-1], ingest))
        if theirs != mine:
            raise _differs(path, name, theirs, mine)
    theirs, mine = (one.detection for one in (earlier[-1], ingest))
    if theirs != mine:
        raise _differs(path, "mask.detector", theirs, mine)
    stored = {href: identity for one in earlier for href, identity in one.identities.items()}
    for href, identity in ingest.identities.items():
        if stored.get(href, identity) != identity:
            raise OutputMismatchError(
                f"chip store {path} holds pixels of asset {href}, which has changed since. Ingest "
                "into another --output."
            )


def _joined_header(
    store: ChipStore, header: StoreHeader, table: ChipTable
) -> tuple[StoreHeader, ChipTable]:
    """The header of both, and the table in its numbers of items, splits, systems and scenes."""
    kept = StoreHeader.of(store)
    items, splits = list(kept.items), list(kept.splits)
    for item in header.items:
        if item not in items:
            items.append(item)
    splits += [split for split in header.splits if split not in splits]
    numbers = np.asarray([*(items.index(item) for item in header.items), -1], np.int32)
    codes = np.asarray([splits.index(split) for split in header.splits], np.uint8)
    systems = dict(zip(kept.systems, kept.all_origins, strict=True))
    systems |= {header.grid.crs: (header.grid.x_origin, header.grid.y_origin)}
    joined = replace(
        header, items=items, splits=tuple(splits), crs_table=tuple(systems),
        labels_from=tuple(dict.fromkeys((*kept.labels_from, *header.labels_from))),
        origins=tuple(systems.values()), places=(*kept.places, *header.places),
        earlier_keys=tuple(store.attributes["keys"]),
    )  # fmt: skip
    crs = np.full_like(table.crs, list(systems).index(header.grid.crs))
    mine = replace(
        table, items=numbers[table.items], split=codes[table.split], crs=crs,
        scene=table.scene + np.uint32(len(kept.places)),
    )  # fmt: skip
    return joined, mine


def read_table(store: ChipStore) -> ChipTable:
    """The chips of a store, as they were planned."""
    names = ("row", "col", "footprint", "split", "datetime", "items", "crs", "scene")
    columns = {name: store.read(name) for name in names}
    return table_of(columns, store.attributes["gsd"], store.attributes["origins"])


def _fresh(
    path: Path,
    known: ChipTable,
    table: ChipTable,
    earlier: Sequence[Ingest],
    ingest: Ingest,
    splits: Sequence[str],
) -> NDArray[np.int64]:
    """Chips of `table` at places or times, or with ground in the area, that the store lacks."""
    there: dict[tuple[int, ...], list[int]] = {}
    for chip in range(known.num_chips):
        there.setdefault(_place(known, chip), []).append(chip)
    fresh = []
    for chip in range(table.num_chips):
        stored = there.get(_place(table, chip), [])
        for other in stored:
            shared = known.clipped(other).intersect(table.clipped(chip))
            if known.split[other] != table.split[chip] and not shared.is_empty:
                names = splits[known.split[other]], splits[table.split[chip]]
                raise _differs(path, "split", f"{names[0]} at {_corner(known, other)}", names[1])
        theirs = [_ingest_of(earlier, other) for other in stored]
        grounds = [_ground(one, known, other) for one, other in zip(theirs, stored, strict=True)]
        new = shapely.difference(_ground(ingest, table, chip), shapely.union_all(grounds))
        if new.area > SAME_GROUND_PX2 * ingest.grid.resolution**2:
            fresh.append(chip)
        else:
            _require_same_content(path, theirs, ingest)
    return np.asarray(fresh, np.int64)


def _require_same_content(path: Path, earlier: Sequence[Ingest], ingest: Ingest) -> None:
    """Raise OutputMismatchError if chips that are there would now have other labels or numbers."""
    for one in earlier:
        if one.labels_key and one.labels_key != ingest.labels_key:
            raise OutputMismatchError(
                f"chip store {path} holds these chips with other labels: the files of labels, or "
                "what their values mean, have changed since. Ingest into another --output."
            )
        if one.recipe.correction.is_nothing != ingest.recipe.correction.is_nothing:
            raise _differs(path, "radiometry", one.recipe.correction, ingest.recipe.correction)


def _place(table: ChipTable, chip: int) -> tuple[int, ...]:
    where = (table.crs[chip], table.row[chip], table.col[chip])
    return (*map(int, where), *table.datetime[chip].tolist())


def _corner(table: ChipTable, chip: int) -> str:
    return f"row {table.row[chip]}, column {table.col[chip]}"


def _ingest_of(ingests: Sequence[Ingest], chip: int) -> Ingest:
    return next(one for one in ingests if one.first <= chip < one.stop)


def _ground(ingest: Ingest, table: ChipTable, chip: int) -> shapely.Geometry:
    """What a chip shows of its ingest's area."""
    box = ingest.grid.bounds_polygon(table.clipped(chip))
    return shapely.intersection(box, ingest.grid.outline)


def _require_apart(path: Path, header: StoreHeader, table: ChipTable) -> None:
    """Chips of different splits must lie `buffer_px` apart, old and new."""
    top, left, height, width = table.clip.T
    edges = np.stack([left, -(top + height), left + width, -top], axis=1).astype(np.float64)
    names = np.asarray(header.splits)[table.split]
    found = find_too_near(edges, names, table.crs, header.buffer_px - ROUNDING_PX)
    if found is not None:
        one, other = found
        raise OutputMismatchError(
            f"chip store {path} has a chip of {names[one]} ({_corner(table, one)}) nearer than "
            f"{header.buffer_px} pixels to one of {names[other]} ({_corner(table, other)}) that "
            "would come in: training would see what it is judged on. Move the split's places."
        )


def _create_staged(job: ChipJob) -> None:
    """Begin an append, or go on with it; what another one left is dropped."""
    assert job.kept is not None
    sources = dump_sources(job.ingests[-1], (job.kept / SOURCES).read_bytes())
    if job.store.exists() and read_ours(job.store)["key"] != job.header.key:
        remove(job.store)
        remove(progress_folder(job.store))
    if not job.store.exists():
        create_store(job.store, job.header, job.table, sources)
    sweep(job.store)
