"""A region against its ledger and its mosaic: which tiles are still to be made.

A tile is kept if its record is of what is wanted and its pixels are there, of the length that the
record says; on request, if they have its digest.
Band by band, so that the first tiles can be made before the last are looked at, and a region of any
size takes little memory. Nothing here needs torch or Ray: a run with nothing to do is soon over.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from noise2map_core.geo.grid import Tile
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import Done, Ledger
from noise2map_core.mapping.shards import Shards
from noise2map_core.runtime.mapper import at_once

WAVE_TILES = 100_000
"""Tiles that are handed on together. Each such wave starts workers anew, which takes seconds; its
work, hours."""


class Comparison:
    """What a ledger says of a region that is wanted now.

    The sums are complete when `waves` has come to its end.
    """

    def __init__(
        self,
        job: RegionJob,
        ledger: Ledger,
        shards: Shards | None = None,
        *,
        digests: bool = False,
    ) -> None:
        """`shards`: where the pixels lie; None: the ledger is taken at its word. `digests`: the
        pixels of every tile are read and compared."""
        self._job, self._view, self._shards = job, ledger.view(), shards
        self._digests = digests
        self._digest = sha256()
        self.tiles = 0
        """Tiles of the region."""
        self.missing = 0
        """Of these, tiles that are to be made."""
        self.lost = 0
        """Of these, tiles that were made, and whose pixels are missing or damaged."""

    @property
    def digest(self) -> str:
        """Digest of every tile's wanted key, in order."""
        return self._digest.hexdigest()

    def waves(self) -> Iterator[NDArray[np.int32]]:
        """[tile, (row, col)] of the tiles that are to be made, by rows; none if there are none.

        The first come as soon as a band has some: work begins before the plan is whole.
        """
        waiting, enough = [], 1
        for rows in self._job.grid.bands():
            waiting.append(self._missing(rows))
            if sum(map(len, waiting)) >= enough:
                yield np.concatenate(waiting)
                waiting, enough = [], WAVE_TILES
        if any(map(len, waiting)):
            yield np.concatenate(waiting)

    def lost_tiles(self) -> NDArray[np.int32]:
        """[tile, (row, col)] of the tiles that were made, and whose pixels are not there."""
        found = [self._look(rows) for rows in self._job.grid.bands()]
        return np.concatenate([tiles[made & ~whole] for tiles, made, whole in found])

    def _missing(self, rows: range) -> NDArray[np.int32]:
        tiles, made, whole = self._look(rows)
        self.tiles += len(tiles)
        self.missing += len(tiles) - int(whole.sum())
        self.lost += int((made & ~whole).sum())
        return tiles[~whole]

    def _look(self, rows: range) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.bool_]]:
        """Tiles of some rows, which were made under their key, and which of these are whole."""
        tiles = self._job.grid.tiles_in(rows)
        keys, done = self._job.keys(tiles), self._view.done(rows)
        self._digest.update("".join(keys).encode())
        places = list(map(tuple, tiles.tolist()))
        made = [at in done and done[at].key == key for at, key in zip(places, keys, strict=True)]
        kept = {at: done[at] for at, is_made in zip(places, made, strict=True) if is_made}
        whole = whole_tiles(kept, rows, self._shards, digests=self._digests)
        return tiles, np.array(made, bool), np.array([at in whole for at in places], bool)


def whole_tiles(
    done: Mapping[tuple[int, int], Done],
    rows: range,
    shards: Shards | None,
    *,
    digests: bool = False,
) -> set[tuple[int, int]]:
    """Of the tiles that a ledger has, those whose pixels are there as their records say."""
    if shards is None or not done:
        return set(done)
    shown = {} if digests else shards.look(rows)
    told = {at: None if digests else shards.tell(said.objects, shown.get(at, {}))
            for at, said in done.items()}  # fmt: skip
    unsure = [at for at, whole in told.items() if whole is None]
    read = at_once(lambda at: shards.is_as_written(Tile(*at), done[at].digest), unsure)
    return {at for at, whole in told.items() if whole} | set(compress(unsure, read))
