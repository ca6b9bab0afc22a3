"""Keys that the environment holds: for which scheme, host and port they are, and how to know them.

`NOISE2MAP_HEADER_<NAME>` holds headers, one a line ("Authorization: Bearer abc"). They are for
exactly one scheme, host and port: that with which the text begins ("https://data-1.org:8443"),
else https, port 443, at the host that the name spells with dots as underscores.
"""

import json
import os
import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, quote_plus, urlsplit

import idna

HEADER_PREFIX = "NOISE2MAP_HEADER_"
KEY_VARIABLES = (
    "PC_SDK_SUBSCRIPTION_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RAY_AUTH_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCESS_TOKEN",
    "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "GS_SECRET_ACCESS_KEY",
    "GDAL_HTTP_BEARER", "GDAL_HTTP_USERPWD", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
)  # fmt: skip
"""Further variables of the environment whose values are secrets."""
MIN_SECRET = 8
"""Shorter values are hidden where they stand beside their name alone: they may be part of any
number or word."""
MIN_NAMED = 6
"""The same for letters and digits in a header that is named as a key."""
MAX_WORD = 16
"""A longer value is no plain word."""

PORTS = {"http": 80, "https": 443}
_PLAIN_HEADERS = (
    "accept", "accept-charset", "accept-encoding", "accept-language", "cache-control",
    "connection", "content-type", "from", "host", "origin", "pragma", "range", "referer",
    "user-agent",
)  # fmt: skip
"""Headers, in small letters, that hold no key."""
SECRET_HEADER = (
    r"(?:proxy-)?authorization|(?:set-)?cookie|[\w-]{0,40}(?:api-?key|subscription-key)"
    r"|x-[\w-]{0,40}(?:key|token|secret|auth|signature)[\w-]{0,40}"
)
_KEY_NAME = re.compile("key|token|secret|auth|passw|signature|credential|session|cookie|jwt", re.I)
"""What names of headers that hold a key have in them."""
_NUMBER = re.compile(r"[\d.,:/TZeE+ -]+")
_WORDS = re.compile(r"[A-Za-z]+(?:[ :_./+-][A-Za-z]+)*(?:[ :_-]?\d{1,5})?|https?://.*")
"""Words, codes such as EPSG:4326, types, addresses: not by themselves a secret."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a key may be sent."""

    scheme: str
    host: str
    """In small letters and ASCII, without a dot at the end."""
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


@dataclass(frozen=True, slots=True)
class HeaderVariable:
    """A variable of the environment that holds headers."""

    name: str
    origin: Origin | None
    """Where they may be sent; None: that cannot be read."""
    headers: tuple[tuple[str, str], ...] | None = field(repr=False)
    """None: they cannot be read."""


def origin_of(url: str) -> Origin | None:
    """Scheme, host and port of an address on the web; None for another, and for one that programs
    read differently."""
    from urllib3.exceptions import LocationParseError  # slow to import
    from urllib3.util.url import parse_url

    if re.search(r"[\x00-\x1f\x7f\\]", url):
        return None
    try:
        address, other = urlsplit(url), parse_url(url)
        host, port = _plain_host(address.hostname or ""), address.port
        same = _plain_host((other.host or "").strip("[]")) == host and other.port == port
    except (ValueError, LocationParseError):
        return None
    if address.scheme not in PORTS or not host or not same or address.netloc.count("@") > 1:
        return None
    return Origin(address.scheme, host, PORTS[address.scheme] if port is None else port)


def _plain_host(host: str) -> str:
    """One spelling of a host; raises ValueError for what is none."""
    if not host.isascii():
        host = idna.encode(host, uts46=True).decode()  # its errors are ValueErrors
    if not re.fullmatch(r"[a-z0-9._:-]*", host, re.IGNORECASE):
        raise ValueError(host)
    return host.lower().removesuffix(".")


def header_variables() -> tuple[HeaderVariable, ...]:
    """The variables of this process that hold headers, in the order of their names."""
    return _parsed(tuple(sorted((n, v) for n, v in _environment() if n.startswith(HEADER_PREFIX))))


