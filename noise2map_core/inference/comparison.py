"""A region against its ledger: which tiles are still to be made.

Band by band, so that the first tiles can be made before the last are looked at, and a region of any
size takes little memory. Nothing here needs torch or Ray: a run with nothing to do is soon over.
"""

from collections.abc import Iterator
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import Ledger

WAVE_TILES = 100_000
"""Tiles that are handed on together. Each such wave starts workers anew, which takes seconds; its
work, hours."""


class Comparison:
    """What a ledger says of a region that is wanted now.

    The sums are complete when `waves` has come to its end.
    """

    def __init__(self, job: RegionJob, ledger: Ledger) -> None:
        self._job, self._view = job, ledger.view()
        self._digest = sha256()
        self.tiles = 0
        """Tiles of the region."""
        self.missing = 0
        """Of these, tiles whose newest record is not done under their key."""

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

    def _missing(self, rows: range) -> NDArray[np.int32]:
        tiles = self._job.grid.tiles_in(rows)
        keys, done = self._job.keys(tiles), self._view.done_keys(rows)
        self._digest.update("".join(keys).encode())
        places = map(tuple, tiles.tolist())
        missing = tiles[[done.get(at) != key for at, key in zip(places, keys, strict=True)]]
        self.tiles, self.missing = self.tiles + len(tiles), self.missing + len(missing)
        return missing
