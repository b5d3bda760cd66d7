"""A key set on a real HTTP server: keys change, the server goes away and comes back, and misbehaves."""

import gzip
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.lab.timing import eventually_async
from service.edge.key_sources import HttpFetch, KeySet
from service.edge.signing_keys import MOST_BYTES, UnusableKeyError
from tests.delivery.rig import quick
from tests.delivery.served import Served, served
from tests.support.api import Api, problem
from tests.support.issuer import Issuer, key_set
from tests.support.wire import Wire

OLD, NEW = Issuer("ES256", kid="old"), Issuer("RS256", kid="new")


class Publisher:
    """An HTTP server on loopback. `status`, `content` and `headers` are what it answers."""

    def __init__(self) -> None:
        self.status, self.content = 200, key_set(OLD)
        self.headers: dict[str, str] = {}
        self.fetches = 0
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.fetches += 1
                self.send_response(publisher.status)
                for name, value in {"Content-Length": str(len(publisher.content)), **publisher.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(publisher.content)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    yield publisher
    publisher.close()


@pytest.fixture
async def service(publisher: Publisher, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """Without a floor between two fetches."""
    monkeypatch.setattr("service.edge.configured_keys.KeySet", partial(KeySet, floor=0, fresh=3600))
    async with served(quick(redis_url, auth="jwt", jwks_url=publisher.url)) as service:
        yield service


async def status(service: Served, token: str) -> int:
    async with Api(service.url, token=token) as api:
        return (await api.http.get("/v1/inbox/history")).status_code


async def test_a_new_key_is_found_and_an_old_one_that_is_gone_is_not_believed(
    service: Served, publisher: Publisher
) -> None:
    assert await status(service, OLD.token()) == 200
    assert await status(service, NEW.token()) == 401
    publisher.content = key_set(OLD, NEW)
    assert await status(service, NEW.token()) == 200
    assert await status(service, OLD.token()) == 200
    publisher.content = key_set(NEW)
    assert await status(service, Issuer("EdDSA", kid="unknown").token()) == 401  # has it fetched
    remembered = OLD.token()
    assert await status(service, remembered) == 401


async def test_while_the_publisher_is_away_the_keys_in_hand_are_used(service: Served, publisher: Publisher) -> None:
    assert await status(service, OLD.token()) == 200
    publisher.status = 500
    assert await status(service, OLD.token("bob")) == 200
    async with Api(service.url, token=NEW.token()) as api:
        problem(await api.http.get("/v1/inbox/history"), 503, "unavailable")
    publisher.status, publisher.content = 200, key_set(NEW)
    assert await status(service, NEW.token()) == 200


async def test_before_the_first_fetch_it_is_not_ready_and_sockets_are_told_to_come_back(
    redis_url: str, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.edge.configured_keys.KeySet", partial(KeySet, floor=0))
    publisher.status = 404
    async with served(quick(redis_url, auth="jwt", jwks_url=publisher.url)) as service, Api(service.url) as api:
        content = problem(await api.http.get("/readyz"), 503, "unavailable")
        assert "keys" in content["detail"]
        wire = await Wire.open(service.url.replace("http", "ws") + "/v1/ws")
        await wire.send({"type": "hello", "device": "phone", "token": OLD.token()})
        assert await wire.ended() == 1013
        assert [frame["code"] for frame in wire.of("error")] == ["unavailable"]
        publisher.status = 200

        async def ready() -> bool:
            return (await api.http.get("/readyz")).status_code == 200

        await eventually_async(ready, "the keys have come")
        assert await status(service, OLD.token()) == 200


async def test_a_set_with_a_private_key_replaces_nothing(
    service: Served, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    assert await status(service, OLD.token()) == 200
    private = NEW.private_jwk()
    publisher.content = str({"keys": [private | {"kid": "new"}]}).replace("'", '"').encode()
    assert await status(service, NEW.token()) == 503
    assert await status(service, OLD.token("bob")) == 200
    assert "private or symmetric" in caplog.text
    assert private["d"] not in caplog.text


@pytest.mark.parametrize(
    ("status_", "headers", "content", "words"),
    (
        (302, {"Location": "http://127.0.0.1:1/"}, b"", "HTTP 302"),
        (200, {"Content-Encoding": "gzip"}, gzip.compress(key_set(OLD)), "compressed"),
    ),
    ids=("redirect", "compressed"),
)
async def test_what_is_not_the_set_itself_is_refused(
    publisher: Publisher, status_: int, headers: dict[str, str], content: bytes, words: str
) -> None:
    publisher.status, publisher.headers, publisher.content = status_, headers, content
    with pytest.raises(UnusableKeyError, match=words):
        await HttpFetch(publisher.url)()


async def test_no_more_is_read_than_a_set_may_have(publisher: Publisher) -> None:
    publisher.content = b"x" * (50 * MOST_BYTES)
    assert len(await HttpFetch(publisher.url)()) < 2 * MOST_BYTES
