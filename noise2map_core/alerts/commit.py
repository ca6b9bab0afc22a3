"""A state and its tables, changed whole or not at all.

A new state is made beside the old one, in `staged`, of which it begins as a copy: files are linked
and replaced, never written into, so that a copy costs no bytes. When all is there a note says so;
from then on the new state takes the old one's place, whoever has to finish it.
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from noise2map_core.alerts.settle import EVENTS, OBJECTS
from noise2map_core.alerts.store import NAME
from noise2map_core.alerts.tables import ALERTS, HISTORY, REVISIONS
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.storage import sync

STAGED, SNAPSHOTS = "staged", "snapshots"
NOTE = "whole.json"
"""In `staged`: it is whole. Names the snapshots that are to go."""
STATE = (NAME, OBJECTS, EVENTS)
"""A state and what follows from it: all that a replay begins with."""
TABLES = (OBJECTS, EVENTS, ALERTS, HISTORY, REVISIONS)


def stage(folder: Path) -> Path:
    """An empty folder for a new state, beside the one that is there."""
    staged = folder / STAGED
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    return staged


def copy_state(source: Path, target: Path) -> None:
    """Copy a state from one folder into another, by links."""
    target.mkdir(parents=True, exist_ok=True)
    for name in STATE:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, copy_function=os.link)
        else:
            os.link(source / name, target / name)


def commit(folder: Path, dropped: Iterable[str]) -> None:
    """Let what is staged take its place; `dropped`: names of snapshots that hold no more."""
    staged = folder / STAGED
    for inner in (staged, *(path for path in staged.rglob("*") if path.is_dir())):
        sync(inner)
    write_atomically(staged / NOTE, json.dumps({"dropped": sorted(dropped)}) + "\n")
    finish(folder)


def finish(folder: Path) -> None:
    """Finish a commit, if one was begun; nothing where all is done. Safe to repeat."""
    staged = folder / STAGED
    if not (staged / NOTE).exists():
        return
    dropped = json.loads((staged / NOTE).read_text(encoding="utf-8"))["dropped"]
    for name in TABLES:
        if (staged / name).exists():
            (staged / name).replace(folder / name)
    _replace(staged / NAME, folder / NAME)
    (folder / SNAPSHOTS).mkdir(exist_ok=True)
    made = staged / SNAPSHOTS
    for snapshot in sorted(made.iterdir()) if made.is_dir() else ():
        _replace(snapshot, folder / SNAPSHOTS / snapshot.name)
    for name in dropped:
        shutil.rmtree(folder / SNAPSHOTS / name, ignore_errors=True)
    sync(folder)
    shutil.rmtree(staged)


def _replace(new: Path, place: Path) -> None:
    """A folder in the place of another one."""
    if not new.is_dir():
        return
    old = new.with_name(f".{new.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
