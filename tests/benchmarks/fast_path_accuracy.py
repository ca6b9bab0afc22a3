"""How far the fast path's map is from the float32 map of the same trained checkpoint.

python tests/benchmarks/fast_path_accuracy.py out/taizhou/checkpoint out/taizhou/chips.zarr
"""

from pathlib import Path

import numpy as np
import torch
import tyro

from noise2map_core.chips.store import CHIPS_PER_SHARD, open_store
from noise2map_core.evaluation.batches import ChipReader, iter_batches
from noise2map_core.evaluation.counting import probability_of
from noise2map_core.inference.decision import decide_classes
from noise2map_core.learning.metrics import ConfusionCounts
from noise2map_core.models.checkpoint import load_checkpoint
from noise2map_core.models.fixed_time import inference_dtype
from noise2map_core.models.noise2map import at_timestep

TAIZHOU = Path("out/taizhou")


def main(
    checkpoint: tyro.conf.Positional[Path] = TAIZHOU / "checkpoint",
    chips: tyro.conf.Positional[Path] = TAIZHOU / "chips.zarr",
) -> None:
    """Print one line."""
    if not checkpoint.exists() or not chips.exists():
        print(f"no trained checkpoint at {checkpoint}: see Taizhou in the README")
        return
    torch.set_grad_enabled(False)
    model, store = load_checkpoint(checkpoint), open_store(chips)
    name, spec = model.spec.task_name(), model.spec.task()
    dtype = inference_dtype(model.device)
    fast = {t: at_timestep(model, t, dtype) for t in spec.inference_timesteps}
    counts, largest = ConfusionCounts.empty(len(spec.classes)), 0.0
    reader = ChipReader(store, (name,), cache_bytes=0)
    for batch in iter_batches(reader, store.chips_of(None), CHIPS_PER_SHARD):
        image, valid = batch.inputs(name)
        exact, quick = (
            probability_of(
                torch.stack(
                    [one.logits(image, t, valid, name) for t, one in models.items()]
                ).mean(dim=0).numpy(),
                spec.temperature,
            )
            for models in (dict.fromkeys(fast, model), fast)
        )  # fmt: skip
        seen = valid.all(dim=1).numpy()
        truth = np.where(seen, decide_classes(exact, spec), np.uint8(255))
        counts += ConfusionCounts.of(truth, decide_classes(quick, spec), len(spec.classes))
        largest = max(largest, float(np.abs(exact - quick)[:, 1][seen].max(initial=0)))
    scores = counts.scores(1)
    print(
        f"{dtype} against float32, {counts.num_pixels:,} pixels ({scores.support:,} "
        f"{spec.classes[1].name}): F1 {scores.f1:.5f}, largest difference of probability "
        f"{largest:.4f}"
    )


if __name__ == "__main__":
    tyro.cli(main)
