import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from noise2map_core.models.spec import SPEC_NAME, read_spec
from noise2map_core.runtime.errors import CheckpointError
from tests.factories import checkpoint_spec


def written(path: Path, **changes: Any) -> Path:
    document = checkpoint_spec().model_dump(mode="json")
    task = document["tasks"]["change"]
    document |= {name: value for name, value in changes.items() if name not in task}
    task |= {name: value for name, value in changes.items() if name in task}
    (path / SPEC_NAME).write_text(json.dumps(document))
    return path


def test_a_spec_survives_json(tmp_path: Path) -> None:
    spec = read_spec(written(tmp_path))
    assert spec == checkpoint_spec()
    assert spec.digest == checkpoint_spec().digest


def test_the_digest_follows_every_field() -> None:
    specs = [
        checkpoint_spec(),
        checkpoint_spec(weights_sha256="ab"),
        checkpoint_spec(threshold={"changed": 0.4}),
        checkpoint_spec(bands=("red", "green")),
    ]
    assert len({spec.digest for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format version 2"),
        ({"format_version": None}, "format version None"),
        ({"colour": 1}, "colour"),
        ({"gsd": "wide"}, "gsd"),
        ({"bands": ["red"]}, "one std per date and band"),
        ({"chip_px": 33}, "multiple of 4"),
        ({"inference_timesteps": [1000]}, "within the schedule"),
        ({"inference_timesteps": []}, "within the schedule"),
        ({"threshold": {"burnt": 0.5}}, "must name classes"),
        ({"tasks": {}}, "tasks"),
        ({"tasks": {"dream": {}}}, "tasks"),
    ],
)
def test_a_spec_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_spec(written(tmp_path, **changes))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_broken_spec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model\.json"):
        read_spec(tmp_path / "nowhere")
    (tmp_path / SPEC_NAME).write_text('{"format_version": 1')
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_spec(tmp_path)
    (tmp_path / SPEC_NAME).write_text("[]")
    with pytest.raises(CheckpointError, match="not a JSON object"):
        read_spec(tmp_path)


def test_reading_a_spec_loads_no_torch() -> None:
    code = "import sys, noise2map_core.models.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
