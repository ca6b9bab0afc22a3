import json
import logging
import pickle
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest

from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.runtime.redact import (
    distinguished,
    redacted,
    redacted_document,
    silence_secrets,
    unsigned,
)

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
        "https://example.com/x.tif?version=2&band=3&name=a%20b",
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


NAMES = (
    "access_token", "accessKey", "api-key", "api_key", "apikey", "apiToken", "app_key", "assertion",
    "auth", "auth_token", "Authorization", "AWSAccessKeyId", "bearer", "client_id", "client_secret",
    "code", "credential", "csrf", "digest", "email", "Expires", "hash", "hdnea", "hmac", "id_token",
    "jwt", "k", "key", "Key-Pair-Id", "licence", "license_key", "login", "mac", "mapkey", "nonce",
    "oauth_signature", "oauth_token", "Ocp-Apim-Subscription-Key", "otp", "p", "pass", "passwd",
    "password", "PHPSESSID", "pin", "Policy", "private_key", "pwd", "refresh_token", "s",
    "SAMLResponse", "sas", "se", "secret", "session", "session_id", "sid", "sig", "Signature", "sp",
    "state", "subscription-key", "subscription_key", "t", "tempauth", "ticket", "tk", "token", "u",
    "user", "userkey", "username", "X-Amz-Credential", "X-Amz-Security-Token", "X-Amz-Signature",
    "X-Goog-Signature", "x-token", "__token__",
)  # fmt: skip
SECRETS = ("CaNaRy12secret", "CaNaRy12%2Fse%2Bcret%3D", "CaNaRy.a-b_c~d", "CaNaRy;x", "CaNaRy'x")
PLACES = (
    "https://h.org/x.tif?{name}={secret}",
    "https://h.org/x.tif?version=2&{name}={secret}&band=1",
    "https://h.org/x.tif?version=2;{name}={secret}",
    "https://h.org/x.tif?version=2&amp;{name}={secret}",
    "https://h.org/x.tif#{name}={secret}",
    "https://h.org/x.tif;{name}={secret}",
    "https://u:{secret}@h.org/x.tif",
    "https://{secret}@h.org/x.tif",
    "https://u:p@{secret}@h.org/x.tif",
    "https://h.org/x.tif?file=https%3A%2F%2Fo.org%2Fy%3F{name}%3D{secret}",
    "s3://b/x.tif?{name}={secret}",
)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_of_any_name_are_kept_out_of_addresses_and_texts(name: str) -> None:
    spelled = f"%{ord(name[0]):02x}{name[1:]}"
    for secret in SECRETS if name in ("token", "k") else SECRETS[:2]:
        for place in PLACES:
            href = place.format(name=name, secret=secret)
            assert "CaNaRy" not in unsigned(href), href
            document = json.dumps({"href": href, "number": 1224})
            for text in (href, f"GET '{href}' failed, see ({href}). [{href}, 2]", document):
                assert "CaNaRy" not in redacted(text), text
            assert json.loads(redacted(document))["number"] == 1224
        assert unsigned(f"https://h.org/x.tif?{spelled}={secret}") == "https://h.org/x.tif"
        line = f'"GET /x.tif?version=2&{name}={secret} HTTP/1.1" 200'
        assert redacted(line) == f'"GET /x.tif?version=2&{name}=*** HTTP/1.1" 200'


def test_a_query_without_names_and_a_token_in_a_path_are_hidden() -> None:
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.CaNaRyx-y_z"
    hrefs = (
        "https://h.org/x.tif?CaNaRy12345678",
        f"https://h.org/{jwt}/x.tif",
        "https://h.org/token=CaNaRy12345/x.tif",
        "https://h.org/a;jsessionid=CaNaRy1234/x.tif",
        f"https://h.org/x.tif?id={jwt}",
    )
    for href in hrefs:
        assert "CaNaRy" not in unsigned(href) and "x.tif" in unsigned(href)
        assert "CaNaRy" not in redacted(f"see {href}")
    assert unsigned("https://h.org/year=2020/x.tif") == "https://h.org/year=2020/x.tif"


