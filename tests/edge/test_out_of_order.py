"""While the store cannot be reached: refusals that keep order, connections that stay, and the way back."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from scripts.lab.proxy import RedisProxy
from scripts.lab.redis_server import RedisServer
from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api, problem
from tests.support.arrivals import Frame
from tests.support.cursors import Cursor
from tests.support.device import Device
from tests.support.wire import Wire


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of this module's own."""
    server = RedisServer(tmp_path_factory.mktemp("store"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def link(store: RedisServer) -> Iterator[RedisProxy]:
    """The network between the service and its server."""
    proxy = RedisProxy(store.port)
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def service(link: RedisProxy, serve: Callable[..., Service]) -> Service:
    return serve(redis_url=link.url)


@pytest.fixture(autouse=True)
async def whole(link: RedisProxy, service: Service) -> AsyncIterator[None]:
    """Whatever a test broke is mended behind it."""
    yield
    await mend(link, service)


@pytest.fixture
async def api(service: Service, alice: str) -> AsyncIterator[Api]:
    async with Api(service.url, alice) as api:
        yield api


def break_link(link: RedisProxy) -> None:
    """From now on the store cannot be reached."""
    link.refusing = True
    assert link.cut() > 0, "the service held no connection to its server"


async def mend(link: RedisProxy, service: Service) -> None:
    """The store can be reached again; waits until both workers know."""
    link.refusing = link.lose_answers = False
    async with Api(service.url) as nobody:
        ready = 0

        async def often() -> bool:
            nonlocal ready
            response = await nobody.http.get("/readyz", headers={"Connection": "close"})
            ready = ready + 1 if response.status_code == 200 else 0
            return ready >= 10

        await eventually_async(often, "the service is ready again")


async def insist(phone: Device, message_id: str, to: str, body: object) -> Frame:
    """Sends the same message until it is accepted."""

    async def probe() -> Frame | None:
        answer = await phone.send(message_id, to, body)
        return answer if answer["type"] == "accepted" else None

    return await eventually_async(probe, f"{message_id} is accepted")


async def test_over_http_a_send_is_unavailable_and_says_when_to_come_back(
    service: Service, link: RedisProxy, api: Api, bob: str
) -> None:
    break_link(link)
    response = await api.post({"id": "m-1", "to": bob, "body": 1})
    problem(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) >= 1
    await mend(link, service)
    assert (await api.post({"id": "m-1", "to": bob, "body": 1})).status_code == 202
    assert (await api.inbox(bob))["length"] == 1


async def test_in_a_batch_each_message_is_told_unavailable(link: RedisProxy, api: Api, bob: str) -> None:
    break_link(link)
    content = {"messages": [{"id": "m-1", "to": bob, "body": 1}, {"id": "bad id", "to": bob, "body": 1}]}
    response = await api.http.post("/v1/messages/batch", json=content)
    if response.status_code != 503:
        assert [result["status"] for result in response.json()["results"]] == [503, 422]


async def test_a_worker_without_its_store_is_alive_and_not_ready(service: Service, link: RedisProxy, api: Api) -> None:
    break_link(link)

    async def unready() -> bool:
        return (await api.http.get("/readyz")).status_code == 503

    await eventually_async(unready, "not ready")
    assert (await api.http.get("/healthz")).status_code == 200
    assert link.refused > 0
    await mend(link, service)


async def test_reading_over_http_is_unavailable_as_well(link: RedisProxy, api: Api) -> None:
    break_link(link)
    for path in ("/v1/inbox?device=d", "/v1/inbox/history", "/v1/ops/workers", "/v1/ops/inboxes/bob"):
        problem(await api.http.get(path), 503, "unavailable")
    problem(await api.http.post("/v1/inbox/ack", json={"device": "d", "cursor": "0-0"}), 503, "unavailable")


async def test_after_an_unavailable_every_other_send_waits_for_it(
    service: Service, link: RedisProxy, alice: str, bob: str, carol: str
) -> None:
    async with Device(service.url, alice) as phone:
        await phone.send("m-0", bob, 0)
        break_link(link)
        error = await phone.send("m-1", bob, 1)
        assert (error["code"], error["retryable"]) == ("unavailable", True)
        for message_id, to in (("m-2", bob), ("m-3", carol), ("m-0", bob)):
            error = await phone.send(message_id, to, 2)
            assert (error["code"], error["retryable"]) == ("out_of_order", True)
        await mend(link, service)
        assert (await phone.send("m-2", bob, 2))["code"] == "out_of_order", "still, though the store is back"
        first = await phone.send("m-1", bob, 1)
        second = await phone.send("m-2", bob, 2)
        cursors = [Cursor.parse(frame["recipients"][0]["cursor"]) for frame in (first, second)]
        assert [cursor.seq for cursor in cursors] == [2, 3]


async def test_skip_gives_the_failed_send_up(service: Service, link: RedisProxy, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone:
        break_link(link)
        assert (await phone.send("m-1", bob, 1))["code"] == "unavailable"
        await mend(link, service)
        assert (await phone.send("m-2", bob, 2))["code"] == "out_of_order"
        await phone.say({"type": "skip", "id": "another"})
        assert (await phone.send("m-2", bob, 2))["code"] == "out_of_order", "another id gives up nothing"
        await phone.say({"type": "skip", "id": "m-1"})
        assert (await phone.send("m-2", bob, 2))["type"] == "accepted"


async def test_a_bundle_that_fails_comes_through_whole_and_in_order_when_sent_again(
    service: Service, link: RedisProxy, alice: str, bob: str
) -> None:
    ids = [f"m-{number}" for number in range(20)]
    sends = [{"type": "send", "id": name, "to": bob, "body": name} for name in ids]
    async with Device(service.url, alice) as phone, Device(service.url, bob) as other:
        break_link(link)
        await phone.say(*sends)
        codes = [(await phone.answer(name))["code"] for name in ids]
        assert codes[0] == "unavailable"
        assert set(codes) <= {"unavailable", "out_of_order"}
        await mend(link, service)
        await phone.say(*sends)
        answers = [await phone.answer(name) for name in ids]
        assert {answer["type"] for answer in answers} == {"accepted"}, answers
        assert [entry["id"] for entry in await other.receive(20)] == ids


async def test_one_connections_failure_holds_up_no_other(
    service: Service, link: RedisProxy, alice: str, bob: str, carol: str
) -> None:
    async with Device(service.url, alice) as failed, Device(service.url, carol) as other:
        break_link(link)
        assert (await failed.send("m-1", bob, 1))["code"] == "unavailable"
        await mend(link, service)
        assert (await other.send("m-1", bob, 1))["type"] == "accepted"
        async with Device(service.url, alice, "laptop") as second:
            assert (await second.send("m-2", bob, 2))["type"] == "accepted"


async def test_a_new_connection_begins_without_a_failure(
    service: Service, link: RedisProxy, alice: str, bob: str
) -> None:
    async with Device(service.url, alice) as phone:
        break_link(link)
        assert (await phone.send("m-1", bob, 1))["code"] == "unavailable"
    await mend(link, service)
    async with phone:
        assert (await phone.send("m-2", bob, 2))["type"] == "accepted"


async def test_a_send_whose_answer_was_lost_is_in_once_when_sent_again(
    service: Service, link: RedisProxy, api: Api, alice: str, bob: str, store: RedisServer
) -> None:
    async with Device(service.url, alice) as phone:
        await phone.send("m-0", bob, 0)
        link.lose_answers = True
        error = await phone.send("m-1", bob, 1)
        assert (error["code"], error["retryable"]) == ("unavailable", True)
        assert link.lost_bytes > 0
        with store.client() as client:
            assert client.xlen(f"chat:inbox:{{{bob}}}") == 2, "the command did run: the ambiguous case"
        await mend(link, service)
        again = await insist(phone, "m-1", bob, 1)
        assert again["duplicate"] is True
        assert (await api.inbox(bob))["length"] == 2


async def test_connections_stay_and_catch_up_by_themselves(
    service: Service, link: RedisProxy, api: Api, bob: str
) -> None:
    async with Device(service.url, bob) as phone:
        phone.acking = True
        await api.send(bob, 1)
        await phone.receive(1)
        break_link(link)
        problem(await api.post({"id": "m-2", "to": bob, "body": 2}), 503, "unavailable")
        await phone.ping()
        await mend(link, service)
        assert (await api.post({"id": "m-2", "to": bob, "body": 2})).status_code == 202
        await phone.receive(2)
        assert phone.connections == 1


async def test_a_hello_while_the_store_is_away_is_told_to_come_back(
    service: Service, link: RedisProxy, bob: str
) -> None:
    break_link(link)
    wire = await Wire.open(f"{service.url.replace('http', 'ws')}/v1/ws?user={bob}")
    await wire.send({"type": "hello", "device": "phone"})
    code = await wire.ended()
    assert code in {1012, 1013} or 4000 <= code < 4500, "a code that says: reconnect"
    assert {frame["code"] for frame in wire.of("error")} <= {"unavailable"}
    await mend(link, service)
    async with Device(service.url, bob) as phone:
        await phone.go_live()
