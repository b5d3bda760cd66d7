"""The example of docs/push.md: what is pushed reaches the browsers' push service, encrypted; forgeries do not."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import http_ece
import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from scripts.lab.timing import PATIENCE
from service.core.cursor import Cursor
from service.core.push import Counted, Newest
from service.delivery.push_formats import WebhookFormat
from service.delivery.webhook import Answer, Webhook
from tests.house.tree import ROOT
from tests.support.receiver import Receiver, Reply

SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the command of the page makes the keys."""
    folder = tmp_path_factory.mktemp("vapid")
    vapid = [sys.executable, "-c", "from py_vapid.main import main; main()"]
    subprocess.run([*vapid, "--gen"], cwd=folder, check=True, capture_output=True)
    shown = subprocess.run(
        [*vapid, "--applicationServerKey"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    assert "Application Server Key = " in shown
    return folder


@pytest.fixture(scope="module")
def backend(keys: Path) -> Iterator[str]:
    """The example's URL."""
    with subprocess.Popen(
        [sys.executable, ROOT / "docs/examples/web_push.py", "0", "private_key.pem", "mailto:ops@example.org"],
        cwd=keys,
        env={**os.environ, "INBOXD_PUSH_SECRET": SECRET},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().split()[-1]}"
        process.terminate()


@pytest.fixture
async def push_service() -> AsyncIterator[Receiver]:
    """What a browser maker runs."""
    async with Receiver() as receiver:
        receiver.reply = lambda _: Reply(201)
        yield receiver


class Browser:
    """Subscribed, as a page does it."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._auth = os.urandom(16)

    @property
    def subscription(self) -> dict[str, Any]:
        form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        named = {"p256dh": self._key.public_key().public_bytes(*form), "auth": self._auth}
        keys = {name: base64.urlsafe_b64encode(raw).decode().rstrip("=") for name, raw in named.items()}
        return {"endpoint": self._endpoint, "keys": keys}

    def read(self, body: bytes) -> Any:
        return json.loads(http_ece.decrypt(body, private_key=self._key, auth_secret=self._auth, version="aes128gcm"))


async def subscribed(backend: str, user: str, browser: Browser) -> None:
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        content = {"user": user, "subscription": browser.subscription}
        assert (await http.post(f"{backend}/subscriptions", json=content)).status_code == 204


async def pushed(backend: str, user: str, *, id: str, secret: str = SECRET, seconds_ago: int = 0) -> Answer:
    """As inboxd does it."""
    now = int((time.time() - seconds_ago) * 1000)
    body = WebhookFormat().body(user, {}, Counted(3, Newest("alice", "", Cursor(2, 2))), id, now)
    webhook = Webhook(f"{backend}/hooks/inboxd", secret, timeout=PATIENCE, private=True, most=1)
    try:
        return await webhook.post(id, body, now)
    finally:
        await webhook.aclose()


async def test_what_is_pushed_reaches_every_browser_of_the_user_once(
    backend: str, push_service: Receiver, bob: str
) -> None:
    browser = Browser(f"{push_service.url}/{bob}")
    await subscribed(backend, bob, browser)
    for _ in range(2):
        assert (await pushed(backend, bob, id=f"push_{bob}")).accepted
    [request] = push_service.requests
    assert request.headers["authorization"].startswith("vapid ")
    assert browser.read(request.body) == {"user": bob, "pending": 3, "from": "alice", "group": None}


async def test_what_is_not_signed_with_the_secret_or_is_too_old_reaches_nobody(
    backend: str, push_service: Receiver, bob: str
) -> None:
    await subscribed(backend, bob, Browser(push_service.url))
    forged = f"whsec_{base64.b64encode(bytes([1]) * 32).decode()}"
    assert (await pushed(backend, bob, id="push_1", secret=forged)).status == "401"
    assert (await pushed(backend, bob, id="push_1", secret="")).status == "401"
    assert (await pushed(backend, bob, id="push_1", seconds_ago=3600)).status == "401"
    assert push_service.requests == []


async def test_a_push_service_that_fails_makes_it_come_again_and_a_browser_that_left_is_forgotten(
    backend: str, push_service: Receiver, bob: str
) -> None:
    await subscribed(backend, bob, Browser(push_service.url))
    replies = [Reply(500), Reply(410)]
    push_service.reply = lambda _: replies.pop(0)
    assert (await pushed(backend, bob, id=f"push_{bob}")).status == "503"
    assert (await pushed(backend, bob, id=f"push_{bob}")).accepted
    assert (await pushed(backend, bob, id=f"push_{bob}-later")).accepted
    assert len(push_service.requests) == 2
