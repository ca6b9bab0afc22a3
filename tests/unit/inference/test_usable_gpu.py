"""A GPU for which torch has no code is told before it is used; what the driver answers is given."""

from typing import Any

import pytest
import torch

from noise2map_core.geo.grid import ChipLattice
from noise2map_core.inference.networks.predictor import Predictor
from noise2map_core.inference.networks.usable_gpu import require_usable_gpu
from noise2map_core.inference.numeric_path import NumericPath
from noise2map_core.models.noise2map import Noise2Map
from noise2map_core.runtime.errors import ClusterError
from tests.factories import checkpoint_spec

WHEEL = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


def machine(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], codes: list[str]) -> None:
    answers: dict[str, Any] = {
        "is_available": True, "get_device_capability": capability, "get_arch_list": codes,
        "get_device_name": "Tesla P100",
    }  # fmt: skip
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda answer=answer: answer)


@pytest.mark.parametrize(
    ("capability", "codes"),
    [
        ((9, 0), WHEEL),
        ((8, 9), WHEEL),  # runs sm_80 and sm_86
        ((12, 1), WHEEL),
        ((13, 0), WHEEL),  # compiled by the driver
        ((9, 0), ["sm_90a"]),
    ],
)
def test_what_runs_is_used(
    capability: tuple[int, int], codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, capability, codes)
    require_usable_gpu()


@pytest.mark.parametrize(
    ("capability", "codes"), [((6, 0), WHEEL), ((7, 0), WHEEL), ((8, 0), ["sm_86"]), ((9, 0), [])]
)
def test_what_does_not_is_named_with_the_ways_out(
    capability: tuple[int, int], codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, capability, codes)
    with pytest.raises(ClusterError) as told:
        require_usable_gpu()
    said = str(told.value)
    version = ".".join(map(str, capability))
    assert f"has no code for Tesla P100, of compute capability {version}, only" in said
    assert "Install a torch that is built for it" in said and "\n" not in said


def test_a_torch_without_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(ClusterError, match="built for no CUDA, cannot use the GPU of this node"):
        require_usable_gpu()


def test_no_network_is_moved_to_such_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, (6, 0), WHEEL)
    path = NumericPath("cuda", "any", "float32", batch=4, threads=1, torch="any")
    with pytest.raises(ClusterError, match="Tesla P100"):
        Predictor(Noise2Map(checkpoint_spec()), path, ChipLattice(32, 16), (999,))
