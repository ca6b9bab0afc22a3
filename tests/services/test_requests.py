"""What a server that speaks S3 is asked for, by its own log."""

import re
from collections import Counter
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from noise2map_core.runtime.storage import local_copy, location, upload
from tests.mosaic_factories import TILE
from tests.unit.distributed.test_writing import write, writer

pytestmark = pytest.mark.services
MIB = 1 << 20


@pytest.fixture
def output(s3: str) -> Path:
    return location(f"{s3}/{uuid4().hex}")


def asked(log: Path) -> list[tuple[str, str]]:
    """Methods and addresses of all requests so far."""
    return re.findall(r'"([A-Z]+) (/tests/\S*) HTTP', log.read_text())


def test_a_tile_takes_seven_requests(output: Path, s3_log: Path) -> None:
    """An object an array, a record, and two looks at the lease."""
    made = writer(output)
    before = len(asked(s3_log))
    assert write(made, TILE, 1)["unwritten"] == [False]
    assert Counter(method for method, _ in asked(s3_log)[before:]) == {"GET": 2, "PUT": 5}


def test_a_large_object_goes_up_by_parts_in_any_order(
    output: Path, s3_log: Path, tmp_path: Path
) -> None:
    file = tmp_path / "large.tif"
    file.write_bytes(np.random.default_rng(0).bytes(70 * MIB + 1))
    before = len(asked(s3_log))
    upload(file, output / file.name)
    puts = [key for method, key in asked(s3_log)[before:] if method == "PUT"]
    numbers = [int(found[1]) for put in puts if (found := re.search(r"partNumber=(\d+)", put))]
    assert sorted(numbers) == list(range(1, 10)) and len(numbers) == len(puts)
    with local_copy(output / file.name) as copy:
        assert copy.read_bytes() == file.read_bytes()
