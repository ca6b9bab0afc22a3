"""The place where a publication lies: what is there, and how files come there."""

import json
import mimetypes
import posixpath
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import BaseError

from noise2map_core.products.stac.assets import KINDS
from noise2map_core.publishing.layout import Part, Publication
from noise2map_core.runtime.atomic import whole_file
from noise2map_core.runtime.errors import (
    ConfigError,
    OutputError,
    OutputHeldError,
    OutputMismatchError,
    explained,
)
from noise2map_core.runtime.lease import hold_lease
from noise2map_core.runtime.progress import Progress
from noise2map_core.runtime.storage import (
    discard,
    files_in,
    is_local,
    is_web,
    local_copy,
    object_store,
    read_bytes,
    reason,
    size_of,
    sweep,
    upload,
)

NOTE = "publication.json"
"""Says what a place is a publication of; written first."""
LEASE = ".publishing"
FORMAT_VERSION = 1
UPLOADS = 8
"""Files that are on their way at once."""
LASTING = "public, max-age=31536000, immutable"
CHANGING = "no-cache"
"""Caches keep what is never replaced, and ask about what is."""


class Target:
    """A folder or a prefix of objects, which holds one publication and nothing else."""

    def __init__(self, place: Path) -> None:
        if is_web(place):
            raise ConfigError(
                f"cannot write to {place}. Give the bucket behind it (s3://…, gs://…) as --to, and "
                "the web address as --base-url."
            )
        self.place = place

    def sizes(self) -> dict[str, int]:
        """Length of every file that is there, by key."""
        with self._explained():
            if is_local(self.place):
                files = files_in(self.place)
                found = {one.relative_to(self.place).as_posix(): size_of(one) for one in files}
            else:
                pages = obstore.list(object_store(self.place))
                found = {one["path"]: one["size"] for page in pages for one in page}
        return {key: size for key, size in found.items() if not key.startswith(f"{LEASE}/")}

    def require_own(self, found: Publication) -> None:
        """Raise OutputMismatchError if something else lies here."""
        there = self.sizes()
        if NOTE in there:
            if self._read(NOTE) != _note(found):
                raise OutputMismatchError(
                    f"{self.place} holds another publication: {self._told()}. Set another --to, or "
                    "empty this one first."
                )
        elif there:
            raise OutputMismatchError(
                f"{self.place} holds {len(there)} files that are no publication, such as "
                f"{min(there)}. Set a --to where nothing is."
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """For one publisher at a time. Raises OutputHeldError, OutputError."""
        with ExitStack() as stack:
            self._enter(stack)
            if is_local(self.place):
                sweep(self.place)
            yield

    def _enter(self, stack: ExitStack) -> None:
        try:
            stack.enter_context(hold_lease(self.place / LEASE))
        except OutputHeldError as error:
            raise OutputHeldError(
                f"another run publishes to {self.place}, or was killed a minute ago at most. Wait, "
                "and run the same command again."
            ) from error
        except OutputError as error:
            if isinstance(error.__cause__, BaseError | OSError):
                raise self._refused(error.__cause__) from error
            raise

    def claim(self, found: Publication) -> None:
        """Say what this place is for."""
        self._put_text(NOTE, _note(found))

    def put(self, parts: Iterable[Part], bar: Progress, *, lasting: bool) -> None:
        """Bring files here, many at a time; each appears whole."""
        with self._explained(), ThreadPoolExecutor(UPLOADS) as pool:
            waiting = [pool.submit(self._put, part, lasting) for part in parts]
            try:
                for one in waiting:
                    one.result()
                    bar.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def holds(self, part: Part) -> bool:
        """True if the very bytes of a file that may change are there."""
        return self._read(part.key) == read_bytes(part.file).decode()

    def drop(self, keys: Iterable[str], bar: Progress) -> None:
        """Delete files."""
        with self._explained():
            for key in keys:
                discard(self.place / key)
                bar.update()
                if is_local(self.place):
                    _drop_empty(self.place / posixpath.dirname(key), self.place)

    def _put(self, part: Part, lasting: bool) -> None:
        target = self.place / part.key
        if is_local(self.place):
            target.parent.mkdir(parents=True, exist_ok=True)
            with local_copy(part.file) as file, whole_file(target) as partial:
                shutil.copyfile(file, partial)
            return
        with local_copy(part.file) as file:
            upload(file, target, _headers(part.key, lasting))

    def _put_text(self, key: str, text: str) -> None:
        with self._explained(), whole_file(self.place / key) as partial:
            partial.write_text(text, encoding="utf-8")

    def _read(self, key: str) -> str:
        with self._explained():
            try:
                return read_bytes(self.place / key).decode()
            except FileNotFoundError:
                return ""

    def _told(self) -> str:
        try:
            note = json.loads(self._read(NOTE))
            return f"{note['kind']} {note['id']}"[:200]
        except (ValueError, LookupError, TypeError):
            return f"its {NOTE} cannot be read"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> OutputError:
        local = isinstance(error, OSError) and not isinstance(error, BaseError)
        told = explained(error) if local and isinstance(error, OSError) else f"{reason(error)}."
        return OutputError(
            f"cannot publish to {self.place}: {told} What readers saw before is as it was. See to "
            "the keys and their rights (to list, read, write), or set another --to."
        )


def _note(found: Publication) -> str:
    note = {
        "format_version": FORMAT_VERSION, "publication_of": "noise2map", "kind": found.kind,
        "id": found.id, "ground": found.ground, "entry": found.entry,
    }  # fmt: skip
    return json.dumps(note, indent=2) + "\n"


def _headers(key: str, lasting: bool) -> dict[str, str]:
    suffix = posixpath.splitext(key)[1]
    known = KINDS[suffix][0] if suffix in KINDS else mimetypes.guess_type(key)[0]
    kind = "application/geo+json" if posixpath.basename(key).startswith("item.") else known
    return {
        "Content-Type": str(kind or "application/octet-stream"),
        "Cache-Control": LASTING if lasting else CHANGING,
    }


def _drop_empty(folder: Path, root: Path) -> None:
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
