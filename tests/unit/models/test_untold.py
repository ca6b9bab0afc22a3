"""Networks that are told no timestep."""

from pathlib import Path
from typing import Any

import pytest
import torch

from noise2map_core.learning.trainer import new_model
from noise2map_core.models.checkpoint import load_checkpoint, save_checkpoint
from noise2map_core.models.noise2map import Noise2Map, at_timestep
from noise2map_core.models.presets import network_of
from noise2map_core.models.spec import CheckpointSpec
from noise2map_core.models.start import require_start
from noise2map_core.runtime.errors import CheckpointError, ConfigError
from noise2map_core.settings.network import Preset
from tests.factories import checkpoint_spec

TOLD = checkpoint_spec(chip_px=32)


def untold(spec: CheckpointSpec) -> CheckpointSpec:
    network: Any = spec.network
    hidden = network.model_copy(update={"unet": network.unet | {"use_timestep": False}})
    return spec.model_copy(update={"network": hidden})


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("told") / "checkpoint"
    save_checkpoint(Noise2Map(TOLD), TOLD, folder, "card")
    return folder


def test_only_x_t_tells_it_of_the_timestep(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Noise2Map(untold(TOLD)).eval()
    x_t = torch.randn(1, 4, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model.judged(x_t, 0, "change"), model.judged(x_t, 999, "change"))
        fast = at_timestep(model, 999, torch.float32).judged(x_t, 999, "change")
        torch.testing.assert_close(fast, model.judged(x_t, 0, "change"), rtol=0, atol=1e-4)
        image = torch.randint(0, 3000, (1, 4, 32, 32)).int()
        assert not torch.allclose(model.logits(image, 0), model.logits(image, 500))
    save_checkpoint(model, model.spec, tmp_path / "c", "card")
    again = load_checkpoint(tmp_path / "c")
    assert again.spec.network == model.spec.network
    with torch.inference_mode():
        assert torch.equal(again.judged(x_t, 7, "change"), model.judged(x_t, 0, "change"))


def test_it_starts_from_a_network_that_was_told_but_not_the_other_way(
    told: Path, tmp_path: Path
) -> None:
    started = new_model(untold(TOLD), 2, torch.device("cpu"), told)
    weights = load_checkpoint(told).state_dict()
    own = started.state_dict()
    assert own.keys() < weights.keys() and all(torch.equal(own[k], weights[k]) for k in own)
    save_checkpoint(started, started.spec, tmp_path / "c", "card")
    with pytest.raises(CheckpointError, match="use_timestep is False, the network's is None"):
        require_start(TOLD.network, tmp_path / "c")


def test_presets_without_a_timestep_have_none_to_hide() -> None:
    presets: tuple[Preset, ...] = ("reference", "base", "small", "tiny")
    for preset in presets:
        network: Any = network_of(preset, 256, tell_timestep=False)
        assert network.unet["use_timestep"] is False
        assert "use_timestep" not in network_of(preset, 256).unet  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"unet knows no timestep.*model\.tell_timestep"):
        network_of("unet", 256, tell_timestep=False)
