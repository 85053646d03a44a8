"""Webhooks: receivers that misbehave, forbidden addresses, signatures checked by the official library."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Official
from standardwebhooks.webhooks import WebhookVerificationError

from pipeline.documents import Destination, Document, Event, Job, QueueName
from pipeline.errors import Misconfigured, Unavailable
from tests.support.filed import file_away
from tests.support.needs import program
from workers.assemble import Mailroom
from workers.services import webhook
from workers.services.deliver import SCHEDULE
from workers.services.webhook import is_allowed, is_public, post, resolve
from workers.settings import load_settings

NEW, OLD = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
LOOPBACK = ["127.0.0.0/8"]


class Receiver(ThreadingHTTPServer):
    """A real HTTP server; ``answer`` handles each call."""

    daemon_threads = True

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: reply(handler, 204)
        super().__init__(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server_port}/hook?x=1"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                server.calls.append(({k.lower(): v for k, v in self.headers.items()}, body))
                server.answer(self)

            def log_message(self, *_: object) -> None: ...

        return Handler


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def mailroom(tmp_path: Path, receiver: Receiver) -> Iterator[Mailroom]:
    endpoints = {
        "erp": {"url": receiver.url, "secret": f"{NEW} {OLD}", "allow": LOOPBACK},
        "dms": {"url": receiver.url.replace("hook", "dms"), "secret": OLD, "allow": LOOPBACK},
    }
    overrides = {"data.path": str(tmp_path / "data"), "webhooks.endpoints": json.dumps(endpoints)}
    mailroom = Mailroom(load_settings(overrides, environ={}).settings)
    yield mailroom
    mailroom.close()


def route(mailroom: Mailroom, endpoint: str = "erp", name: str = "bill.txt") -> tuple[Document, Job]:
    destinations = (Destination("webhook", endpoint),)
    document = file_away(mailroom.catalogue, mailroom.blobs, name, f"Secret words of {name}", "invoice", destinations)
    return document, mailroom.catalogue.jobs.claim(QueueName.DELIVER, "test", 60)[0]


def deliveries(mailroom: Mailroom, document: Document) -> list[Event]:
    return [e for e in mailroom.catalogue.documents.history(document.id)[1] if e.stage == "deliver"]


def next_attempt(mailroom: Mailroom) -> tuple[float, str]:
    """Return the seconds until the next attempt, and the recorded reason."""
    with mailroom.catalogue.database.read() as connection:
        row = connection.exec_driver_sql("SELECT run_after, detail, dead FROM jobs WHERE queue = 'deliver'").one()
    assert not row.dead
    return row.run_after - time.time(), row.detail


def test_the_official_library_accepts_the_signature_of_either_key(mailroom: Mailroom, receiver: Receiver) -> None:
    document, job = route(mailroom)
    mailroom.deliver.run(job)
    ((headers, body),) = receiver.calls
    for secret in (NEW, OLD):
        message = Official(secret).verify(body, headers)
    assert message["type"] == "document.routed"
    data = message["data"]
    assert (data["id"], data["name"], data["label"], data["probability"]) == (document.id, "bill.txt", "invoice", 0.9)
    assert b"Secret words" not in body
    assert len(body) < 20_000
    assert deliveries(mailroom, document)[0].data["receipt"] == "HTTP 204"
    with pytest.raises(WebhookVerificationError):
        Official(OLD).verify(body.replace(b"invoice", b"letter!"), headers)
    with pytest.raises(WebhookVerificationError):
        Official(f"whsec_{base64.b64encode(b'3' * 32).decode()}").verify(body, headers)


def test_the_signature_is_the_specifications_example() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330.9, UTC)
    headers = webhook.signed_headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_repeated_attempt_sends_the_same_under_the_same_id(mailroom: Mailroom, receiver: Receiver) -> None:
    _, job = route(mailroom)
    mailroom.deliver.run(job)
    mailroom.deliver.run(job)
    (first_headers, first_body), (second_headers, second_body) = receiver.calls
    assert first_headers["webhook-id"] == second_headers["webhook-id"] == job.id
    assert first_body == second_body


def hang(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def drip(handler: BaseHTTPRequestHandler) -> None:
    for _ in range(40):
        handler.wfile.write(b"H")
        handler.wfile.flush()
        time.sleep(0.1)


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        lambda h: reply(h, 500), lambda h: reply(h, 429), lambda h: reply(h, 404),
        lambda h: reply(h, 302, location="http://127.0.0.1:1/"), lambda h: reply(h, 308, location="/other"),
        lambda h: h.wfile.write(b"nonsense\r\n\r\n"), hang, drip, reset,
    ],
    ids=["500", "429", "404", "302", "308", "nonsense", "hang", "drip", "reset"],
)  # fmt: skip
def test_a_receiver_that_fails_is_called_again_later(
    mailroom: Mailroom, receiver: Receiver, answer: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TOTAL_SECONDS", 0.5)
    receiver.answer = answer
    document, job = route(mailroom)
    before = time.monotonic()
    mailroom.deliver.run(job)
    assert time.monotonic() - before < 2.5
    assert len(receiver.calls) == 1  # no redirect was followed
    delay, detail = next_attempt(mailroom)
    assert 3 < delay <= 6
    assert "erp" in detail or "did not answer" in detail
    assert deliveries(mailroom, document) == []


def test_the_schedule_and_the_dead_letter_and_its_replay(mailroom: Mailroom, receiver: Receiver) -> None:
    receiver.answer = lambda h: reply(h, 503)
    document, job = route(mailroom)
    for attempt, seconds in enumerate(SCHEDULE, 1):
        assert job.attempt == attempt
        mailroom.deliver.run(job)
        assert seconds - 2 < next_attempt(mailroom)[0] <= seconds * 1.2
        with mailroom.catalogue.database.write() as connection:  # the clock moves on
            connection.exec_driver_sql("UPDATE jobs SET run_after = 0 WHERE queue = 'deliver'")
        (job,) = mailroom.catalogue.jobs.claim(QueueName.DELIVER, "test", 60)
    mailroom.deliver.run(job)
    assert len(receiver.calls) == 10
    assert deliveries(mailroom, document)[0].event == "parked"
    receiver.answer = lambda h: reply(h, 200)
    assert mailroom.catalogue.jobs.retry(document.id)
    (job,) = mailroom.catalogue.jobs.claim(QueueName.DELIVER, "test", 60)
    mailroom.deliver.run(job)
    assert [e.event for e in deliveries(mailroom, document)] == ["parked", "done"]


def test_a_410_is_parked_at_once_without_effect_on_other_receivers(mailroom: Mailroom, receiver: Receiver) -> None:
    receiver.answer = lambda h: reply(h, 410 if "hook" in h.path else 200)
    parked, job = route(mailroom, "erp", "one.txt")
    mailroom.deliver.run(job)
    other, job = route(mailroom, "dms", "two.txt")
    mailroom.deliver.run(job)
    assert deliveries(mailroom, parked)[0].event == "parked"
    assert deliveries(mailroom, other)[0].event == "done"


def test_a_huge_answer_is_not_read(mailroom: Mailroom, receiver: Receiver) -> None:
    written = 0

    def flood(handler: BaseHTTPRequestHandler) -> None:
        nonlocal written
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(4000):
                handler.wfile.write(b"x" * 65536)
                written += 65536
        except OSError:
            handler.close_connection = True

    receiver.answer = flood
    document, job = route(mailroom)
    mailroom.deliver.run(job)
    assert deliveries(mailroom, document)[0].event == "done"
    assert written < 50_000_000


def test_no_proxy_of_the_environment_is_used(
    mailroom: Mailroom, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    _, job = route(mailroom)
    mailroom.deliver.run(job)
    assert len(receiver.calls) == 1


FORBIDDEN = [
    "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
    "https://0/", "https://0.0.0.0/", "https://localhost/", "https://LOCALHOST./", "https://[::1]/", "https://[::]/",
    "https://[::ffff:127.0.0.1]/", "https://[::ffff:10.0.0.1]/", "https://[::ffff:a00:1]/", "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[64:ff9b:1::1]/", "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::]/", "https://[2001::1]/", "https://[2001:db8::1]/", "https://[3fff::1]/",
    "https://[fe80::1]/", "https://[fec0::1]/", "https://[fc00::1]/", "https://[fd12:3456::1]/", "https://[ff02::1]/",
    "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/", "https://192.0.0.1/", "https://192.88.99.1/", "https://198.18.0.1/", "https://203.0.113.1/",
    "https://224.0.0.1/", "https://240.0.0.1/", "https://255.255.255.255/", "http://93.184.215.14/", "ftp://93.184.215.14/",
    "file:///etc/passwd", "https://user:word@93.184.215.14/", "https://93.184.215.14:22/", "https:///x", "//x/", "",
    "https://127.0.0.1:99999/", "gopher://127.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("url", FORBIDDEN)
def test_a_forbidden_address_is_never_connected_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connects: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: connects.append(address))
    with pytest.raises((Misconfigured, Unavailable)) as error:
        post(url, b"{}", {}, ())
    assert connects == []
    assert isinstance(error.value, Misconfigured) or "resolved" in error.value.detail


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07::1", "8.8.8.8", "64:ff9b::5db8:d70e"])
def test_the_open_internet_is_allowed(address: str) -> None:
    assert is_public(address)


def test_the_allow_list_is_the_operators_and_goes_no_further() -> None:
    assert is_allowed("10.1.2.3", ("10.1.0.0/16",))
    assert is_allowed("::ffff:10.1.2.3", ("10.1.0.0/16",))
    assert not is_allowed("10.2.2.3", ("10.1.0.0/16",))
    assert is_allowed("fd00::5", ("fd00::/64", "10.0.0.0/8"))
    assert not is_allowed("10.1.2.3", ())


def test_a_name_is_resolved_once_and_that_address_is_called(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defend against DNS rebinding: a name is not resolved a second time."""
    answers = iter(["127.0.0.1", "169.254.169.254", "10.0.0.1"])
    resolved: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, port: int, *rest: object, **more: object) -> list:
        if host != "hooks.example":
            return real(host, port, *rest, **more)
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = f"http://hooks.example:{receiver.server_port}/hook"
    assert post(url, b"{}", {}, ("127.0.0.0/8",)) == 204
    assert resolved == ["hooks.example"]
    assert receiver.calls[0][0]["host"] == f"hooks.example:{receiver.server_port}"
    with pytest.raises(Misconfigured, match=r"169\.254"):
        resolve(webhook.parse_url(url), ("127.0.0.0/8",))


