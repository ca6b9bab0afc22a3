"""Posting JSON to an address that the environment holds."""

import json
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NewConnectionError

from noise2map_core.delivery.sending import NotTakenError
from noise2map_core.delivery.variables import value_of
from noise2map_core.runtime.errors import ConfigError

BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which another attempt may do better."""


def address_in(variable: str, setting: str) -> str:
    """The http address that a variable of the environment holds. Raises ConfigError."""
    address = value_of(variable, setting)
    try:
        parts = urlsplit(address)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fit = False
    if not fit:
        raise ConfigError(
            f"the variable {variable} of the environment, named by {setting}, holds no http "
            "address. Set it, or leave the setting out."
        )
    return address


def post(address: str, body: dict[str, Any], message_id: str, timeout_s: float) -> str:
    """Post once; raises NotTakenError, whose text names the host alone. Redirects are not followed:
    an address that is a key is for one host.

    `Idempotency-Key` lets a receiver know what it has had already.
    """
    headers = {"Content-Type": "application/json", "Idempotency-Key": message_id}
    host = urlsplit(address).hostname
    try:
        answer = requests.post(
            address, data=json.dumps(body, ensure_ascii=False).encode(), headers=headers,
            timeout=timeout_s, allow_redirects=False,
        )  # fmt: skip
    except requests.ConnectTimeout:
        raise NotTakenError(f"{host} was not reached: ConnectTimeout", passing=True) from None
    except requests.RequestException as error:
        reason = f"{host} was not reached: {type(error).__name__}"  # its text holds the address
        raise NotTakenError(reason, passing=True, sure=_never_connected(error)) from None
    if not answer.ok or answer.is_redirect:
        busy = answer.status_code in BUSY
        raise NotTakenError(f"{host} answered {answer.status_code}", passing=busy)
    return ""


def _never_connected(error: requests.RequestException) -> bool:
    """False if a connection broke or fell silent: it may have carried the message."""
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.exceptions.SSLError) or isinstance(cause, NewConnectionError)
