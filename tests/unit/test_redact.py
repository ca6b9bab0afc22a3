import logging
import pickle

import pytest

from noise2map_core.errors import AssetReadError
from noise2map_core.redact import redacted, silence_secrets, unsigned

SIGNED = (
    "https://a.blob.core.windows.net/c/x.tif?st=2026&se=2026&sp=rl&sv=2021&sr=c&sig=CANARY%2Fx%3D",
    "https://b.s3.amazonaws.com/x.tif?X-Amz-Credential=CANARY%2Fus&X-Amz-Date=2026&X-Amz-Signature=CANARY",
    "https://d.cloudfront.net/x.tif?Expires=1&Signature=CANARY&Key-Pair-Id=K",
    "https://user:CANARY@example.com/x.tif",
    "https://example.com/x.tif?version=2&api_key=CANARY",
)


@pytest.mark.parametrize("href", SIGNED)
def test_no_signature_is_left_in_an_address_or_in_a_text(href: str) -> None:
    assert "CANARY" not in unsigned(href)
    assert unsigned(href).startswith("https://") and "x.tif" in unsigned(href)
    text = redacted(f"GET '{href}' failed (HTTP 403), see {href}")
    assert "CANARY" not in text and "failed (HTTP 403), see https://" in text


@pytest.mark.parametrize(
    "href",
    [
        "https://example.com/x.tif",
        "https://example.com/x.tif?version=2&sr=3&st=a%20b",
        "s3://bucket/a@b/x.tif",
        "/data/a?sig=1.tif",
    ],
)
def test_what_is_no_secret_stays(href: str) -> None:
    assert unsigned(href) == href


def test_other_parameters_outlive_a_signature() -> None:
    assert unsigned(SIGNED[-1]) == "https://example.com/x.tif?version=2"


def test_keys_of_the_environment_are_hidden_wherever_they_turn_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(
        "NOISE2MAP_HEADER_EXAMPLE_COM", "X-Key: CANARY1\nAuthorization: Bearer CANARY2"
    )
    error = AssetReadError("sent CANARY1 and CANARY2")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "sent *** and ***"
    silence_secrets("noise2map.test")
    logging.getLogger("noise2map.test").error("of %s: %s", SIGNED[0], "Bearer CANARY2")
    assert "CANARY" not in caplog.text and "of https://" in caplog.text
