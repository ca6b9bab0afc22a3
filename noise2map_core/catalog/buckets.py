"""Files in buckets (`s3://`), reached with the variables that AWS's own tools and GDAL know."""

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store

from noise2map_core.catalog.scene import Stated
from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.runtime.patience import PassingError, patiently
from noise2map_core.runtime.storage import reason

_PASSING = re.compile(
    r"\b(408|429|50[0234])\b|slow ?down|timed? ?out|reset|broken pipe|closed"
    r"|incomplete|unavailable",
    re.IGNORECASE,
)
"""Failures that may be gone a little later; obstore has one class for all of them."""
_ABSENT = re.compile(r"error sending request|connect", re.IGNORECASE)
"""Nobody is there: seldom mended by waiting."""

T = TypeVar("T")


def object_stated(href: str, patience_s: float) -> Stated:
    """What the store says of an object. Raises AssetReadError."""
    bucket, key = _place(href)
    return _stated(_asked(href, lambda: obstore.head(_store(bucket), key), patience_s))


def read_object(href: str, start: int, stop: int, patience_s: float) -> tuple[bytes, Stated]:
    """Bytes start, …, stop - 1 of an object, or fewer at its end, and what the store says of it.

    Raises AssetReadError.
    """
    bucket, key = _place(href)

    def read() -> tuple[bytes, Stated]:
        found = obstore.get(_store(bucket), key, options={"range": (start, stop)})
        return bytes(found.bytes()), _stated(found.meta)

    return _asked(href, read, patience_s)


def _stated(meta: Any) -> Stated:
    return Stated(meta["size"], meta["e_tag"] or "", str(meta["last_modified"]))


def _place(href: str) -> tuple[str, str]:
    address = urlsplit(href)
    return address.netloc, href.partition("://")[2].partition("/")[2]


def _asked(href: str, ask: Callable[[], T], patience_s: float) -> T:
    """What `ask` gives, asked again while it fails in passing."""

    def once() -> T:
        try:
            return ask()
        except (PreconditionError, FileNotFoundError, PermissionError):
            raise
        except BaseError as error:
            told = reason(error)
            if _PASSING.search(told):
                raise PassingError(told) from error
            if _ABSENT.search(told):
                raise PassingError(told, brief=True) from error
            raise

    try:
        return patiently(once, href, patience_s)
    except FileNotFoundError as error:
        text = f"asset {href} does not exist. Check the catalogue."
        raise AssetReadError(text, missing=True) from error
    except PassingError as error:
        raise AssetReadError(
            f"asset {href} could not be had within search.patience_s {patience_s:g}: {error}. Try "
            "again later."
        ) from error
    except (BaseError, PermissionError) as error:
        raise AssetReadError(
            f"asset {href}: {reason(error)}. Check the catalogue's files."
        ) from error


def _store(bucket: str) -> S3Store:
    """A bucket; plain http is allowed only where the endpoint says so."""
    anonymous = os.environ.get("AWS_NO_SIGN_REQUEST", "NO").upper() in ("YES", "TRUE", "ON", "1")
    endpoint = _endpoint()
    return S3Store(
        bucket,
        config={"endpoint": endpoint} if endpoint else None,
        request_payer=os.environ.get("AWS_REQUEST_PAYER") == "requester",
        skip_signature=anonymous,
        client_options={"allow_http": endpoint.startswith("http:")},
        retry_config={"max_retries": 0},  # it waits without a word
    )


def _endpoint() -> str:
    """The store's address, as AWS's tools say it or as GDAL does; "" for AWS's own."""
    known = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    host = os.environ.get("AWS_S3_ENDPOINT", "")
    if known or not host:
        return known
    secure = os.environ.get("AWS_HTTPS", "YES").upper() in ("YES", "TRUE", "ON", "1")
    return f"{'https' if secure else 'http'}://{host}"
