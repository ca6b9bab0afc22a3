"""Secrets in addresses and texts: what must never be written down."""

import logging
import os
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

HEADER_PREFIX = "NOISE2MAP_HEADER_"
"""NOISE2MAP_HEADER_<HOST>: headers for a host, the dots and dashes of its name as underscores."""
KEY_VARIABLES = (
    "PC_SDK_SUBSCRIPTION_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RAY_AUTH_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
)  # fmt: skip
"""Further variables of the environment whose values are secrets."""
MIN_SECRET = 8
"""Shorter values of these may be words of any text."""

HIDDEN = "***"
_SECRET = (
    "sig|signature|token|access_token|auth|key|api[_-]?key|subscription-key|password"
    "|awsaccesskeyid|googleaccessid|x-(?:amz|goog)-(?:signature|credential|security-token)"
)
"""Names of query parameters that open a door."""
_COMPANIONS = "x-(?:amz|goog)-.*|expires|policy|key-pair-id|s[eiprtv]|spr|sip|sk[estv]|sk[to]id"
"""Names of parameters that stand beside a signature and change with it."""
_PARAMETER = re.compile(rf"""([?&;](?:{_SECRET})=)[^&\s"'<>\\)]+""", re.IGNORECASE)
_USER = re.compile(r"""(://)[^/\s@"'<>?#]+@""")


def redacted(text: str) -> str:
    """`text` without the keys, signatures and passwords of the addresses in it, nor those that the
    environment holds for hosts."""
    text = _USER.sub(rf"\1{HIDDEN}@", _PARAMETER.sub(rf"\1{HIDDEN}", text))
    for secret in sorted(_known_secrets(), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def unsigned(href: str) -> str:
    """An address without signature, key or user: which file it is, and nothing that changes."""
    address = urlsplit(href)
    if "://" not in href:
        return href
    host = address.netloc.rpartition("@")[2]
    fields = parse_qsl(address.query, keep_blank_values=True)
    names = [name for name, _ in fields]
    if any(_matches(_SECRET, name) for name in names):
        both = f"{_SECRET}|{_COMPANIONS}"
        fields = [(name, value) for name, value in fields if not _matches(both, name)]
        address = address._replace(query=urlencode(fields))
    return address._replace(netloc=host).geturl()


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(pattern, name, re.IGNORECASE) is not None


def _known_secrets() -> Iterator[str]:
    """Values of headers, of `Authorization: Bearer abc` the last word too."""
    for name, value in os.environ.items():
        if name in KEY_VARIABLES and len(value) >= MIN_SECRET:
            yield from (value, quote(value, safe=""))
        if name.startswith(HEADER_PREFIX):
            for line in value.splitlines():
                secret = line.partition(":")[2].strip()
                yield from (part for part in (secret, secret.split(" ")[-1]) if part)


def silence_secrets(*loggers: str) -> None:
    """Have the messages of these loggers redacted."""
    for name in loggers:
        logging.getLogger(name).addFilter(_redact_record)


def _redact_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = redacted(record.getMessage()), None
    return True
