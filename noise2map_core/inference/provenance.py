"""What a map says of where it comes from."""

from collections.abc import Sequence
from typing import Any

from noise2map_core.catalog.scene import Scene
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.inference.region import RegionDiff, RegionJob
from noise2map_core.mapping.ledger import Ledger
from noise2map_core.mapping.subject import MapSubject
from noise2map_core.models.spec import WEIGHTS_NAME, TaskSpec


def class_table(task: TaskSpec) -> list[dict[str, Any]]:
    """The classes as plain values, for attributes and items."""
    return [entry.model_dump() for entry in task.classes]


def map_subject(job: RegionJob, aoi: AreaOfInterest) -> MapSubject:
    """What the products say of the map."""
    model = {
        "checkpoint": job.checkpoint.name,
        "digest": job.spec.digest,
        "preset": job.spec.preset,
        "bands": ", ".join(job.spec.bands),
        "trained at": f"{job.spec.gsd:g} m a pixel",
        "decision threshold": f"{job.task.decided_from:.4f}",
    }
    return MapSubject(
        aoi, job.before, job.after, job.spec.bands, class_table(job.task), model,
        mlm=_mlm(job), weights=(job.checkpoint / WEIGHTS_NAME).as_posix(),
    )  # fmt: skip


def _mlm(job: RegionJob) -> dict[str, Any]:
    """The model as STAC's mlm extension describes one."""
    chip, task = job.lattice.chip_px, job.task
    shape = [-1, task.num_dates, len(job.spec.bands), chip, chip]
    return {
        "mlm:name": f"noise2map {job.spec.preset} {job.spec.digest[:12]}",
        "mlm:architecture": f"Noise2Map, preset {job.spec.preset}",
        "mlm:framework": "pytorch",
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:input": [
            {
                "name": "images",
                "bands": list(job.spec.bands),
                "input": {
                    "shape": shape,
                    "dim_order": ["batch", "time", "bands", "height", "width"],
                    "data_type": job.dtype,
                },
            }
        ],
        "mlm:output": [
            {
                "name": "logits",
                "tasks": ["semantic-segmentation"],
                "result": {
                    "shape": [-1, len(task.classes), chip, chip],
                    "dim_order": ["batch", "class", "height", "width"],
                    "data_type": "float32",
                },
                "classification:classes": [
                    {"value": entry.value, "name": entry.name, "description": entry.name}
                    for entry in task.classes
                ],
            }
        ],
        "bands": [{"name": name} for name in job.spec.bands],
    }


def job_facts(job: RegionJob, diff: RegionDiff) -> dict[str, Any]:
    """What the manifest says of a run's inputs and tiles."""
    return {
        "model_digest": job.spec.digest,
        "numeric_path": job.path.as_dict(),
        "grid": {
            "crs": job.grid.crs,
            "resolution": job.grid.resolution,
            "shape": [job.grid.region.height, job.grid.region.width],
            "transform": list(job.grid.transform(job.grid.region))[:6],
            "tile_px": job.grid.tile_px,
        },
        "source_items": {
            "before": _items(job.before, job.identities),
            "after": _items(job.after, job.identities),
        },
        "tiles": {
            "total": diff.tiles,
            "predicted": len(diff.todo),
            "kept": diff.tiles - len(diff.todo),
            "failed": 0,
        },
        "strange_px": _strange_px(job),
    }


def _strange_px(job: RegionJob) -> dict[str, int]:
    """Decided pixels with numbers outside the model's range: in all, and in how many tiles."""
    counts = [
        record.strange_px
        for record in Ledger(job.output).newest().values()
        if record.status == "done" and record.strange_px
    ]
    return {"total": sum(counts), "tiles": len(counts)}


def _items(scenes: Sequence[Scene], identities: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "id": scene.id,
            "collection": scene.collection,
            "datetime": scene.datetime.isoformat(),
            "href": scene.href,
            "attribution": scene.attribution,
            "assets": {
                band.name: {"href": band.href, "identity": identities[band.href]}
                for band in scene.bands
            },
        }
        for scene in scenes
    ]
