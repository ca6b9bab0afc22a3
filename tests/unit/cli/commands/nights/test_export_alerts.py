"""export-alerts as a command."""

import subprocess
import sys
from pathlib import Path

from tests.alert_product_factories import random_state, write_area
from tests.said import errors

COMMAND = Path(sys.executable).parent / "noise2map"


def test_it_writes_says_what_and_refuses_to_replace_it_in_one_line(tmp_path: Path) -> None:
    write_area(tmp_path / "farm", random_state(40, 50))
    output = tmp_path / "a.tif"
    command = [COMMAND, "export-alerts", tmp_path / "farm", "--to", "dist", "--output", output]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, timeout=120) for _ in range(2)
    )
    assert first.returncode == 0, first.stderr
    files = [output.with_suffix(suffix) for suffix in (".qml", ".sld", ".tif")]
    assert first.stdout.splitlines() == [f"alerts   {file}" for file in files]
    (line,) = errors(second.stderr)
    assert second.returncode == 2 and "a.tif is there already; nothing was touched" in line
