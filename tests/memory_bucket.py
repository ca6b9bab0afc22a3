"""Object storage in memory, with writes on condition as S3 has them, for tests without a server."""

from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

PLACES = ("runtime.storage", "runtime.lease", "mapping.shards", "mapping.tile_store")


class Bucket:
    """One store for each location that is asked for."""

    def __init__(self) -> None:
        self.stores: dict[str, MemoryStore] = {}

    def __call__(self, path: Path, give_up_s: float | None = None) -> Any:
        return self.stores.setdefault(str(path), MemoryStore())


def keep_in_memory(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Everything that goes to s3:// from now on goes to a bucket in memory."""
    bucket = Bucket()
    for place in PLACES:
        monkeypatch.setattr(f"noise2map_core.{place}.object_store", bucket)
    return bucket
