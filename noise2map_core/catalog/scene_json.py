"""Scenes as plain values, to be kept beside what was made of them."""

from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from noise2map_core.catalog.scene import Scene

_SCENE = TypeAdapter(Scene)
_OF_THE_RUN = {"signed", "version", "patience_s"}
_PASSING: Any = {
    "bands": {"__all__": _OF_THE_RUN}, "mask": {"source": _OF_THE_RUN}, "sensor": True,
    "optics": True, "detection": {"bands": {"__all__": _OF_THE_RUN}},
}  # fmt: skip


def scene_to_json(scene: Scene) -> dict[str, Any]:
    """A scene in plain values; hrefs are unsigned, as they are in the scene."""
    found = _SCENE.dump_python(replace(scene, footprint_wkb=b""), mode="json", exclude=_PASSING)
    if scene.detection is None:
        del found["detection"]
    return {**found, "footprint_wkb": scene.footprint_wkb.hex()}


def scene_from_json(found: dict[str, Any]) -> Scene:
    """What `scene_to_json` gave."""
    scene = _SCENE.validate_python({**found, "footprint_wkb": b""})
    return replace(scene, footprint_wkb=bytes.fromhex(found["footprint_wkb"]))
