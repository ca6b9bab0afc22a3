"""Files of the web and of buckets, read by byte ranges: all of them from one version of the file.

GDAL could read them by itself, but it hides what a server says: that it is busy and for how long,
that it sends the whole file instead of a part, that the file is not the one that was begun with.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import cache
from typing import Any

import requests
from rasterio._vsiopener import MultiByteRangeResource, MultiByteRangeResourceContainer

from noise2map_core.catalog.access import MAX_FILE_BYTES, WEB, WarySession, grant_for, request
from noise2map_core.catalog.buckets import object_stated, read_object
from noise2map_core.catalog.scene import BandSource, Stated
from noise2map_core.rasters.multihash import require_checksum
from noise2map_core.runtime.errors import AssetReadError, Noise2MapError
from noise2map_core.runtime.patience import PassingError, passing_answer, status_text

HEAD_BYTES = 32 << 10
"""Read when a file is opened: a COG's tables lie there."""
BLOCK_BYTES = 32 << 10
"""Smaller reads elsewhere take a whole block, and the next ones find it."""
MAX_BLOCKS = 32
"""Kept of one file."""
CHECKED_BYTES = 2 << 20
"""A file up to this size is read whole, and held against the checksum that its item states."""
PARALLEL = 4
"""Ranges of one read that are asked for at once."""
SIDECARS = (".msk", ".ovr", ".aux.xml")

_PLAIN = {"Accept-Encoding": "identity"}
"""Ranges are of the file's own bytes."""


def is_remote(href: str) -> bool:
    """True if a file is read by this module."""
    return href.startswith(("http://", "https://", "s3://"))


def stated(source: BandSource) -> Stated:
    """What the server says of a file, without its bytes. Raises AssetReadError."""
    if source.href.startswith("s3://"):
        return object_stated(source.href, source.patience_s)
    answer = _asked("HEAD", source, {})
    if answer.status_code in (403, 405, 501):  # an address that is signed for GET alone
        return _http_range(source, 0, 1)[1]
    _require_ok(source, answer)
    size = answer.headers.get("Content-Length", "")
    if not size.isdigit():
        return _http_range(source, 0, 1)[1]
    return _http_stated(answer, int(size))


