import pytest
import torch

from noise2map_core.inference.numeric_path import resolve_numeric_path
from noise2map_core.models.fixed_time import inference_dtype
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.inference import InferenceConfig


def test_the_processor_decides_about_bfloat16_as_torch_would() -> None:
    path = resolve_numeric_path(InferenceConfig(), gpus=0)
    assert path.device == "cpu" and not path.graphs
    assert getattr(torch, path.dtype) == inference_dtype(torch.device("cpu"))


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_a_precision_that_was_asked_for_is_taken(precision: str, dtype: str) -> None:
    config = InferenceConfig.model_validate({"precision": precision})
    assert resolve_numeric_path(config, gpus=0).dtype == dtype


@pytest.mark.parametrize(("graphs", "expected"), [("auto", True), ("on", True), ("off", False)])
def test_predictors_with_a_gpu_compute_there(graphs: str, expected: bool) -> None:
    path = resolve_numeric_path(InferenceConfig.model_validate({"graphs": graphs}), gpus=0.5)
    assert (path.device, path.dtype, path.graphs) == ("cuda", "bfloat16", expected)


def test_graphs_without_a_gpu_are_bad_input() -> None:
    with pytest.raises(ConfigError, match=r"resources\.predictor_gpus"):
        resolve_numeric_path(InferenceConfig(graphs="on"), gpus=0)


def test_all_that_moves_bits_is_part_of_the_key() -> None:
    config = InferenceConfig(batch=4, threads=2)
    shown = resolve_numeric_path(config, gpus=0).as_dict()
    assert shown.keys() >= {"device", "processor", "dtype", "batch", "threads", "torch", "graphs"}
    assert (shown["batch"], shown["threads"]) == (4, 2)
    assert shown["torch"] == torch.__version__
