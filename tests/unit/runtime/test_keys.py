"""A key goes to the scheme, host and port that it is for, and nowhere else."""

import pytest

from noise2map_core.catalog import access
from noise2map_core.catalog.access import Grant, WarySession, environment_headers
from noise2map_core.runtime.errors import AssetReadError
from noise2map_core.runtime.keys import origin_of
from noise2map_core.testing.catalog import serve_catalog
from noise2map_core.testing.guard import Guard
from noise2map_core.testing.scenes import EmbeddedCatalog

NAMED = "NOISE2MAP_HEADER_DATA_EXAMPLE_ORG"
KEY = ("X-Api-Key", "CANARY-1")


def sent(url: str) -> tuple[tuple[str, str], ...]:
    return environment_headers(Grant(url)).headers


@pytest.mark.parametrize(
    "url",
    [
        "https://data.example.org/x.tif",
        "https://data.example.org",
        "https://data.example.org:443/x.tif",
        "HTTPS://Data.Example.ORG/x.tif",
        "https://data.example.org./x.tif?y=http://other.org",
    ],
)
def test_a_host_by_its_name_is_https_at_its_own_port(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAMED, "X-Api-Key: CANARY-1")
    assert sent(url) == (KEY,)


@pytest.mark.parametrize(
    "url",
    [
        "http://data.example.org/x.tif",
        "http://data.example.org:443/x.tif",
        "https://data.example.org:8443/x.tif",
        "https://data-example.org/x.tif",
        "https://data.example-org/x.tif",
        "https://data_example_org/x.tif",
        "https://data-example-org/x.tif",
        "https://a.data.example.org/x.tif",
        "https://example.org/x.tif",
        "https://data.example.org.evil.org/x.tif",
        "https://data.example.org@evil.org/x.tif",
        "https://data.example.org:443@evil.org/x.tif",
        "https://evil.org/https://data.example.org/",
        "https://evil.org?@data.example.org/",
        "https://evil.org#@data.example.org/",
        "https://evil.org\\@data.example.org/x.tif",
        "https://evil.org\n@data.example.org/x.tif",
        "https://a@evil.org@data.example.org/x.tif",
        "https://data.example.org:port/x.tif",
        "https://data%2Eexample%2Eorg/x.tif",
        "https://d\N{CYRILLIC SMALL LETTER A}ta.example.org/x.tif",
        "ftp://data.example.org/x.tif",
        "s3://data.example.org/x.tif",
        "//data.example.org/x.tif",
        "/data.example.org/x.tif",
    ],
)
def test_no_other_host_scheme_or_port_is_sent_a_key(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAMED, "X-Api-Key: CANARY-1")
    assert sent(url) == ()


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("http://127.0.0.1:8080\nX-Api-Key: CANARY-1", "http://127.0.0.1:8080/a", "http://127.0.0.1/a"),
        ("https://data-1.org X-Api-Key: CANARY-1", "https://DATA-1.org/a", "https://data.1.org/a"),
        ("https://data-1.org:8443/ X-Api-Key: CANARY-1", "https://data-1.org:8443", "https://data-1.org"),
        ("http://[::1]:80\nX-Api-Key: CANARY-1", "http://[::1]/a", "https://[::1]/a"),
        ("https://münchen.example X-Api-Key: CANARY-1", "https://xn--mnchen-3ya.example/a",
         "https://munchen.example/a"),
        ("https://xn--mnchen-3ya.example X-Api-Key: CANARY-1", "https://MÜNCHEN.example/a",
         "http://münchen.example/a"),
        ("https://straße.example X-Api-Key: CANARY-1", "https://straße.example", "https://strasse.example"),
    ],
)  # fmt: skip
def test_an_origin_that_is_written_out_is_taken_as_it_is(
    text: str, inside: str, outside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOISE2MAP_HEADER_ANY", text)
    assert sent(inside) == (KEY,) and sent(outside) == ()


@pytest.mark.parametrize(
    "text",
    ["CANARY-1", "https://data.example.org CANARY-1", "https://data.example.org/path X: CANARY-1",
     "https://user@data.example.org X: CANARY-1", "https://data.example.org:x X: CANARY-1",
     "https://data.example.org?q=1 X: CANARY-1", ": CANARY-1", "X-Api-Key:"],
)  # fmt: skip
def test_a_variable_that_cannot_be_read_is_refused_without_its_text(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAMED, text)
    with pytest.raises(AssetReadError, match=f"{NAMED} is not of the form") as refused:
        sent("https://data.example.org/x.tif")
    assert "CANARY" not in str(refused.value)


def test_several_headers_of_several_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMED, "A: 1\nB: x: y\n\n")
    monkeypatch.setenv("NOISE2MAP_HEADER_Z", "https://data.example.org\nC: 3")
    assert sent("https://data.example.org/") == (("A", "1"), ("B", "x: y"), ("C", "3"))


def test_it_is_said_once_that_a_key_is_not_sent_where_its_name_may_mean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    access._say_withheld.cache_clear()
    monkeypatch.setenv(NAMED, "X-Api-Key: CANARY-1")
    for _ in range(3):
        assert sent("https://data-example.org/x.tif") == ()
        assert sent("https://unlike.org/x.tif") == ()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "CANARY" not in said
    assert "is for https://data.example.org alone" in said
    assert said.endswith("begin its text with a line https://data-example.org\n")


def test_origins_are_written_as_they_are_read() -> None:
    for text in ("https://a.org", "http://a.org:8080", "https://[::1]:8443"):
        assert str(origin_of(text)) == text
    assert str(origin_of("https://A.org.:443/x?y#z")) == "https://a.org"


def test_a_redirect_to_another_port_takes_no_key_along(
    embedded: EmbeddedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server of the same host, which asks for the key that the first one's variable has."""
    guard = Guard("CANARY-1", signed=())
    with (
        serve_catalog(embedded.root, guard=guard) as other,
        serve_catalog(embedded.root) as first,
    ):
        monkeypatch.setenv("NOISE2MAP_HEADER_FIRST", f"{first.url} X-Api-Key: CANARY-1")
        session = WarySession()
        monkeypatch.setattr(session, "get_redirect_target", _only_first(first.url, other.static))
        subscription = {"Ocp-Apim-Subscription-Key": "CANARY-2", "X-Api-Key": "CANARY-1"}
        assert session.get(first.static, headers=subscription).status_code == 403
        monkeypatch.setenv("NOISE2MAP_HEADER_OTHER", f"{other.url} X-Api-Key: CANARY-1")
        assert session.get(first.static).status_code == 200


def _only_first(first: str, target: str):  # type: ignore[no-untyped-def]
    """As if the first server redirected to the other."""
    return lambda answer: target if answer.url.startswith(first) else None
