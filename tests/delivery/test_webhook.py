"""One try: signed so that a published library believes it, bounded, never followed anywhere else."""

import base64
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import standardwebhooks
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.lab.timing import PATIENCE, UNIT
from scripts.lab.tls import Authority
from service.delivery.webhook import MOST_READ, Answer, Webhook, sign
from tests.support.receiver import Receiver, Reply

SECRET, OLDER = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
BODY = b'{"type":"inbox.pending"}'


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


async def posted(url: str, *, secrets: str = SECRET, private: bool = True, timeout: float = PATIENCE) -> Answer:
    webhook = Webhook(url, secrets, timeout=timeout, private=private, most=2)
    try:
        return await webhook.post("push_1", BODY, int(time.time() * 1000))
    finally:
        await webhook.aclose()


@pytest.mark.parametrize("secrets", (SECRET, f"{OLDER} {SECRET}"))
async def test_the_published_library_believes_it(receiver: Receiver, secrets: str) -> None:
    assert (await posted(receiver.url, secrets=secrets)).accepted
    [request] = receiver.requests
    assert request.line == "POST /hooks HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    library = standardwebhooks.Webhook(SECRET)
    assert library.verify(request.body, request.headers) == {"type": "inbox.pending"}
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library.verify(request.body + b" ", request.headers)


def test_the_signature_is_the_one_the_library_makes() -> None:
    now = 1_795_350_000
    assert sign(SECRET, "push_1", now, BODY).startswith("v1,")
    assert len(sign(f"{SECRET} {OLDER}", "push_1", now, BODY).split(" ")) == 2


async def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    await posted(receiver.url, secrets="")
    assert "webhook-signature" not in receiver.requests[0].headers


@pytest.mark.parametrize("status", (301, 302, 307, 400, 404, 410, 429, 500, 503))
async def test_whatever_is_not_2xx_is_a_failure_and_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.reply = lambda _: Reply(status, {"location": f"{receiver.url}/elsewhere", "retry-after": "7"})
    answer = await posted(receiver.url)
    assert (answer.accepted, answer.status, answer.retry_after) == (False, str(status), 7)
    assert len(receiver.requests) == 1


async def test_a_receiver_that_does_not_answer_is_left(receiver: Receiver) -> None:
    receiver.hold.clear()
    answer = await posted(receiver.url, timeout=0.05)
    assert (answer.accepted, answer.status) == (False, "timeout")


async def test_an_address_that_swallows_everything_leaves_time_for_the_next(receiver: Receiver) -> None:
    async def both(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]

    with socket.create_server(("127.0.0.2", receiver.port), backlog=0) as hole, ExitStack() as kept:
        for _ in range(4):  # its queue is full: who comes now hears nothing
            one = kept.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(hole.getsockname())
        url = f"http://backend.example:{receiver.port}/hooks"
        webhook = Webhook(url, SECRET, timeout=3 * UNIT, private=True, most=2, resolve=both)
        answer = await webhook.post("push_1", BODY, 0)
        await webhook.aclose()
    assert answer.accepted, answer
    assert len(receiver.requests) == 1


async def test_nobody_there_is_a_failure_like_any_other(receiver: Receiver) -> None:
    await receiver.stop()
    answer = await posted(receiver.url)
    assert (answer.accepted, answer.status) == (False, "ConnectError")
    await receiver.start()


async def test_an_answer_is_read_only_so_far(receiver: Receiver) -> None:
    receiver.reply = lambda _: Reply(200, body=b"x" * (8 << 20))
    answer = await posted(receiver.url)
    assert answer.accepted
    assert MOST_READ < len(answer.content) < 1 << 20


async def test_a_private_address_is_refused_with_a_sentence(receiver: Receiver) -> None:
    answer = await posted(receiver.url, private=False)
    assert (answer.accepted, answer.status) == (False, "PrivateAddressError")
    assert "not on the public internet" in answer.why
    assert receiver.requests == []


async def test_the_proxy_of_the_environment_is_not_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert (await posted(receiver.url)).accepted


@pytest.mark.parametrize(("name", "believed"), (("backend.example", True), ("other.example", False)))
async def test_the_certificate_must_be_of_the_name_although_the_address_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, believed: bool
) -> None:
    authority = Authority(tmp_path / "ca")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))

    async def loopback(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with Receiver(certified(authority, tmp_path, name)) as receiver:
        webhook = Webhook(
            f"https://backend.example:{receiver.port}/", SECRET, timeout=PATIENCE, private=True, most=2,
            resolve=loopback,
        )  # fmt: skip
        answer = await webhook.post("push_1", BODY, 0)
        await webhook.aclose()
        assert answer.accepted is believed, answer
        assert len(receiver.requests) == int(believed)


def certified(authority: Authority, folder: Path, name: str) -> ssl.SSLContext:
    """A server's context, with a certificate for a name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = authority._builder(subject, key).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
    )
    file = folder / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(authority._signed(builder) + secret)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context
