import json
from pathlib import Path

import pytest

from noise2map_core.catalog.bands import find_bands
from noise2map_core.catalog.item import Item
from noise2map_core.catalog.sensors import find_mask
from noise2map_core.imagery.convention import offset_dn


def item(real_data: Path, name: str) -> Item:
    path = real_data / "items" / f"{name}.json"
    return Item(json.loads(path.read_text()), str(path))


@pytest.mark.parametrize(
    ("name", "added", "mask"),
    [
        ("s2-l2a-baseline-0212", 0, "scl"),
        ("s2-l2a-baseline-0400", -1000, "scl"),
        ("s2-l2a-baseline-0509-antimeridian", -1000, "scl"),
        ("landsat-c2-l2-oli", 0, "qa_pixel"),
        ("landsat-c2-l2-tm", 0, "qa_pixel"),
    ],
)
def test_real_items_give_offset_and_mask(real_data: Path, name: str, added: int, mask: str) -> None:
    document = item(real_data, name)
    found = find_bands(document, ("red",))
    assert found is not None and offset_dn(found.sources[0]) == added
    source = find_mask(document)
    assert source is not None and source.kind == mask


def test_an_offset_that_was_taken_off_already_is_not_taken_off_again(real_data: Path) -> None:
    document = item(real_data, "s2-l2a-baseline-0400")
    document.document["properties"]["earthsearch:boa_offset_applied"] = True
    found = find_bands(document, ("red",))
    assert found is not None and offset_dn(found.sources[0]) == 0


@pytest.mark.parametrize(("baseline", "added"), [("03.01", 0), ("05.10", -1000)])
def test_without_a_stated_offset_the_processing_baseline_decides(
    real_data: Path, baseline: str, added: int
) -> None:
    document = item(real_data, "s2-l2a-baseline-0400")
    document.document["properties"]["s2:processing_baseline"] = baseline
    for asset in document.document["assets"].values():
        asset.pop("raster:bands", None)
    found = find_bands(document, ("red", "aot"))
    assert found is not None
    assert [offset_dn(source) for source in found.sources] == [added, 0]
