"""Files of parts: every byte once and in its place, whoever writes which range."""

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise2map_core.products import part_files
from noise2map_core.products.part_files import put_part, ranges_of, write_whole
from tests.mappers import elsewhere, pickled

RUNS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 60)), min_size=1)


@given(head=st.integers(0, 50), runs=RUNS, size=st.integers(1, 70), mapper=st.booleans())
def test_a_file_is_its_head_its_runs_and_its_tail(head, runs, size, mapper) -> None:
    rng = np.random.default_rng(1)
    parts = [rng.bytes(100) for _ in range(3)]
    wanted = b"h" * head + b"".join(parts[one][at : at + length] for one, at, length in runs)
    with TemporaryDirectory(prefix=".a.partial.") as name, patch.object(
        part_files, "RANGE_BYTES", size
    ):  # fmt: skip
        for number, body in enumerate(parts):
            assert put_part(Path(name), number, body)
        path, work = Path(name) / "whole", pickled if mapper else elsewhere
        write_whole(path, b"h" * head, np.array(runs, np.int64), Path(name), work, b"tail")
        assert path.read_bytes() == wanted + b"tail"


def test_ranges_begin_where_pages_do_and_none_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_files, "RANGE_BYTES", 4096)
    runs = np.array([(0, 0, 5_000), (1, 7, 10_000), (0, 5_000, 1)], np.int64)
    found = list(ranges_of(100, runs))
    assert [begin for begin, _ in found] == [100, 4096, 8192, 12288]
    assert [int(some[:, 2].sum()) for _, some in found] == [3996, 4096, 4096, 15_101 - 12_288]


def test_a_folder_that_is_not_there_takes_no_part(tmp_path: Path) -> None:
    assert not put_part(tmp_path / "nowhere", 0, b"part")
    assert not (tmp_path / "nowhere").exists()
