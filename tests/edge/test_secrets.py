"""What a service has written, and what it has answered, holds no secret: neither its own nor anybody's token."""

import base64
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.exceptions import WebSocketException

from scripts.lab.redis_server import RedisServer
from scripts.lab.service import Service
from scripts.lab.timing import eventually
from tests.support.api import Api
from tests.support.issuer import Issuer
from tests.support.wire import Wire

SECRET = f"the-secret-{secrets.token_hex(20)}"
PASSWORD = f"the-password-{secrets.token_hex(8)}"
SIGNING = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
NOBODYS = f"http://inboxd:{PASSWORD}@127.0.0.1:1/hooks"
"""Where pushes go, and nobody is."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    server = RedisServer(tmp_path_factory.mktemp("store"))
    server.start()
    with server.client() as client:
        client.config_set("requirepass", PASSWORD)
    yield server
    with redis.Redis.from_url(server.url, password=PASSWORD) as client:
        client.config_set("requirepass", "")
    server.stop()


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer(secret=SECRET)


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service], store: RedisServer, issuer: Issuer) -> Service:
    def operator() -> dict[str, str]:
        return {"Authorization": f"Bearer {issuer.token('operator', 'ops')}"}

    url = store.url.replace("redis://", f"redis://:{PASSWORD}@")
    pushes = {"push_url": NOBODYS, "push_secret": SIGNING, "push_private": "on", "push_after": "10ms"}
    return serve(
        operator=operator, auth="jwt", jwt_secret=SECRET, redis_url=url, log_level="debug", workers=1, **pushes
    )


async def answers(service: Service, tokens: list[str]) -> list[str]:
    """Everything that is said to requests and sockets with these tokens, good and bad ones."""
    said = []
    async with Api(service.url) as api:
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"}
            for method, path in (
                ("GET", "/v1/inbox/history"),
                ("POST", "/v1/messages"),
                ("GET", f"/v1/inbox/history?token={token}"),
                ("GET", "/v1/ops/workers"),
                ("GET", "/metrics"),
                ("GET", "/readyz"),
                ("GET", f"/{token}x"),
                ("POST", "/api/chat/create_chat"),
            ):
                answer = await api.http.request(method, path, headers=headers)
                said.append(answer.text.replace(token, "") if path == f"/{token}x" else answer.text)
                said.append(str(answer.headers))
    return said


async def frames(service: Service, tokens: list[str]) -> list[str]:
    said = []
    for token in tokens:
        wire = await Wire.open(service.url.replace("http", "ws") + "/v1/ws")
        hello = {"type": "hello", "device": "phone", "token": token}
        await wire.send(hello, {"type": "auth", "token": token + "x"}, {"type": "send", "token": token}, hello)
        await wire.ended()
        said += [str(frame) for frame in wire.frames] + [wire.close_reason]
        try:
            older = await Wire.open(
                service.url.replace("http", "ws") + "/api/chat/connect_chat",
                headers={"Authorization": f"Bearer {token}"},
            )
            await older.send_text("{")
            await older.send_binary(b"x")
            await older.ended()
            said += [str(frame) for frame in older.frames]
        except WebSocketException as error:
            said.append(str(error))
    return said


async def test_nothing_that_is_said_or_written_holds_a_secret(
    service: Service, store: RedisServer, issuer: Issuer, tmp_path: Path
) -> None:
    good = issuer.token("alice", "chat send:any ops")
    tokens = [good, issuer.token("alice", lasts=-1), good[:-4], Issuer().token("mallory"), issuer.token("bad name")]
    said = await answers(service, tokens) + await frames(service, tokens)
    async with Api(service.url, token=good) as api:
        await api.send("bob", "hi", "m-1")
    eventually(lambda: "a push failed" in service.stderr(), "it logs that nobody could be told")
    with redis.Redis.from_url(store.url, password=PASSWORD) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # it logs what it has lost
        client.config_set("requirepass", "another")  # and whom it is not let in by
    said += await answers(service, tokens[:1])
    eventually(lambda: "WARNING" in service.stderr(), "it logs what it has lost")
    with redis.Redis.from_url(store.url, password="another") as client:
        client.config_set("requirepass", PASSWORD)
    service.await_ready()
    written = "\n".join([*said, service.stdout(), service.stderr()])
    for secret in (SECRET, PASSWORD, SIGNING[6:], *tokens, *(token.rpartition(".")[2] for token in tokens)):
        at = written.find(secret)
        assert at < 0, written[max(0, at - 200) : at + len(secret) + 100]


def test_a_service_that_does_not_start_says_why_without_the_secret(tmp_path: Path) -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"auth": "jwt", "jwt_secret": "hunter2-hunter2"}, "INBOXD_JWT_SECRET will not do"),
        ({"jwt_secret": SECRET}, "INBOXD_JWT_SECRET is set"),
        ({"auth": "jwt", "jwt_secret": SECRET, "redis_url": f"redis://:{PASSWORD}@127.0.0.1:1"}, "cannot be reached"),
        ({"host": "0.0.0.0"}, "INBOXD_AUTH=jwt"),
        ({"push_url": f"https://inboxd:{PASSWORD}@backend.example/"}, "INBOXD_PUSH_SECRET is missing"),
        ({"push_url": NOBODYS, "push_secret": SIGNING}, "must begin with https://"),
    )
    for settings, words in cases:
        service = Service(tmp_path, **settings)
        with pytest.raises(AssertionError, match="the service ended"):
            service.start()
        assert service.exit_code in {2, 3}
        assert words in service.stderr()
        for secret in ("hunter2", SECRET, PASSWORD, SIGNING[6:]):
            assert secret not in service.stdout() + service.stderr()
        service.close()
