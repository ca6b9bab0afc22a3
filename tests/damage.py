"""Breaking chip stores at random, in every way that storage breaks things."""

from pathlib import Path

import numpy as np

from noise2map_core.chips.manifest import MANIFESTS, read_manifest

KINDS = ("flipped", "cut", "deleted", "swapped", "stale")
"""Of damage: a bit flipped; bytes cut off; the object gone; two objects exchanged; an object as it
was before an append."""


def damage_store(store: Path, old: Path, rng: np.random.Generator, times: int) -> dict[str, str]:
    """Break so many objects of a store, each in another way; returns key and kind.

    Metadata is kept twice; so that one of each is left, only one of the two is broken.
    """
    keys = [*read_manifest(store).objects, *MANIFESTS]
    broken: dict[str, str] = {}
    bare: set[str] = set()
    while len(broken) < times:
        kind = KINDS[int(rng.integers(len(KINDS)))]
        key = keys[int(rng.integers(len(keys)))]
        others = _fellows(store, old, key, kind, keys)
        if not others:
            continue
        other = others[int(rng.integers(len(others)))]
        touched = {key, other} if kind == "swapped" else {key}
        if touched & set(broken) or {_bare(one) for one in touched} & bare:
            continue
        _break(store, old, kind, key, other, rng)
        broken |= dict.fromkeys(touched, kind)
        bare |= {_bare(one) for one in touched}
    return broken


def _bare(key: str) -> str:
    return key.removeprefix("copies/")


def _fellows(store: Path, old: Path, key: str, kind: str, keys: list[str]) -> list[str]:
    """What an object can be exchanged with, or be stale from; itself for the other kinds."""
    if not (store / key).exists():
        return []
    body = (store / key).read_bytes()
    if kind == "swapped":
        array = key.split("/c/")[0]
        fellows = [one for one in keys if one != key and one.split("/c/")[0] == array]
        fellows = fellows or [one for one in keys if _bare(one) != _bare(key)]
        there = [one for one in fellows if (store / one).exists()]
        return [one for one in there if (store / one).read_bytes() != body]
    if kind == "stale":
        return [key] if (old / key).exists() and (old / key).read_bytes() != body else []
    return [key]


def _break(
    store: Path, old: Path, kind: str, key: str, other: str, rng: np.random.Generator
) -> None:
    path = store / key
    body = path.read_bytes()
    if kind == "flipped":
        changed, place = bytearray(body), int(rng.integers(len(body)))
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
    elif kind == "cut":
        path.write_bytes(body[: int(rng.integers(len(body)))])
    elif kind == "deleted":
        path.unlink()
    elif kind == "swapped":
        path.write_bytes((store / other).read_bytes())
        (store / other).write_bytes(body)
    else:
        path.write_bytes((old / key).read_bytes())
