"""Servers on the loopback interface that take messages: HTTP and SMTP."""

import base64
import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TIMEOUT_S = 20.0


@dataclass
class Post:
    """What was posted."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class WebhookReceiver:
    """Takes posts; the next answers are those of `answers`, then 200."""

    answers: list[int] = field(default_factory=list)
    taken: list[Post] = field(default_factory=list)
    refused: list[Post] = field(default_factory=list)
    url: str = ""


@contextmanager
def webhook_receiver() -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()

    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            post = Post(self.path, dict(self.headers), json.loads(body))
            code = receiver.answers.pop(0) if receiver.answers else 200
            (receiver.taken if code == 200 else receiver.refused).append(post)
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, _serving(server):
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        yield receiver


@dataclass
class MailReceiver:
    """Takes mail by SMTP; the next answers to a whole message are those of `answers`, then 250."""

    tls: ssl.SSLContext | None = None
    """Offers STARTTLS, or speaks TLS from the first byte if `at_once`."""
    at_once: bool = False
    login: tuple[str, str] | None = None
    answers: list[int] = field(default_factory=list)
    """0: the connection is cut, the message is taken."""
    refused_recipients: tuple[str, ...] = ()
    taken: list[EmailMessage] = field(default_factory=list)
    envelopes: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0


@contextmanager
def mail_receiver(**settings: Any) -> Iterator[MailReceiver]:
    receiver = MailReceiver(**settings)

    class Handler(_Smtp):
        pass

    Handler.receiver = receiver

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass  # clients that leave are part of the tests

    with Server(("127.0.0.1", 0), Handler) as server, _serving(server):
        receiver.port = server.server_address[1]
        yield receiver


class _Smtp(socketserver.StreamRequestHandler):
    """RFC 5321 as far as a client that sends needs it; STARTTLS (3207), AUTH PLAIN (4954)."""

    receiver: MailReceiver
    timeout = TIMEOUT_S

    def handle(self) -> None:
        self.encrypted, self.logged_in = False, self.receiver.login is None
        self.recipients: list[str] = []
        if self.receiver.at_once:
            self._encrypt()
        self._say("220 test")
        while line := self.rfile.readline():
            verb, _, rest = line.decode().rstrip("\r\n").partition(" ")
            if not self._obey(verb.upper(), rest):
                return

    def _obey(self, verb: str, rest: str) -> bool:
        receiver = self.receiver
        if verb == "EHLO":
            offers = ["test"]
            offers += ["STARTTLS"] if receiver.tls and not self.encrypted else []
            offers += ["AUTH PLAIN"] if receiver.login and self.encrypted else []
            for offer in offers[:-1]:
                self._say(f"250-{offer}")
            self._say(f"250 {offers[-1]}")
        elif verb == "STARTTLS":
            self._say("220 go on")
            self._encrypt()
        elif verb == "AUTH":
            _, user, password = base64.b64decode(rest.split()[-1]).decode().split("\0")
            receiver.logins.append((user, password))
            self.logged_in = (user, password) == receiver.login
            self._say("235 welcome" if self.logged_in else f"535 wrong password {password}")
        elif verb == "RCPT":
            name = rest[rest.index("<") + 1 : rest.index(">")]
            refused = name in receiver.refused_recipients
            self.recipients += [] if refused else [name]
            self._say("550 nobody of that name" if refused else "250 ok")
        elif verb == "MAIL":
            self._say("250 ok" if self.logged_in else "530 login first")
        elif verb == "DATA":
            self._say("354 go on")
            return self._take()
        elif verb == "QUIT":
            self._say("221 bye")
            return False
        else:
            self._say("250 ok")
        return True

    def _take(self) -> bool:
        body = b""
        while (line := self.rfile.readline()) != b".\r\n":
            body += line[1:] if line.startswith(b".") else line
        receiver = self.receiver
        code = receiver.answers.pop(0) if receiver.answers else 250
        if code in (0, 250):
            receiver.taken.append(message_from_bytes(body, policy=default))
            receiver.envelopes.append(self.recipients)
            receiver.encrypted.append(self.encrypted)
        if code:
            self._say(f"{code} done")
        self.recipients = []
        return code != 0

    def _encrypt(self) -> None:
        assert self.receiver.tls is not None
        self.rfile.close()
        self.wfile.close()
        self.connection = self.receiver.tls.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.encrypted = True

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
        self.wfile.flush()


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of localhost by itself, and what a server needs to speak TLS with it."""
    key, own = folder / "key.pem", folder / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key,
         "-out", own, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, key)
    return own, context
