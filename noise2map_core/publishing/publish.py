"""Publishing: files first, the documents that name them behind, the entry at the end."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from noise2map_core.products.parts import MapperOf, one_process
from noise2map_core.publishing.address import check_address
from noise2map_core.publishing.layout import Part, Publication, iter_parts, lay_out
from noise2map_core.publishing.source import Bundle, iter_bundle_faults
from noise2map_core.publishing.target import NOTE, Target
from noise2map_core.runtime.errors import ConfigError, OutputError
from noise2map_core.runtime.lease import FENCE, hold_lease
from noise2map_core.runtime.progress import progress
from noise2map_core.runtime.storage import absolute, is_local, is_web


@dataclass(frozen=True)
class Published:
    """What was done."""

    entry: str
    """Address or path of the document by which all is found."""
    sent: int
    """Files that were not there …"""
    sent_bytes: int
    kept: int
    """… and that were."""
    dropped: int = 0
    older: int = 0
    """Files of earlier versions that are still there."""
    notes: tuple[str, ...] = ()

    def summary(self) -> list[str]:
        """Lines for people."""
        sent = f"{self.sent:,} files sent ({self.sent_bytes:,} bytes)" if self.sent else ""
        lines = [
            f"published  {self.entry}",
            f"files      {sent or 'nothing new'}, {self.kept:,} were there",
        ]
        if self.dropped:
            lines.append(f"pruned     {self.dropped:,} files of earlier versions")
        if self.older:
            lines.append(f"older      {self.older:,} files of earlier versions (--prune deletes)")
        return [*lines, *(f"note       {note}" for note in self.notes)]


def publish(
    output: Path,
    place: Path,
    base_url: str = "",
    *,
    prune: bool = False,
    mapper_of: MapperOf = one_process,
) -> Published:
    """Copy a finished map, or an area of nights, to where others read it.

    `base_url`: the web address of `place`, for absolute links; it is tried before readers are led
    to what is new. Files of earlier versions stay, for readers that began with these, until
    `prune`. What is new is read and compared with its digests first, the tiles and files of a map
    by who `mapper_of` gives for it. Raises OutputMismatchError for a place of something else,
    OutputError for a source that is not finished or a place that cannot be written or read; readers
    then see what they saw.
    """
    output, place, base_url = absolute(output), absolute(place), base_url.rstrip("/")
    _require_apart(output, place)
    target = Target(place)
    with ExitStack() as held:
        scratch = Path(held.enter_context(TemporaryDirectory(prefix="noise2map-")))
        found = lay_out(output, scratch, base_url)
        target.require_own(found)
        there = target.sizes()
        new = [bundle for bundle in found.bundles if not _is_there(bundle, found, there)]
        _hold_sources(held, output, new)
        for bundle in new:
            _require_sound(bundle, mapper_of)
        held.enter_context(target.held())
        return _send(target, found, base_url, prune=prune)


def _send(target: Target, found: Publication, base_url: str, *, prune: bool) -> Published:
    target.require_own(found)  # another may have come first
    there = target.sizes()
    if NOTE not in there:
        target.claim(found)
    missing = [[part for part in parts if there.get(part.key) != part.size]
               for parts in found.lasting]  # fmt: skip
    changing = [part for part in found.last if not target.holds(part)]
    sent = [part for parts in (*missing, changing) for part in parts]
    notes: list[str] = []
    with progress(len(sent), "publish", "file") as bar:
        for parts in missing:
            target.put(parts, bar, lasting=True)
        if base_url:
            notes = check_address(base_url, _largest(found))
        for part in changing:
            target.put([part], bar, lasting=False)
    total = list(iter_parts(found))
    older = sorted(set(there) - {part.key for part in total} - {NOTE})
    if prune and older:
        with progress(len(older), "prune", "file") as bar:
            target.drop(older, bar)
    entry = f"{base_url or target.place}/{found.entry}"
    result = Published(entry, len(sent), sum(part.size for part in sent), len(total) - len(sent),
                       notes=tuple(notes))  # fmt: skip
    return replace(result, dropped=len(older)) if prune else replace(result, older=len(older))


def _is_there(bundle: Bundle, found: Publication, there: dict[str, int]) -> bool:
    """True if all files of a bundle were published before, and so were sound."""
    own = {bundle.files[name]: name for name in bundle.files}
    parts = [part for parts in found.lasting for part in parts if part.file in own]
    return all(there.get(part.key) == part.size for part in parts)


def _hold_sources(held: ExitStack, output: Path, new: Sequence[Bundle]) -> None:
    """No run may write what is being sent; of an area, no night. Raises OutputHeldError."""
    if (output.parent / "ledger" / FENCE).exists():
        held.enter_context(hold_lease(output.parent))
    for bundle in new:
        if bundle.mosaic:
            held.enter_context(hold_lease(bundle.folder))


def _require_sound(bundle: Bundle, mapper_of: MapperOf) -> None:
    if faults := list(iter_bundle_faults(bundle, mapper_of)):
        raise OutputError(
            f"{bundle.folder} is not published, for it has {len(faults)} faults: "
            f"{'; '.join(faults)}. `noise2map verify --repair` makes again what is damaged."
        )


def _require_apart(output: Path, place: Path) -> None:
    if is_web(output):
        raise ConfigError(
            f"{output} is an address of the web, where nothing can be listed. Give the folder or "
            "the bucket behind it."
        )
    if is_local(output) and is_local(place):
        inside = place == output or output in place.parents or place in output.parents
        if inside:
            raise ConfigError(f"{place} and {output} lie in one another. Set another --to.")


def _largest(found: Publication) -> Part:
    """The file of which readers read pieces most of all."""
    return max((part for parts in found.lasting for part in parts), key=lambda part: part.size)