class RemoteFile:
    """A file at an address, as GDAL reads it. A failure is kept, for GDAL cannot hand it on: what
    was read must not be used if there is one."""

    def __init__(self, source: BandSource) -> None:
        """Reads its head. Raises AssetReadError."""
        self._source = source
        self._stated = source.version.stated if source.version else None
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.failure: Noise2MapError | None = None
        self._head = self._begin()

    @property
    def size(self) -> int:
        """Bytes."""
        assert self._stated is not None
        return self._stated.size

    def read(self, start: int, stop: int) -> bytes:
        """Bytes start, …, stop - 1; fewer at the end of the file, or after a failure."""
        stop = min(stop, self.size)
        if start >= stop or self.failure is not None:
            return b""
        if stop <= len(self._head):
            return self._head[start:stop]
        try:
            if stop - start >= BLOCK_BYTES:
                return self._fetch(start, stop)
            numbers = range(start // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES + 1)
            joined = b"".join(map(self._block, numbers))
        except Noise2MapError as error:
            self.failure = error
            return b""
        first = start - numbers.start * BLOCK_BYTES
        return joined[first : first + stop - start]

    def read_all(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several ranges, some at once. Each has its length: after a failure, zeros fill it up."""
        if len(ranges) > 1 and ranges[-1][1] > len(self._head):
            jobs = [(copy_context(), start, stop) for start, stop in ranges]
            found = list(_pool().map(lambda job: job[0].run(self.read, *job[1:]), jobs))
        else:
            found = [self.read(*one) for one in ranges]
        for (start, stop), body in zip(ranges, found, strict=True):
            if len(body) < stop - start and self.failure is None:
                self.failure = AssetReadError(
                    f"asset {self._source.href} is truncated: it ends after {self.size:,} bytes, "
                    f"but places pixels at {stop:,}. Fetch it anew."
                )
        lengths = [stop - start for start, stop in ranges]
        return [body.ljust(length, b"\0") for body, length in zip(found, lengths, strict=True)]

    def _begin(self) -> bytes:
        source, version = self._source, self._source.version
        whole = version is not None and version.stated.size <= CHECKED_BYTES
        if not (whole and source.checksum):
            return self._fetch(0, HEAD_BYTES)
        body = self._fetch(0, self.size)
        require_checksum(source.href, source.checksum or "", body)
        return body

    def _block(self, number: int) -> bytes:
        with self._lock:
            if number not in self._blocks:
                start = number * BLOCK_BYTES
                self._blocks[number] = self._fetch(start, min(start + BLOCK_BYTES, self.size))
                while len(self._blocks) > MAX_BLOCKS:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(number)
            return self._blocks[number]

    def _fetch(self, start: int, stop: int) -> bytes:
        """Bytes from the server, of the version that was begun with. Raises AssetReadError."""
        source = self._source
        if source.href.startswith("s3://"):
            body, found = read_object(source.href, start, stop, source.patience_s)
        else:
            body, found = _http_range(source, start, stop)
        if self._stated is None:
            self._stated = found
        elif self._stated.differs(found):
            raise changed(source.href)
        return body


def changed(href: str) -> AssetReadError:
    """What to say of a file that is not the one that the run began with."""
    return AssetReadError(
        f"asset {href} changed during the run: its tiles would be a mix of two versions. Run the "
        "same command again, which makes them anew."
    )


def _http_range(source: BandSource, start: int, stop: int) -> tuple[bytes, Stated]:
    headers = {**_PLAIN, "Range": f"bytes={start}-{stop - 1}"}
    answer = _asked("GET", source, headers)
    if answer.status_code == requests.codes.requested_range_not_satisfiable:
        known = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", "").strip())
        if start == 0:
            raise AssetReadError(f"asset {source.href} is empty. Fetch it anew.")
        return b"", _http_stated(answer, int(known[1]) if known else start)
    if answer.status_code == requests.codes.ok:
        return _http_whole(source, start, stop)
    _require_ok(source, answer)
    told = answer.headers.get("Content-Range", "").strip()
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", told)
    if found is None or int(found[1]) != start or len(answer.content) != int(found[2]) + 1 - start:
        raise AssetReadError(
            f"asset {source.href}: bytes {start}-{stop - 1} were asked for, and its server answers "
            f"with {told or 'no Content-Range'!r} and {len(answer.content):,} bytes. Use another "
            "mirror, or a copy on disk."
        )
    size = int(found[3])
    if len(answer.content) < min(stop, size) - start:  # a server may give less than was asked for
        rest, _ = _http_range(source, start + len(answer.content), stop)
        return answer.content + rest, _http_stated(answer, size)
    return answer.content[: stop - start], _http_stated(answer, size)


def _http_whole(source: BandSource, start: int, stop: int) -> tuple[bytes, Stated]:
    """A part of a file whose server knows no ranges. Raises AssetReadError for a long one."""
    known = _asked("HEAD", source, _PLAIN).headers.get("Content-Length", "")
    if not known.isdigit() or int(known) > CHECKED_BYTES:
        raise AssetReadError(
            f"asset {source.href}: its server sends whole files only, no byte ranges, which are "
            f"read this way up to {CHECKED_BYTES >> 20} MiB. Use a server that knows ranges, or a "
            "copy on disk."
        )
    answer = _asked("GET", source, _PLAIN)
    _require_ok(source, answer)
    return answer.content[start:stop], _http_stated(answer, len(answer.content))


def _http_stated(answer: requests.Response, size: int) -> Stated:
    headers = answer.headers
    return Stated(size, headers.get("ETag", ""), headers.get("Last-Modified", ""))


def _require_ok(source: BandSource, answer: requests.Response) -> None:
    """Raises AssetReadError for an answer that is not the file."""
    if answer.ok:
        return
    href, told = source.href, status_text(answer.status_code)
    if answer.status_code in (requests.codes.not_found, requests.codes.gone):
        raise AssetReadError(
            f"asset {href} does not exist ({told}). Check the catalogue.", missing=True
        ) from FileNotFoundError(href)
    if passing := passing_answer(answer):
        raise _gave_up(source, str(passing))
    raise AssetReadError(
        f"asset {href} is refused ({told}). Check its keys and the catalogue."
    ) from PermissionError(href)


def _gave_up(source: BandSource, told: str) -> AssetReadError:
    return AssetReadError(
        f"asset {source.href} could not be had within search.patience_s {source.patience_s:g}: "
        f"{told}. Run the same command again later, or set it higher."
    )


class _Sessions(threading.local):
    """Connections that are kept, of each thread, by patience."""

    def __init__(self) -> None:
        self.kept: dict[float, WarySession] = {}


_sessions = _Sessions()


def _asked(method: str, source: BandSource, headers: dict[str, str]) -> requests.Response:
    """The answer of the server, whatever it says, after the last attempt. Raises AssetReadError."""
    if not source.href.startswith(tuple(f"{scheme}://" for scheme in WEB)):
        raise AssetReadError(f"asset {source.href} is at an address of no known kind.")
    kept, patience_s = _sessions.kept, source.patience_s
    session = kept.setdefault(patience_s, WarySession((), MAX_FILE_BYTES, patience_s))
    grant = grant_for(source.href, source.signed)
    try:
        return request(method, grant, session, headers=headers, allow_redirects=True)
    except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as error:
        raise AssetReadError(
            f"asset {source.href} redirects to what is not on the web: {error}. Link to where it "
            "lies."
        ) from error
    except (requests.RequestException, PassingError) as error:
        raise _gave_up(source, " ".join(str(error).split())) from error


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PARALLEL, thread_name_prefix="ranges")


class View:
    """A position in a remote file: what rasterio takes for an open file."""

    def __init__(self, file: RemoteFile) -> None:
        """At the start."""
        self._file, self._at = file, 0

    def __enter__(self) -> "View":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, length: int = -1) -> bytes:
        """The next bytes."""
        body = self._file.read(self._at, self._file.size if length < 0 else self._at + length)
        self._at += len(body)
        return body

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, from the start, from here (1) or from the end (2)."""
        self._at = offset + (0, self._at, self._file.size)[whence]
        return self._at

    def tell(self) -> int:
        """The place."""
        return self._at

    def close(self) -> None:
        """Nothing is open."""

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Several ranges."""
        starts = zip(offsets, sizes, strict=True)
        return self._file.read_all([(start, start + size) for start, size in starts])


MultiByteRangeResource.register(View)


class Opener(MultiByteRangeResourceContainer):  # type: ignore[misc]
    """How rasterio opens a remote file, and beside it what GDAL may look for: masks, overviews."""

    def __init__(self, file: RemoteFile, source: BandSource) -> None:
        """`file` is opened already, so that what is wrong with it is said in our own words."""
        self._files: dict[str, RemoteFile | None] = {source.href: file}
        self._source = source
        self._failure: Noise2MapError | None = None

    def open(self, path: str, mode: str = "r", **_: Any) -> View:
        """A view of the file, or of one that lies beside it. Raises FileNotFoundError."""
        file = self._find(path)
        if file is None:
            raise FileNotFoundError(path)
        return View(file)

    def isfile(self, path: str) -> bool:
        """True if it is there."""
        return self._find(path) is not None

    def isdir(self, path: str) -> bool:
        """There are no folders."""
        return False

    def ls(self, path: str) -> list[str]:
        """Folders are not read."""
        return []

    def mtime(self, path: str) -> int:
        """Not known."""
        return 0

    def size(self, path: str) -> int:
        """Bytes."""
        file = self._find(path)
        return file.size if file else 0

    def rm(self, path: str) -> None:
        """Nothing is deleted."""
        raise PermissionError(path)

    @property
    def failure(self) -> Noise2MapError | None:
        """What went wrong with any of the files."""
        failures = (file.failure for file in self._files.values() if file and file.failure)
        return next(failures, self._failure)

    def _find(self, path: str) -> RemoteFile | None:
        if path not in self._files:
            self._files[path] = self._beside(path)
        return self._files[path]

    def _beside(self, path: str) -> RemoteFile | None:
        if path.removeprefix(self._source.href) not in SIDECARS:
            return None
        source = replace(self._source, href=path, checksum=None, signed="", version=None)
        try:
            return RemoteFile(source)
        except AssetReadError as error:
            if not isinstance(error.__cause__, FileNotFoundError | PermissionError):
                self._failure = error
            return None
