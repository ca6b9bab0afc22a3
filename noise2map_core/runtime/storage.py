"""Where outputs lie: on a disk, or as objects at s3://, gs:// or http(s):// (to be read).

A location is a path with `/`, `exists`, `read_bytes`, `glob` and so on wherever it lies: pathlib's
on a disk, universal_pathlib's over obstore elsewhere. Keys and endpoints come from the environment
alone (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, …), never from a
setting.
"""

import copyreg
import os
import posixpath
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Annotated, Any, cast
from urllib.parse import unquote_to_bytes

import obstore
from obstore.store import ObjectStore, from_url
from pydantic import BeforeValidator, PlainSerializer, PlainValidator

SCHEMES = ("s3", "gs", "http", "https")
PARTIAL = ".partial"
"""Ends the name of what is not finished yet; it begins with a dot where it is ours."""
PART_BYTES, MOST_PARTS = 8 << 20, 10_000
"""Of an object that goes up by parts: the least of one, and how many S3 takes."""
HELD_BYTES = 12 * PART_BYTES
"""Of parts under way, in main memory."""
_URL = re.compile(rf"^({'|'.join(SCHEMES)}):/+(?=[^/])")
"""pathlib makes one slash of two: `Path("s3://bucket")` is understood as well."""


def location(text: str | Path) -> Path:
    """The path of a directory or object, local or not. Local ones are pathlib's.

    Raises ValueError for what is neither text nor path, as a YAML file may hold.
    """
    if not isinstance(text, str) and not hasattr(text, "joinpath"):  # no base class is common
        raise ValueError("a path is text")
    require_plain(str(text))
    found = _URL.match(str(text))
    if found is None:
        return Path(local_path(text) if isinstance(text, str) else text)
    return _remote(f"{found[1]}://{str(text)[found.end() :]}")


def local_path(text: str) -> str:
    """The path that a `file:` URL names, in whatever spelling; other text as it is.

    Raises ValueError for a URL that names another host.
    """
    if text[:5].lower() != "file:":
        return text
    rest = text[5:]
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest)
    if host in (".", ".."):
        host, slash, path = "", "", rest[2:]
    if host.lower() not in ("", "localhost") or "%00" in path:
        raise ValueError(f"{text} names no file of this machine: write file:///path")
    whole = os.fsdecode(unquote_to_bytes(slash + path))
    cut = os.fsdecode(unquote_to_bytes(re.split("[?#]", slash + path)[0]))
    found = whole if os.path.exists(whole) else cut
    return re.sub("^//+", "/", found)


def require_plain(path: str) -> None:
    """Raises ValueError for a path with a line break or the like, which no line can name."""
    if any(unicodedata.category(one) == "Cc" for one in path):
        raise ValueError("a path must not hold line breaks or other control characters")


def _remote(url: str) -> Path:
    from obstore.fsspec import register  # slow to import; every command imports this module
    from upath import UPath

    # Not http: what this process opens besides, by fsspec, would be refused as not encrypted.
    register(set(SCHEMES) - {"http"})
    path = UPath(url)
    # A worker that unpickles a location has to register the schemes first.
    copyreg.pickle(cast(Any, type(path)), lambda one: (_remote, (str(one),)))
    return cast(Path, path)


Location = Annotated[
    Path, PlainValidator(location), PlainSerializer(lambda path: str(path), return_type=str)
]
"""A setting that is a location."""


def _writable(given: Any) -> Path:
    found = location(given)
    if is_web(found):
        raise ValueError(
            f"{found} is an address of the web, which is only read: write to a disk, s3:// or gs://"
        )
    return found


Target = Annotated[
    Path, PlainValidator(_writable), PlainSerializer(lambda path: str(path), return_type=str)
]
"""A setting that is a location to be written to."""


def _decoded(given: Any) -> Any:
    if not isinstance(given, str | Path):
        return given
    require_plain(str(given))
    return local_path(given) if isinstance(given, str) else given


LocalPath = Annotated[Path, BeforeValidator(_decoded)]
"""A setting that is a file on a disk."""


