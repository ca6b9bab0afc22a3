"""Files in buckets (`s3://`), reached with the variables that AWS's own tools know."""

import os
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from noise2map_core.errors import AssetReadError
from noise2map_core.storage import reason


def bucket_settings() -> dict[str, str]:
    """GDAL's settings for what AWS_ENDPOINT_URL says; GDAL reads the other variables itself."""
    address = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
    if not address.netloc or "AWS_S3_ENDPOINT" in os.environ:
        return {}
    secure = "YES" if address.scheme == "https" else "NO"
    return {
        "AWS_S3_ENDPOINT": address.netloc,
        "AWS_HTTPS": secure,
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }


def object_tag(href: str) -> str:
    """The ETag of an object, which changes with its bytes. Raises AssetReadError."""
    address = urlsplit(href)
    try:
        tag = obstore.head(_store(address.netloc), address.path.lstrip("/"))["e_tag"]
    except (BaseError, FileNotFoundError, PermissionError) as error:
        raise AssetReadError(
            f"asset {href}: {reason(error)}. Check the catalogue's files."
        ) from error
    if tag is None:
        raise AssetReadError(f"asset {href}: its store gives no ETag, by which changes are seen.")
    return tag


def _store(bucket: str) -> S3Store:
    """A bucket; plain http is allowed only where the endpoint says so."""
    anonymous = os.environ.get("AWS_NO_SIGN_REQUEST", "NO").upper() in ("YES", "TRUE", "ON", "1")
    return S3Store(
        bucket,
        request_payer=os.environ.get("AWS_REQUEST_PAYER") == "requester",
        skip_signature=anonymous,
        client_options={"allow_http": os.environ.get("AWS_ENDPOINT_URL", "").startswith("http:")},
    )
