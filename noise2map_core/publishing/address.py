"""What the world sees of a publication: the same bytes, by ranges, at its address."""

import requests

from noise2map_core.publishing.layout import Part
from noise2map_core.runtime.errors import OutputError
from noise2map_core.runtime.storage import local_copy

TIMEOUT_S = 30
FIRST, COUNT = 64, 1024
"""Bytes that are asked for."""
ELSEWHERE = "https://viewer.example.org"
"""A page of another host, which a browser would let read only what says that it may be."""


def check_address(base_url: str, part: Part) -> list[str]:
    """Read a piece of a file by its address; what there is to say of it that is no error.

    Raises OutputError if the address gives other bytes than were published, or whole files only.
    """
    url = f"{base_url}/{part.key}"
    expected = _piece(part)
    stop = FIRST + len(expected) - 1
    headers = {
        "Range": f"bytes={FIRST}-{stop}", "Origin": ELSEWHERE, "Accept-Encoding": "identity",
    }  # fmt: skip
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            _require_partial(answer, base_url)
            found = next(answer.iter_content(len(expected) + 1), b"")
    except requests.RequestException as error:
        raise _unfit(base_url, f"it cannot be reached ({type(error).__name__})") from error
    if found != expected:
        raise _unfit(base_url, f"it gives other bytes of {part.key} than were published")
    if "Access-Control-Allow-Origin" in answer.headers:
        return []
    return [
        "pages of other hosts cannot read it in a browser: set CORS rules that allow the header "
        "Range (docs/how-to/publishing.md)"
    ]


def _piece(part: Part) -> bytes:
    with local_copy(part.file) as path, path.open("rb") as file:
        file.seek(FIRST)
        return file.read(COUNT)


def _require_partial(answer: requests.Response, base_url: str) -> None:
    if answer.status_code == requests.codes.ok:
        raise _unfit(base_url, "it does not answer by ranges: it sends whole files (200, not 206)")
    if answer.status_code != requests.codes.partial_content:
        raise _unfit(base_url, f"it answers {answer.status_code} {answer.reason}")


def _unfit(base_url: str, why: str) -> OutputError:
    return OutputError(
        f"base_url {base_url} is not where this is published, or cannot serve it: {why}. Its "
        "readers still see what they saw before. Mend the address or its server, then publish "
        "again: files that are there are not sent again."
    )