def is_local(path: Path) -> bool:
    """True if `path` lies on a disk."""
    return isinstance(path, Path)


def is_web(path: Path) -> bool:
    """True if `path` is an address of the web: read by ranges, neither listed nor written."""
    return str(path).startswith(("http://", "https://"))


def absolute(path: Path) -> Path:
    """A location that means the same to workers, which run in folders of their own."""
    return path.resolve() if is_local(path) else path


def relative(target: Path, folder: Path) -> str:
    """The link in `folder` that leads to `target`, on the same storage."""
    return Path(os.path.relpath(str(target), str(folder))).as_posix()


def joined(folder: Path, href: str) -> Path:
    """What a relative link in `folder` leads to; object storage knows no `..`."""
    if is_local(folder):
        return folder / href
    scheme, _, key = str(folder).partition("://")
    return _remote(f"{scheme}://{posixpath.normpath(posixpath.join(key, href))}")


def scratch_beside(path: Path) -> Path:
    """A local directory, not there yet, from which `publish` can move to `path`."""
    if is_local(path):
        partial = path.with_name(f".{path.name}{PARTIAL}")
        shutil.rmtree(partial, ignore_errors=True)
        return partial
    return Path(mkdtemp(prefix="noise2map-")) / path.name


def zarr_store(path: Path, read_only: bool = False) -> Any:
    """What zarr opens at a location."""
    if is_local(path):
        return path
    # slow to import; every command imports this module
    from zarr.storage import ObjectStore as ZarrStore

    from noise2map_core.runtime.web_store import WebStore  # it imports this module

    if is_web(path):
        return WebStore(path)
    return ZarrStore(object_store(path), read_only=read_only)


def object_store(path: Path, give_up_s: float | None = None) -> ObjectStore:
    """obstore's store whose root is a location that is not local.

    A request is sent anew for minutes; with `give_up_s`, once, and for no longer than that.
    """
    plain = str(path).startswith("http:")
    if give_up_s is None:
        return from_url(str(path), **_PLAIN_HTTP) if plain else from_url(str(path))
    limit = timedelta(seconds=give_up_s)
    plain |= os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "on", "yes", "y", "t")
    return from_url(
        str(path),  # options that are given take the place of those in the environment
        client_options={"timeout": limit, "connect_timeout": limit, "allow_http": plain},
        retry_config={"max_retries": 0, "retry_timeout": limit},
    )


_PLAIN_HTTP: dict[str, Any] = {"client_options": {"allow_http": True}}
_CHECKS: list[Callable[[], None]] = []


@contextmanager
def checked_by(require: Callable[[], None]) -> Iterator[None]:
    """As long as this is open, `require` is asked before this process changes any object; it raises
    if the process has lost the right to."""
    _CHECKS.append(require)
    try:
        yield
    finally:
        _CHECKS.remove(require)


def _require_right() -> None:
    for require in tuple(_CHECKS):
        require()


def version_of(found: Any) -> dict[str, Any]:
    """What names one version of an object, for a write on condition: S3 goes by its tag, Google's
    storage by its version."""
    named = {"e_tag": found.get("e_tag"), "version": found.get("version")}
    return {name: value for name, value in named.items() if value is not None}


def reason(error: Exception) -> str:
    """What storage says of an object, in one line; obstore adds a dump of its own values."""
    text = str(error).partition("Debug source")[0]
    found = re.search(r"<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", text, re.DOTALL)
    told = f"{found[1]}: {found[2]}" if found else text
    return " ".join(told.split()).rstrip(".:")


