"""ukis-csmask: a U-Net for clouds and their shadows in Sentinel-2 and Landsat.

M. Wieland, Y. Li and S. Martinis, "Multi-sensor cloud and cloud shadow segmentation with a
convolutional neural network", Remote Sensing of Environment 230 (2019).
"""

import json
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import as_file, files
from typing import Any

import numpy as np

from noise2map_core.clouds.detector import Classes, Reflectance
from noise2map_core.runtime.errors import ConfigError

FOUR = ("blue", "green", "red", "nir")
SIX = (*FOUR, "swir16", "swir22")


class UkisCsmask:
    """A `CloudDetector`. Its package blends windows of a whole image, so that a pixel depends on
    where the image begins; its networks are run here on windows that do not."""

    name = "ukis-csmask"
    sensors: tuple[str, ...] = ("sentinel-2", "landsat")
    levels: tuple[str, ...] = ("l1c", "l2a")
    bands: tuple[tuple[str, ...], ...] = (SIX, FOUR)
    pixel_m = 30.0
    pixel_range_m = (8.0, 40.0)
    window_px = 256
    margin_px = 32

    def __init__(self) -> None:
        try:
            self.version = f"{version('ukis-csmask')}, onnxruntime {version('onnxruntime')}"
        except PackageNotFoundError as error:
            raise ConfigError(
                "mask.detector ukis-csmask is not installed: pip install 'noise2map[clouds]'."
            ) from error

    def classes(self, reflectance: Reflectance, bands: tuple[str, ...], level: str) -> Classes:
        """Of a window; 0, 1 and 2 of the network are those of `CloudDetector`."""
        session, mean, std = _network(len(bands), level)
        image = (reflectance - mean) / std
        (logits,) = session.run(None, {session.get_inputs()[0].name: image[None]})
        return np.argmax(logits[0], axis=0).astype(np.uint8)


@lru_cache(maxsize=2)
def _network(num_bands: int, level: str) -> tuple[Any, Reflectance, Reflectance]:
    """Session, and mean and standard deviation [band, 1, 1] that pixels are brought to."""
    import onnxruntime  # an optional extra

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1  # the same sums everywhere
    folder, name = files("ukis_csmask"), f"model_{num_bands}b_{level}"
    with as_file(folder / f"{name}.onnx") as path:
        session = onnxruntime.InferenceSession(
            str(path), settings, providers=["CPUExecutionProvider"]
        )
    stated = json.loads((folder / f"{name}.json").read_text())["data"]["dataset_statistics"]
    mean, std = (np.asarray(part, np.float32)[:, None, None] for part in stated["img"])
    return session, mean, std
