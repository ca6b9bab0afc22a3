"""Pixels that are gone or damaged: found before the products, made again, never believed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from noise2map_core.cli.commands import verify
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import Ledger
from noise2map_core.products.verification import verify_output
from noise2map_core.runtime.digest import file_sha256
from noise2map_core.runtime.errors import OutputError
from noise2map_core.testing.scenes import EmbeddedCatalog
from noise2map_core.workflows.tools.verify import VerifyConfig
from tests.nightly_factories import random_checkpoint
from tests.region_in_process import in_process, map_here

TILES = 6


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("model") / "random", tuple(embedded.bands))


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedCatalog, checkpoint: Path
) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "map"
    assert map_here(embedded, checkpoint, output).tiles >= TILES
    return output


@pytest.fixture
def output(undisturbed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(undisturbed, tmp_path / "map"))


def files(output: Path) -> dict[str, str]:
    """Digest of the mosaic's files, the rasters and the polygons."""
    found = [path for path in (output / "mosaic.zarr").rglob("*") if path.is_file()]
    found += [*output.glob("*.tif"), *output.glob("polygons.*")]
    return {str(path.relative_to(output)): file_sha256(path) for path in sorted(found)}


def shard(output: Path, name: str = "probability") -> Path:
    return max(
        (output / "mosaic.zarr" / name / "c").glob("*/*"), key=lambda path: path.stat().st_size
    )


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path) -> None:
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)


@pytest.mark.parametrize("damage", [Path.unlink, cut])
def test_a_kept_tile_whose_pixels_are_gone_is_made_again(
    damage: Callable[[Path], None], output: Path, undisturbed: Path,
    embedded: EmbeddedCatalog, checkpoint: Path,
) -> None:  # fmt: skip
    damage(shard(output))
    result = map_here(embedded, checkpoint, output)
    assert result.predicted == 1 and result.figures is not None
    assert "pixels of 1 tile were missing" in "\n".join(result.summary())
    assert files(output) == files(undisturbed)
    assert "complete" in verify_output(output)[0]
    assert map_here(embedded, checkpoint, output).figures is None


@pytest.mark.slow
def test_without_its_mosaic_another_threshold_makes_every_tile_again(
    output: Path, undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    shutil.rmtree(output / "mosaic.zarr")
    other = {"products": {"threshold": 0.4}}
    result = map_here(embedded, checkpoint, output, **other)
    assert result.predicted == result.tiles
    map_here(embedded, checkpoint, tmp_path / "fresh", **other)
    assert files(output) == files(tmp_path / "fresh") != files(undisturbed)


def test_what_is_lost_while_the_run_is_at_work_is_made_again_before_the_products(
    undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    lost: list[int] = []

    def lose(job: RegionJob, made: int) -> None:
        if made == TILES - 1 and not lost:
            shutil.rmtree(job.output / "mosaic.zarr" / "class" / "c")
            lost.append(made)

    map_here(embedded, checkpoint, tmp_path / "map", watch=lose)
    assert files(tmp_path / "map") == files(undisturbed)
    assert "complete" in verify_output(tmp_path / "map")[0]


@pytest.mark.slow
def test_pixels_that_never_stay_are_no_map(
    embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    def lose(job: RegionJob, made: int) -> None:
        shard(job.output, "reason").unlink()

    with pytest.raises(OutputError, match="something else deletes or changes them"):
        map_here(embedded, checkpoint, tmp_path / "map", watch=lose)
    assert not (tmp_path / "map" / "change.tif").exists()


def lose_document(output: Path) -> None:
    (output / "mosaic.zarr" / "class" / "zarr.json").unlink()


def spoil_document(output: Path) -> None:
    (output / "mosaic.zarr" / "zarr.json").write_text("{")


def spoil_item(output: Path) -> None:
    (output / "item.json").write_text("{")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "pixels gone": lambda output: shard(output, "class").unlink(),
    "a bit of the map": lambda output: flip(output / "change.tif"),
    "the map gone": lambda output: (output / "change.tif").unlink(),
    "a bit of the polygons": lambda output: flip(output / "polygons.gpkg"),
    "the item": spoil_item,
    "a coordinate": lambda output: flip(output / "mosaic.zarr" / "x" / "c" / "0"),
    "a document gone": lose_document,
}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda output: flip(shard(output)), id="a bit of the pixels"),
        pytest.param(spoil_document, id="a document cut"),
        *(pytest.param(one, id=name, marks=pytest.mark.slow) for name, one in DAMAGE.items()),
    ],
)
def test_repair_ends_in_the_bytes_that_were_there(
    damage: Callable[[Path], None], output: Path, undisturbed: Path
) -> None:
    damage(output)
    with in_process():
        verify.repair(output)
    assert "complete" in verify_output(output)[0]
    assert files(output) == files(undisturbed)


def test_damage_names_the_way_out(output: Path) -> None:
    flip(shard(output))
    with pytest.raises(OutputError, match=rf"not those that were written.*--repair {output}"):
        verify_output(output)


def test_a_repair_of_what_is_whole_writes_nothing(output: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.*")}
    with in_process():
        assert "nothing new" in verify.repair(output)[-1]
    after = {path: path.stat().st_mtime_ns for path in output.rglob("*.*")}
    own = {output / "ledger" / name for name in ("fence.json", "lease.lock")}
    assert {p: t for p, t in after.items() if p not in own} == {
        p: t for p, t in before.items() if p not in own
    }


def test_records_of_earlier_versions_are_kept_unless_pixels_are_gone(
    output: Path, undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path
) -> None:
    for file in (output / "ledger" / "records").glob("*.json"):
        body = json.loads(file.read_text())
        for tile in body["tiles"]:
            del tile["objects"]
        file.write_text(json.dumps(body))
    assert map_here(embedded, checkpoint, output).predicted == 0
    shard(output).unlink()
    assert map_here(embedded, checkpoint, output).predicted == 1
    assert files(output) == files(undisturbed)


class KilledError(Exception):
    """The run ends here, as a kill would end it."""


def test_a_tile_that_was_being_replaced_is_vouched_for_by_no_record(
    output: Path, undisturbed: Path, embedded: EmbeddedCatalog, checkpoint: Path, tmp_path: Path
) -> None:
    """Another model overwrites a tile and dies before its record: the first's is made again."""
    other = random_checkpoint(tmp_path / "other", tuple(embedded.bands), gsd=11.0)
    with (
        patch("noise2map_core.mapping.mosaic.digest_over", side_effect=KilledError),
        pytest.raises(KilledError),
    ):
        map_here(embedded, other, output)
    (cut_short,) = [one for one in Ledger(output).newest().values() if one.status == "failed"]
    assert "replaced" in cut_short.reason
    assert map_here(embedded, checkpoint, output).predicted == 1
    assert files(output) == files(undisturbed)


def test_a_repair_understands_the_manifest_of_an_earlier_version(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = output / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["config"] |= {"plan": False, "price_per_hour": None}
    file.write_text(json.dumps(manifest))
    with in_process():
        done = verify.run(VerifyConfig(output=output, repair=True))
    assert "nothing new" in capsys.readouterr().out
    assert "complete" in done.summary()[0]