def upload(file: Path, target: Path, headers: dict[str, str] | None = None) -> None:
    """Put a local file as an object, whole. A large one goes up by parts, several at once and in
    any order, read from the disk as they go. `headers` go with it to whoever reads it:
    Content-Type, Cache-Control."""
    _require_right()
    part = part_bytes(file.stat().st_size)
    obstore.put(
        object_store(target.parent), target.name, file, attributes=cast(Any, headers),
        chunk_size=part, max_concurrency=max(1, HELD_BYTES // part),
    )  # fmt: skip


def part_bytes(size: int) -> int:
    """Bytes of a part of an object of `size` bytes: as few as make no more parts than S3 takes."""
    return max(PART_BYTES, -(-size // MOST_PARTS))


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """A file as one on a disk: itself, or a copy for the time of the body."""
    if is_local(path):
        yield path
        return
    with TemporaryDirectory(prefix="noise2map-") as folder:
        copy = Path(folder) / path.name
        with copy.open("wb") as file:
            for chunk in obstore.get(object_store(path.parent), path.name).stream():
                file.write(chunk)
        yield copy


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises FileNotFoundError."""
    if is_local(path):
        return path.read_bytes()
    return bytes(obstore.get(object_store(path.parent), path.name).bytes())


def read_if_there(path: Path) -> bytes | None:
    """The bytes of a file; None if it is not there, or what it would lie in is a file itself."""
    try:
        return read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def size_of(path: Path) -> int:
    """The length of a file in bytes. Raises FileNotFoundError."""
    if is_local(path):
        return path.stat().st_size
    return int(obstore.head(object_store(path.parent), path.name)["size"])


def files_in(folder: Path) -> list[Path]:
    """All finished files under a directory, sorted by key; none if it is not there."""
    if is_local(folder):
        return sorted(
            path
            for path in folder.rglob("*")
            if not any(PARTIAL in part for part in path.relative_to(folder).parts)
            and path.is_file()
        )
    found = cast(Any, folder).fs.find(folder.path)  # type: ignore[attr-defined]
    root = str(cast(Any, folder).path).rstrip("/")
    return sorted((folder / name[len(root) :].lstrip("/") for name in found), key=str)


def listed(folder: Path, suffix: str) -> list[Path]:
    """The finished files of a directory whose names end with `suffix`, sorted by name.

    A name that begins with a dot is of something unfinished. None if the directory is not there.
    """
    if is_local(folder):
        names = os.listdir(folder) if folder.is_dir() else []
    else:
        found = obstore.list_with_delimiter(object_store(folder))["objects"]
        names = [one["path"].rpartition("/")[2] for one in found]
    wanted = (name for name in names if name.endswith(suffix) and not name.startswith("."))
    return [folder / name for name in sorted(wanted)]


def discard(file: Path) -> None:
    """Delete a file, if it is there."""
    if is_local(file):
        file.unlink(missing_ok=True)
        return
    _require_right()
    with suppress(FileNotFoundError):
        obstore.delete(object_store(file.parent), file.name)


def sync(path: Path) -> None:
    """Wait until a local file's bytes, or a directory's entries, are on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(file: Path, target: Path) -> None:
    """Put a file in the place of another one."""
    if is_local(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
        return
    _require_right()
    target.write_bytes(read_bytes(file))
    file.unlink()


def remove(folder: Path) -> None:
    """Delete a directory and all that it holds, if it is there."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        _require_right()
        cast(Any, folder).rmdir(recursive=True)


def sweep(folder: Path, *, below: bool = True) -> None:
    """Delete what a killed writer left half-written in a directory, and `below` it. Only the holder
    of the lease may. Objects are put whole: there is nothing to delete.

    Where other runs may write below, only what bears our own kind of name goes.
    """
    if not is_local(folder) or not folder.is_dir():
        return
    for partial in list(folder.rglob(f"*{PARTIAL}*") if below else folder.glob(f".*{PARTIAL}*")):
        if partial.is_dir() and not partial.is_symlink():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def publish(folder: Path, target: Path, last: str) -> None:
    """Move a finished directory to a location.

    On a disk it must lie beside its place, where nothing is, and appears whole. Elsewhere its
    objects come one by one, `last` at the end: who finds that finds all.
    """
    if is_local(target):
        for place in (folder, *folder.rglob("*")):
            sync(place)
        folder.rename(target)
        sync(target.parent)
        return
    keys = {path.relative_to(folder).as_posix() for path in files_in(folder)}
    for key in (*sorted(keys - {last}), last):
        if is_local(folder):
            upload(folder / key, target / key)
        else:
            move(folder / key, target / key)
    remove(folder)
