"""Secrets in addresses and texts: what must never be written down.

An address keeps the parameters that are known to be harmless and no others: what a server takes as
a key has too many names to know them all. Texts lose the values of these parameters, of headers
that hold keys, and the secrets of the environment wherever they stand; numbers and words stay.
"""

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from noise2map_core.runtime.keys import SECRET_HEADER, Known, known_secrets

MAX_VALUE = 200
"""Characters of a harmless parameter's value."""

HIDDEN = "***"
HARMLESS = (
    "alt", "asset", "assets", "band", "bands", "bbox", "bidx", "col", "collection",
    "collections", "coverage", "coverageid", "crs", "dataset", "date", "datetime", "day", "doy",
    "f", "file", "filename", "format", "generation", "height", "id", "index", "item", "items",
    "lang", "layer", "layers", "level", "limit", "month", "name", "offset", "page", "part",
    "path", "product", "productid", "request", "resolution", "row", "scene", "sceneid",
    "service", "srs", "tile", "time", "tms", "type", "variable", "version", "versionid", "width",
    "x", "y", "year", "z", "zoom",
)  # fmt: skip
"""Names of parameters, in small letters, that say which file it is and open no door."""
_SECRET = (
    r"[\w.-]{0,40}(?:token|secret|passw|pwd|credential|signature|api[_-]?key|subscription[_-]?key"
    r"|access[_-]?key|session)[\w.-]{0,40}|sig|key|auth|jwt|sas|sid"
)
"""Names of secrets, where they stand in a path, or in what need not be an address."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[^\s\"<>]+", re.IGNORECASE)
_USER = re.compile(r"""(://)[^/\s"<>?#\\]*@""")
_VALUE = r"""(?:[^&#;\s"'<>\\]|'(?![,\])}\s:;.]|$)|;(?![\w%.~$\[\]-]+=))+"""
"""Up to what cannot be part of it, the quotation mark of a sentence among that."""
_PARAMETER = re.compile(rf"([?&;#])([\w%.~$\[\]-]+)=({_VALUE})")
_OTHER_PARAMETER = re.compile(rf"([;/]|&amp;)({_SECRET})=([^&#;/\s\"'<>\\]+)", re.IGNORECASE)
_OPAQUE = re.compile(r"""\?[^=&#\s"'<>\\?]{8,}(?=$|[#\s"'<>\\])""")
_HEADER = r"""\b({names})(["']?\s*[:=]\s*)(["']?)((?:bearer|basic|token)\s+)?([^\s"'\\,;{{}}]+)"""
_MATRIX = re.compile(r";([^;/]*=[^;/]*)")
_JWT = re.compile(r"\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?")


def redacted(text: str) -> str:
    """`text` without the keys, signatures and passwords of the addresses in it, nor those that the
    environment holds. JSON stays JSON."""
    text = _USER.sub(rf"\1{HIDDEN}@", text)
    text = _ADDRESS.sub(lambda found: _OPAQUE.sub(f"?{HIDDEN}", found[0]), text)
    known = known_secrets()
    text = _PARAMETER.sub(partial(_hide_parameter, known), text)
    text = _OTHER_PARAMETER.sub(rf"\1\2={HIDDEN}", text)
    text = _JWT.sub(HIDDEN, text)
    names = "|".join([SECRET_HEADER, *map(re.escape, known.names)])
    text = re.sub(_HEADER.format(names=names), _hide_header, text, flags=re.IGNORECASE)
    return known.pattern.sub(HIDDEN, text) if known.pattern else text


def redacted_document(value: Any) -> Any:
    """Plain values, as for JSON, whose texts are redacted; numbers and the shape stay."""
    if isinstance(value, dict):
        return {
            redacted(name) if "://" in str(name) else name: _redacted_field(str(name), part)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_document(part) for part in value]
    return redacted(value) if isinstance(value, str) else value


def unsigned(href: str) -> str:
    """An address without signature, key or user: which file it is, and nothing that changes.

    Of its parameters, those stay that are known to be harmless.
    """
    return _stripped(href, partial(_is_harmless, known_secrets))


def distinguished(href: str) -> str:
    """An address with all that may say which file it is, secrets by their common names aside.

    Never written down: it tells whether two files have one `unsigned` address.
    """
    return _stripped(href, lambda name, _: not _is_signature(name))


def silence_secrets(*loggers: str) -> None:
    """Have the messages of these loggers redacted."""
    for name in loggers:
        logging.getLogger(name).addFilter(_redact_record)


def _stripped(href: str, keep: Callable[[str, str], bool]) -> str:
    if "://" not in href:
        return href
    try:
        address = urlsplit(href)
    except ValueError:
        return redacted(href)
    fields = [field for field in address.query.split("&") if field]
    kept = [field for field in fields if keep(*_name_and_value(field))]
    query = address.query if kept == fields else "&".join(kept)
    web = address.scheme in ("http", "https")
    path = re.sub(rf"/(?:{_SECRET})=[^;/]*", "", address.path, flags=re.IGNORECASE)
    path = _MATRIX.sub(lambda it: it[0] if keep(*_name_and_value(it[1])) else "", path)
    return address._replace(
        netloc=address.netloc.rpartition("@")[2],
        path=_JWT.sub(HIDDEN, path),
        query=query,
        fragment="" if web else address.fragment,
    ).geturl()


def _name_and_value(field: str) -> tuple[str, str]:
    name, _, value = field.partition("=")
    return unquote_plus(name).strip().lower(), unquote_plus(value)


def _is_harmless(known: Callable[[], Known], name: str, value: str) -> bool:
    """True for a parameter that says which file it is; a value may hold an address of its own."""
    plain = len(value) <= MAX_VALUE and not re.search(r"[=;?&#@\\]|://", unquote(value))
    if name not in HARMLESS or not plain or _JWT.search(value):
        return False
    pattern = known().pattern
    return pattern is None or not pattern.search(value)


def _is_signature(name: str) -> bool:
    companions = "x-(?:amz|goog)-.*|awsaccesskeyid|googleaccessid|expires|policy|key-pair-id"
    azure = "s[eiprtv]|spr|sip|sk[estv]|sk[to]id"
    return re.fullmatch(f"{_SECRET}|{companions}|{azure}", name, re.IGNORECASE) is not None


def _hide_parameter(known: Known, found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    shown = value.rstrip(").,:!]}'")
    if _is_harmless(lambda: known, *_name_and_value(f"{name}={shown}")):
        return found[0]
    return f"{mark}{name}={HIDDEN}{value[len(shown) :]}"


def _hide_header(found: re.Match[str]) -> str:
    name, between, mark, scheme, value = found.groups()
    quoted = between[0] in "\"'"
    if value == HIDDEN or (quoted and not mark):  # a number of JSON
        return found[0]
    return f"{name}{between}{mark}{scheme or ''}{HIDDEN}"


def _redacted_field(name: str, value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(SECRET_HEADER, name, re.IGNORECASE):
        return HIDDEN
    return redacted_document(value)


def _redact_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = redacted(record.getMessage()), None
    return True
