"""Of runs that start at once, one gets the lease: on a disk, and on a server that speaks S3."""

from pathlib import Path

import pytest

from tests.benchmarks.lease_races import race

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(300)]
RACES, RUNNERS = 100, 3


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_every_race_has_one_winner_with_a_higher_number(
    where: str, s3: str, tmp_path: Path
) -> None:
    fences = race(f"{s3}/races" if where == "s3" else str(tmp_path / "map"), RACES, RUNNERS)
    assert [len(won) for won in fences] == [1] * RACES
    numbers = [fence for (fence,) in fences]
    assert numbers == sorted(set(numbers))