def test_a_sentence_around_an_address_stays() -> None:
    said = redacted(
        "see (https://h.org/x?token=abc), 'https://h.org/y?token=abc', or: a=b; c & d=e"
    )
    assert said == "see (https://h.org/x?token=***), 'https://h.org/y?token=***', or: a=b; c & d=e"


SHORT = "X-Api-Version: 2\nAccept: application/json\nX-Mode: production\nX-Day: 2024-01-01\nX-Crs: EPSG:4326\nX-Key: 42"  # noqa: E501
DOCUMENT = {
    "bytes": 1224, "type": "application/json", "mode": "production", "day": "2024-01-01",
    "proj:code": "EPSG:4326", "digest": "42ab42", "2": [2, 2.5, True, None], "version": "2",
    "key": "value", "X-Api-Version": 2,
}  # fmt: skip


def test_short_values_numbers_and_words_of_headers_break_no_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOISE2MAP_HEADER_EXAMPLE_ORG", SHORT)
    assert redacted_document(DOCUMENT) == DOCUMENT
    assert json.loads(redacted(json.dumps(DOCUMENT, indent=2))) == DOCUMENT
    assert redacted("1224 pixels of 42 in EPSG:4326, 2024-01-01") == (
        "1224 pixels of 42 in EPSG:4326, 2024-01-01"
    )


@pytest.mark.parametrize(
    "secret",
    ["CaNaRy-12345678", 'CaNaRy"x\\y{1}', "CaNaRy /+=&?x", "CaNaRyCaNaRyCaNaRy", "ünCaNaRy12"],
)
def test_a_secret_is_hidden_in_the_spellings_in_which_it_turns_up(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOISE2MAP_HEADER_EXAMPLE_ORG", f"X-Api-Key: {secret}")
    quoted = [quote(secret), quote(secret, safe=""), quote(secret, safe="").lower()]
    coded = [b64encode(secret.encode()).decode(), urlsafe_b64encode(secret.encode()).decode()]
    for form in (secret, *quoted[:2], *coded, json.dumps(secret)):
        assert form.strip('"') not in redacted(f"sent <{form}>, refused")
    document = {"a": [f"x {secret} y"], "b": 12345678, "https://h.org/?q=1": 1}
    clean = redacted_document(document)
    assert json.loads(json.dumps(clean)) == clean and "CaNaRy" not in json.dumps(clean)
    assert clean["b"] == 12345678


def test_a_password_in_a_basic_header_is_hidden_too(monkeypatch: pytest.MonkeyPatch) -> None:
    code = b64encode(b"me:CaNaRy-password").decode()
    monkeypatch.setenv("NOISE2MAP_HEADER_EXAMPLE_ORG", f"Authorization: Basic {code}")
    assert "CaNaRy" not in redacted("it was CaNaRy-password") and code not in redacted(code)


def test_headers_are_hidden_by_their_names() -> None:
    lines = (
        "Authorization: Bearer abc", "{'authorization': 'Bearer abc'}", "X-Api-Key: abc",
        '{"X-Api-Key": "abc"}', "Cookie: abc", "Ocp-Apim-Subscription-Key=abc",
    )  # fmt: skip
    for line in lines:
        assert "abc" not in redacted(line), line
    assert redacted_document({"Authorization": "abc", "n": 1}) == {"Authorization": "***", "n": 1}


def test_files_that_an_unknown_parameter_tells_apart_are_told_apart() -> None:
    one, two = ("https://h.org/get?scene_number=1&sig=a", "https://h.org/get?scene_number=2&sig=b")
    assert unsigned(one) == unsigned(two) and distinguished(one) != distinguished(two)
    assert distinguished(one) == distinguished(one.replace("sig=a", "sig=c"))
