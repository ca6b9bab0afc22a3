"""What a map says of where it comes from."""

import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from noise2map_core.catalog.scene import Scene
from noise2map_core.detectors.compared import ComparedSpec, ComparedTask
from noise2map_core.detectors.part_edges import summed_edges
from noise2map_core.detectors.spec import DetectorSpec, MapTask, is_cut, network_of
from noise2map_core.geo.aoi import AreaOfInterest
from noise2map_core.inference.comparison import Comparison
from noise2map_core.inference.region import RegionJob
from noise2map_core.mapping.ledger import Ledger, TileRecord
from noise2map_core.mapping.mosaic import PROBABILITY_SCALE
from noise2map_core.mapping.recut import stored_cut
from noise2map_core.models.shipped import checkpoint_folder
from noise2map_core.models.spec import CARD_NAME, WEIGHTS_NAME
from noise2map_core.models.weight_files import count_parameters
from noise2map_core.products.subject import MapSubject
from noise2map_core.report.cards import SCORES, card_table
from noise2map_core.report.pages import Table

_SEMANTIC = re.compile(r"\d+\.\d+\.\d+(-[\w.-]+)?(\+[\w.-]+)?$", re.ASCII)
_CPUS = {"x86_64": "amd64", "AMD64": "amd64"}
"""Processors that the mlm extension has a word for, by their machine's name."""
MOST_EDGES = 20
"""Edges that a manifest lists, those with the largest jumps."""


def class_table(task: MapTask) -> list[dict[str, Any]]:
    """The classes as plain values, for attributes and items."""
    return [entry.model_dump() for entry in task.classes]


def map_subject(
    job: RegionJob, aoi: AreaOfInterest, threshold: float | None, holes: int
) -> MapSubject:
    """What the products say of the map; `threshold` None: the checkpoint's; `holes`: failed
    tiles."""
    model = _model_facts(job)
    decided_from = (threshold or job.task.decided_from) if is_cut(job.task) else None
    if decided_from is not None:
        model["decision threshold"] = f"{stored_cut(decided_from) / PROBABILITY_SCALE:.4f}"
    return MapSubject(
        aoi, job.before, job.after, job.spec.bands, class_table(job.task), model,
        task=job.task_name, decided_from=decided_from, holes=holes, **_network_facts(job),
    )  # fmt: skip


def _model_facts(job: RegionJob) -> dict[str, str]:
    spec = job.spec
    if isinstance(spec, DetectorSpec):
        return spec.facts()
    network = network_of(spec)
    assert network is not None
    compared = {"change by": "comparing its maps of the two dates"}
    return {
        "checkpoint": job.checkpoint.name,
        "digest": network.digest,
        "preset": network.preset,
        "bands": ", ".join(network.bands),
        "trained at": f"{network.gsd:g} m a pixel",
        **(compared if isinstance(spec, ComparedSpec) else {}),
    }


def _network_facts(job: RegionJob) -> dict[str, Any]:
    """What there is to say of a network, and not of a detector."""
    if isinstance(job.spec, DetectorSpec):
        return {}
    network = network_of(job.spec)
    assert network is not None
    return {
        "mlm": _mlm(job),
        "document": network.model_dump(mode="json"),
        "scores": _scores(checkpoint_folder(job.checkpoint) / CARD_NAME),
    }


def _scores(card: Path) -> Table:
    """Those in a checkpoint's card; none where it has no card, which nothing else needs."""
    return card_table(card.read_text("utf-8", errors="replace"), SCORES) if card.exists() else []


def _mlm(job: RegionJob) -> dict[str, Any]:
    """The model as STAC's mlm extension describes one."""
    chip = job.lattice.chip_px
    task = job.task.of if isinstance(job.task, ComparedTask) else job.task
    shape = [-1, task.num_dates, len(job.spec.bands), chip, chip]
    return {
        "mlm:name": f"noise2map {job.spec.preset} {job.spec.digest[:12]}",
        "mlm:architecture": f"Noise2Map, preset {job.spec.preset}",
        **_framework(job),
        "mlm:total_parameters": count_parameters(checkpoint_folder(job.checkpoint) / WEIGHTS_NAME),
        "mlm:batch_size_suggestion": job.path.batch,
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


def _framework(job: RegionJob) -> dict[str, Any]:
    """What computed the map; a version that is no semantic one is left out, as the extension
    asks."""
    version = {"mlm:framework_version": job.path.torch} if _SEMANTIC.match(job.path.torch) else {}
    return {
        "mlm:framework": "PyTorch",
        **version,
        "mlm:accelerator": "cuda" if job.path.device == "cuda" else _CPUS.get(platform.machine()),
        "mlm:accelerator_constrained": False,
    }


def job_facts(
    job: RegionJob, comparison: Comparison, failed: Sequence[TileRecord]
) -> dict[str, Any]:
    """What the manifest says of a run's inputs and tiles; `failed` are holes in the map."""
    return {
        "model_digest": job.spec.digest,
        "numeric_path": job.path.as_dict(),
        "stride_px": job.lattice.stride_px,
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
            "total": comparison.tiles,
            "predicted": comparison.missing - len(failed),
            "kept": comparison.tiles - comparison.missing,
            "failed": len(failed),
        },
        "holes": [{"tile": [r.row, r.col], "reason": r.reason} for r in failed],
        **_pixel_facts(job),
    }


def _pixel_facts(job: RegionJob) -> dict[str, Any]:
    """Decided pixels with numbers outside the model's range, and those that get another class with
    the dates reversed, where that was tried."""
    strange = strange_tiles = unlike = decided = 0
    for record in done_records(job):
        strange, strange_tiles = (
            strange + record.strange_px,
            strange_tiles + (record.strange_px > 0),
        )
        unlike, decided = unlike + record.unlike_px, decided + record.decided_px
    facts: dict[str, Any] = {"strange_px": {"total": strange, "tiles": strange_tiles}}
    if any(one.reversed_dates for one in job.evidence):
        share = round(unlike / decided, 6) if decided else None
        facts["reversed_dates"] = {"other_class_px": unlike, "share_of_decided": share}
    return facts | _edge_facts(job)


def _edge_facts(job: RegionJob) -> dict[str, Any]:
    """What changed on both sides of where scenes change, if these have statistics of their own."""
    if not job.parts:
        return {}
    edges = summed_edges(done_records(job), job.part_names)
    return {"scene_edges": [edge.as_dict() for edge in edges[:MOST_EDGES]]}


def done_records(job: RegionJob) -> Iterator[TileRecord]:
    """The newest records of the region's finished tiles, a band at a time."""
    view = Ledger(job.output).view()
    for rows in job.grid.bands():
        for record in view.newest(rows):
            if record.status == "done":
                yield record


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
