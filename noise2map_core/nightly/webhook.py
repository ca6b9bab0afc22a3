"""Telling someone of the night: one POST of the summary, tried several times."""

import json
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from noise2map_core.delivery.posting import address_in
from noise2map_core.runtime.redact import redacted_document
from noise2map_core.workflows.run_nightly import WebhookConfig

PAUSE_S = 0.5
"""Before the second attempt; doubled for each further one."""
TIMEOUT_S = 10.0
BUSY = (429, 500, 502, 503, 504)


def webhook_address(config: WebhookConfig) -> str | None:
    """The address in the environment; None if nobody is to be told. Raises ConfigError."""
    if config.url_variable is None:
        return None
    return address_in(config.url_variable, "webhook.url_variable")


def post_summary(address: str, document: dict[str, Any], attempts: int) -> str:
    """Post a document as JSON without secrets; what became of it, in one line.

    The map is made whoever hears of it: a message that does not arrive is said, and is no failure
    of the night. The address is named by its host alone.
    """
    host = urlsplit(address).hostname
    body = json.dumps(redacted_document(document)).encode()
    try:
        with _session(attempts) as session:
            answer = session.post(
                address, data=body, headers={"Content-Type": "application/json"},
                timeout=TIMEOUT_S, allow_redirects=False,
            )  # fmt: skip
    except requests.RequestException as error:
        reason = type(error).__name__  # its text holds the address
        return f"warning: webhook at {host} was not reached in {attempts} attempts: {reason}"
    if not answer.ok or answer.is_redirect:
        return f"warning: webhook at {host} answered {answer.status_code}"
    return f"webhook at {host} was told"


def _session(attempts: int) -> requests.Session:
    session = requests.Session()
    retry = Retry(
        attempts - 1, backoff_factor=PAUSE_S, status_forcelist=BUSY, allowed_methods=None,
        raise_on_status=False,
        respect_retry_after_header=False,  # it may ask for days, and the night is over
    )  # fmt: skip
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session