@lru_cache(maxsize=8)
def _parsed(found: tuple[tuple[str, str], ...]) -> tuple[HeaderVariable, ...]:
    return tuple(_variable(name, text) for name, text in found)


def _variable(name: str, text: str) -> HeaderVariable:
    first, *rest = text.strip().split(maxsplit=1) or [""]
    if first.lower().startswith(("http://", "https://")):
        address = urlsplit(first)
        bare = address.path in ("", "/") and not address.query and "@" not in address.netloc
        return HeaderVariable(name, origin_of(first) if bare else None, _lines("".join(rest)))
    host = name.removeprefix(HEADER_PREFIX).lower().replace("_", ".")
    return HeaderVariable(name, origin_of(f"https://{host}"), _lines(text))


def _lines(text: str) -> tuple[tuple[str, str], ...] | None:
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    if not all(name.strip() and colon and value.strip() for name, colon, value in lines):
        return None
    return tuple((name.strip(), value.strip()) for name, _, value in lines)


@dataclass(frozen=True, slots=True)
class Known:
    """What the environment tells of secrets."""

    names: tuple[str, ...]
    """Of headers that hold one."""
    pattern: re.Pattern[str] | None
    """The secrets, in the spellings in which they turn up."""


def _environment() -> tuple[tuple[str, str], ...]:
    """The variables that hold secrets."""
    return tuple(
        (name, value)
        for name, value in os.environ.items()
        if name in KEY_VARIABLES or name.startswith(HEADER_PREFIX)
    )


def known_secrets() -> Known:
    """The secrets of this process's environment."""
    return _known(_environment())


@lru_cache(maxsize=8)
def _known(environment: tuple[tuple[str, str], ...]) -> Known:
    secrets, names = set[str](), list[str]()
    for variable, text in environment:
        if variable in KEY_VARIABLES:
            secrets |= {text} if len(text) >= MIN_SECRET else set()
            continue
        for name, value in _headers(text):
            named = _KEY_NAME.search(name) is not None
            telling = {part for part in _parts(value) if _is_telling(part, named)}
            secrets |= telling
            names += [name] if named or telling else []
    spelled = {form for secret in secrets for form in _spellings(secret)}
    found = "|".join(map(_whole, sorted(spelled, key=len, reverse=True)))
    return Known(tuple(names), re.compile(found) if found else None)


def _whole(secret: str) -> str:
    """A pattern; short secrets are no part of a longer word."""
    short = len(secret) < MIN_SECRET
    return rf"(?<!\w){re.escape(secret)}(?!\w)" if short else re.escape(secret)


def _headers(text: str) -> Iterator[tuple[str, str]]:
    """Names and values of a variable's headers, those aside that hold no key."""
    for line in text.splitlines():
        name, colon, value = re.sub(r"^\s*https?://\S*", "", line).partition(":")
        if colon and name.strip() and name.strip().lower() not in _PLAIN_HEADERS:
            yield name.strip(), value.strip()


def _parts(value: str) -> Iterator[str]:
    """A header's value, of `Bearer abc` the last word, of `Basic abc` the password in it."""
    last = value.split(" ")[-1]
    yield from (value, last)
    if value.lower().startswith("basic "):
        try:
            yield b64decode(last, validate=True).decode().partition(":")[2]
        except (Base64Error, ValueError):
            return


def _is_telling(value: str, named: bool) -> bool:
    """True for a secret that cannot be part of a number or a common word; `named` as a key."""
    mixed = re.search("[A-Za-z]", value) and re.search("[0-9]", value)
    if len(value) < (MIN_NAMED if named and mixed else MIN_SECRET) or _NUMBER.fullmatch(value):
        return False
    if re.fullmatch("[A-Za-z]?[a-z]*|[A-Z]*", value) and len(value) < MAX_WORD:
        return False
    return named or not _WORDS.fullmatch(value)


def _spellings(secret: str) -> Iterator[str]:
    escaped = quote(secret, safe="")
    body = secret.encode()
    yield from (secret, escaped, quote(secret), quote_plus(secret), json.dumps(secret)[1:-1])
    yield re.sub("%..", lambda found: found[0].lower(), escaped)
    yield from (code(body).decode().rstrip("=") for code in (b64encode, urlsafe_b64encode))
