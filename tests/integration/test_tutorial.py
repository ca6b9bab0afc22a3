"""The tutorial for those who come with nothing but a place, word for word."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import rasterio

from noise2map_core.testing.catalog import serve_catalog

pytestmark = pytest.mark.slow

COMMAND = Path(sys.executable).parent / "noise2map"
NAMES = {"https://example.org/stac": "{url}", "sentinel-2-l2a": "oscd"}
"""What the tutorial calls an open catalogue's, and what the local one is called."""


def commands(text: str) -> Iterator[list[str]]:
    for block in re.findall(r"^```\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        yield shlex.split(block.replace("\\\n", " "))


def test_every_command_of_the_tutorial_does_what_it_says(
    checkout: Path, real_data: Path, tmp_path: Path
) -> None:
    text = (checkout / "docs" / "what-changed-in-my-town.md").read_text()
    with serve_catalog(real_data / "stac") as server:
        for words in commands(text):
            assert words[0] == "noise2map"
            here = [NAMES.get(word, word).format(url=server.url) for word in words[1:]]
            ended = subprocess.run(
                [COMMAND, *here], cwd=tmp_path, capture_output=True, text=True, timeout=300
            )
            assert ended.returncode == 0, (words, ended.stderr)
    shown = json.loads((tmp_path / "scenes" / "scenes.json").read_text())
    assert "2015-08-21" in json.dumps(shown) and "2017-10-14" in json.dumps(shown)
    changed = {}
    for name in ("map", "fewer"):
        with rasterio.open(tmp_path / name / "change.tif") as file:
            pixels = file.read(1)
        changed[name] = (pixels == 1).sum() / (pixels != 255).sum()
    assert 0 < changed["fewer"] < changed["map"] < 0.5
    assert (tmp_path / "map" / "report.html").exists() and any((tmp_path / "sample").iterdir())