def test_an_invalid_secret_is_reported(mailroom: Mailroom) -> None:
    endpoint = mailroom.settings.webhooks.endpoints["erp"]
    with pytest.raises(Misconfigured, match=r"webhooks\.endpoints\.erp"):
        webhook.signing_keys("erp", endpoint.model_copy(update={"secret": "whsec_not base64!"}))
    with pytest.raises(Misconfigured, match="no secret"):
        webhook.signing_keys("erp", endpoint.model_copy(update={"secret": ""}))
    with pytest.raises(Misconfigured, match="empty"):
        webhook.signing_keys("erp", endpoint.model_copy(update={"secret": f"{NEW} whsec_"}))


@program("openssl", "openssl")
def test_the_certificate_must_be_the_names(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hooks.example -addext".split()
    subprocess.run(
        [*command, "subjectAltName=DNS:hooks.example", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.server_port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    url = "https://{}:" + str(receiver.server_port)
    with pytest.raises(Unavailable, match="SSLCertVerificationError"):  # signed by an unknown authority
        post(url.format("hooks.example"), b"{}", {}, ("127.0.0.0/8",))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert post(url.format("hooks.example"), b"{}", {}, ("127.0.0.0/8",)) == 204
    with pytest.raises(Unavailable, match="SSLCertVerificationError"):  # trusted, but another host's
        post(url.format("other.example"), b"{}", {}, ("127.0.0.0/8",))
