"""Mail by SMTP to a server on the loopback interface: encrypted, with a login, refused."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from noise2map_core.delivery.events import events_of
from noise2map_core.delivery.mail import mail_of, send_mail
from noise2map_core.delivery.messages import compose
from noise2map_core.delivery.sending import NotTakenError, attempt
from noise2map_core.settings.delivery import MailTarget
from tests.event_factories import alert, history_of, table_of
from tests.receivers import MailReceiver, certificate, mail_receiver

LOGIN = ("ada", "s3cret-pass")


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, trusted: Any) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted[0]))
    monkeypatch.setenv("MAIL_USER", LOGIN[0])
    monkeypatch.setenv("MAIL_PASSWORD", LOGIN[1])
    monkeypatch.setattr("noise2map_core.delivery.sending.PAUSE_S", 0.0)


def target(receiver: MailReceiver, **more: Any) -> MailTarget:
    return MailTarget.model_validate({
        "kind": "mail", "host": "localhost", "port": receiver.port, "sender": "maps@example.org",
        "recipients": ["ada@example.org", "bob@example.org"], "user_variable": "MAIL_USER",
        "password_variable": "MAIL_PASSWORD", **more,
    })  # fmt: skip


def send(to: MailTarget, timeout_s: float = 10.0) -> str:
    events = events_of(history_of([("a", 0, "confirmed")]))
    made = datetime(2025, 7, 1, tzinfo=UTC)
    message = compose("farm", events, table_of([alert("a")]), (), made)
    return send_mail(mail_of(message, to), to, timeout_s)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_encrypted_with_the_login_of_the_environment(
    trusted: Any, security: str
) -> None:
    at_once = security == "tls"
    with mail_receiver(tls=trusted[1], at_once=at_once, login=LOGIN) as receiver:
        assert send(target(receiver, security=security)) == ""
    assert receiver.encrypted == [True] and receiver.logins == [LOGIN]
    assert receiver.envelopes == [["ada@example.org", "bob@example.org"]]
    assert receiver.taken[0]["Subject"] == "farm: 1 confirmed"


def test_a_server_without_starttls_gets_neither_login_nor_mail() -> None:
    with (
        mail_receiver(login=LOGIN) as receiver,
        pytest.raises(NotTakenError, match="does not offer") as caught,
    ):
        send(target(receiver))
    assert not caught.value.passing and receiver.logins == receiver.taken == []


def test_a_server_with_an_unknown_certificate_gets_nothing(
    trusted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other, _ = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    with (
        mail_receiver(tls=trusted[1], login=LOGIN) as receiver,
        pytest.raises(NotTakenError, match="SSLCertVerificationError"),
    ):
        send(target(receiver))
    assert receiver.logins == receiver.taken == []


def test_a_wrong_password_is_said_without_the_password(trusted: Any) -> None:
    """Servers may repeat what they were sent."""
    with (
        mail_receiver(tls=trusted[1], login=("ada", "another")) as receiver,
        pytest.raises(NotTakenError, match="localhost answered 535") as caught,
    ):
        send(target(receiver))
    assert LOGIN[1] not in str(caught.value) and not caught.value.passing


def test_some_recipients_that_are_refused_are_counted_and_the_mail_is_taken(trusted: Any) -> None:
    with mail_receiver(
        tls=trusted[1], login=LOGIN, refused_recipients=("bob@example.org",)
    ) as receiver:
        assert send(target(receiver)) == "1 of 2 recipients were refused"
    assert receiver.envelopes == [["ada@example.org"]]


def test_a_busy_server_is_asked_again_and_one_that_refuses_is_not() -> None:
    plain = {"security": "none", "user_variable": None, "password_variable": None}
    with mail_receiver(answers=[451, 421]) as receiver:
        done = attempt(lambda: send(target(receiver, **plain)), 3)
        assert done.taken and done.attempts == 3 and len(receiver.taken) == 1
    with mail_receiver(answers=[554]) as receiver:
        done = attempt(lambda: send(target(receiver, **plain)), 3)
        assert (done.taken, done.attempts, done.sure) == (False, 1, True)
        assert done.said == "localhost answered 554 (SMTPDataError)"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipients": []}, "at least 1 item"),
        ({"recipients": ["a@b.c\nBcc: x@y.z"]}, "is no address"),
        ({"sender": "ada"}, "is no address"),
        ({"password_variable": None}, "go together"),
        ({"security": "none"}, "not used where nothing is encrypted"),
        ({"port": 70000}, "less than 65536"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        target(MailReceiver(port=25), **change)
