"""Messages as e-mail, by SMTP."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.utils import format_datetime

from noise2map_core.delivery.messages import Message
from noise2map_core.delivery.sending import NotTakenError
from noise2map_core.delivery.variables import value_of
from noise2map_core.report.pages import render
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.delivery import MailTarget

PORTS = {"starttls": 587, "tls": 465, "none": 25}
FINAL = range(500, 600)
"""Codes that say that another attempt does no better."""


def login_of(target: MailTarget) -> tuple[str, str] | None:
    """User and password in the environment; None without a login. Raises ConfigError."""
    if target.user_variable is None or target.password_variable is None:
        return None
    found = []
    for name, variable in (("user", target.user_variable), ("password", target.password_variable)):
        value = value_of(variable, f"{name}_variable of a target of mail")
        if not value:
            raise ConfigError(
                f"the variable {variable} of the environment, named by a target of mail, is not "
                "set. Set it, or leave user_variable and password_variable out."
            )
        found.append(value)
    return found[0], found[1]


def mail_of(message: Message, target: MailTarget) -> EmailMessage:
    """A message as text and as HTML; the same message is the same mail, by its Message-ID, too."""
    mail = EmailMessage()
    mail["Subject"] = message.title
    mail["From"] = target.sender
    mail["To"] = ", ".join(target.recipients)
    mail["Date"] = format_datetime(message.made)
    mail["Message-ID"] = f"<{message.id}@{target.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail.set_content("\n".join(_lines(message)) + "\n")
    mail.add_alternative(render("mail.html", message=message), subtype="html")
    mail.set_boundary(f"=={message.id}==")
    return mail


def _lines(message: Message) -> Iterator[str]:
    yield from (f"!! {text}" for text in message.alarms)
    yield message.title
    yield ""
    yield from (f"{one.object_id}\n  {one.line()}" for one in message.objects)
    yield message.rest_after(0)


def send_mail(mail: EmailMessage, target: MailTarget, timeout_s: float) -> str:
    """Send once; a word on recipients that were refused, where others were not. Raises
    NotTakenError, whose text names the host alone: what servers answer may repeat a login."""
    begun = False
    try:
        with _connected(target, timeout_s) as server:
            begun = True
            refused = server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        passing = any(code not in FINAL for code in codes)
        raise NotTakenError(f"{target.host} refused all recipients", passing=passing) from None
    except smtplib.SMTPResponseException as error:
        reason = f"{target.host} answered {error.smtp_code} ({type(error).__name__})"
        raise NotTakenError(reason, passing=error.smtp_code not in FINAL) from None
    except smtplib.SMTPNotSupportedError:
        reason = f"{target.host} does not offer what security {target.security} or a login needs"
        raise NotTakenError(reason, passing=False) from None
    except (OSError, smtplib.SMTPException) as error:
        # Where the connection broke while the message was on its way, nobody knows if it was taken.
        reason = f"{target.host} was not reached: {type(error).__name__}"
        raise NotTakenError(reason, passing=True, sure=not begun) from None
    return f"{len(refused)} of {len(target.recipients)} recipients were refused" if refused else ""


@contextmanager
def _connected(target: MailTarget, timeout_s: float) -> Iterator[smtplib.SMTP]:
    """A server that is ready to take a message."""
    port, context = target.port or PORTS[target.security], ssl.create_default_context()
    server: smtplib.SMTP
    if target.security == "tls":
        server = smtplib.SMTP_SSL(target.host, port, timeout=timeout_s, context=context)
    else:
        server = smtplib.SMTP(target.host, port, timeout=timeout_s)
    try:
        if target.security == "starttls":
            server.starttls(context=context)
        if login := login_of(target):
            server.login(*login)
        yield server
        with suppress(OSError, smtplib.SMTPException):
            server.quit()  # the message is taken, whatever becomes of the goodbye
    finally:
        server.close()
