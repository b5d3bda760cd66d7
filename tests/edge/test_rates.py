"""Rates: HTTP says 429 and when to come again, a socket is read more slowly, and nothing is lost or reordered."""

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from service.config import Settings
from service.core.errors import ClientError
from service.core.identity import Identity
from service.edge.rates import Rates
from service.edge.ws_reader import CLOSE
from tests.hostile.raw import frame as masked
from tests.support.api import Api, problem
from tests.support.issuer import Issuer
from tests.support.wire import Wire

ALICE = Identity("alice", frozenset(("chat",)), token="t")
SHOP = Identity("shop", frozenset(("send:any",)), token="t")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def request() -> Request:
    return Request({"type": "http", "app": FastAPI(), "headers": []})


def told(asked: Request) -> dict[str, str]:
    return dict(asked.scope["state"]["inboxd.headers"])


# By a clock of the test's own.


def test_an_answer_says_what_is_left_in_the_words_of_the_draft() -> None:
    rates, asked = Rates(Settings(rate=50, burst=200), Clock()), request()
    rates.admit(asked, ALICE)
    assert told(asked) == {"ratelimit-policy": '"user";q=200;w=4', "ratelimit": '"user";r=199;t=1'}


def test_a_refusal_says_when_to_come_again_and_no_later_than_that_one_is_served() -> None:
    clock = Clock()
    rates = Rates(Settings(rate=0.1, burst=1), clock)
    rates.admit(request(), ALICE)
    asked = request()
    with pytest.raises(ClientError) as refused:
        rates.admit(asked, ALICE)
    assert refused.value.fault.code == "rate_limited"
    assert told(asked) == {"ratelimit-policy": '"user";q=1;w=10', "ratelimit": '"user";r=0;t=10', "retry-after": "10"}
    clock.now += 10
    rates.admit(request(), ALICE)


def test_a_batch_is_served_while_anything_is_left_and_paid_for_by_those_behind() -> None:
    clock = Clock()
    rates, asked = Rates(Settings(rate=50, burst=200), clock), request()
    rates.admit(asked, ALICE)
    rates.charge(asked, ALICE, 999)
    assert told(asked)["ratelimit"] == '"user";r=0;t=17'
    clock.now += 16
    with pytest.raises(ClientError):
        rates.admit(request(), ALICE)
    clock.now += 1
    rates.admit(request(), ALICE)


def test_one_users_rate_is_not_anothers() -> None:
    rates = Rates(Settings(rate=1, burst=1), Clock())
    rates.admit(request(), ALICE)
    rates.admit(request(), Identity("bob", frozenset(("chat",)), token="t"))


def test_a_backend_has_none_unless_it_is_asked_for() -> None:
    rates = Rates(Settings(rate=1, burst=1), Clock())
    for _ in range(1000):
        rates.admit(request(), SHOP)
    assert rates.turn(SHOP) == 0.0
    rates = Rates(Settings(rate=1, burst=1, rate_backend=5), Clock())
    for _ in range(5):
        rates.admit(request(), SHOP)
    with pytest.raises(ClientError):
        rates.admit(request(), SHOP)


def test_without_authentication_there_is_none() -> None:
    rates = Rates(Settings(rate=1, burst=1), Clock())
    for _ in range(100):
        asked = request()
        rates.admit(asked, Identity("alice"))
        assert "state" not in asked.scope
        assert rates.turn(Identity("alice")) == 0.0


def test_a_socket_and_requests_of_one_user_share_what_there_is() -> None:
    rates = Rates(Settings(rate=10, burst=2), Clock())
    assert [rates.turn(ALICE) for _ in range(4)] == pytest.approx([0, 0, 0.1, 0.2])
    with pytest.raises(ClientError):
        rates.admit(request(), ALICE)


# In a real service.


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service], issuer: Issuer) -> Service:
    """One worker, so that what is counted is counted in one place."""

    def operator() -> dict[str, str]:
        return {"Authorization": f"Bearer {issuer.token('operator', 'ops')}"}

    return serve(workers=1, auth="jwt", jwt_secret=issuer.key, rate=20, burst=5, operator=operator)


@pytest.fixture
async def api(service: Service, issuer: Issuer, alice: str) -> AsyncIterator[Api]:
    """Requests with Alice's token."""
    async with Api(service.url) as api:
        api.http.headers["Authorization"] = f"Bearer {issuer.token(alice)}"
        yield api


async def until_served(api: Api, bob: str) -> httpx2.Response:
    """Sends until one is accepted; waits no longer than it is told to."""

    async def served() -> httpx2.Response | None:
        response = await api.post({"to": bob, "body": 1})
        return response if response.status_code == 202 else None

    return await eventually_async(served, "one is served")


async def test_beyond_a_burst_requests_are_refused_and_later_served(api: Api, bob: str) -> None:
    answers = [await api.post({"to": bob, "body": n}) for n in range(200)]
    refused = [answer for answer in answers if answer.status_code != 202]
    assert refused, "five at once, twenty a second"
    for answer in refused:
        problem(answer, 429, "rate_limited")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["ratelimit"] == '"user";r=0;t=1'
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == '"user";q=5;w=1'
        assert re.fullmatch(r'"user";r=\d(;t=1)?', answer.headers["ratelimit"])
    assert (await until_served(api, bob)).json()["duplicate"] is False


async def test_a_batch_is_served_whole_and_paid_for_afterwards(api: Api, bob: str) -> None:
    messages = {"messages": [{"to": bob, "body": n} for n in range(20)]}
    response = await api.http.post("/v1/messages/batch", json=messages)
    assert [result["status"] for result in response.json()["results"]] == [202] * 20
    assert response.headers["ratelimit"] == '"user";r=0;t=1'
    problem(await api.http.post("/v1/messages/batch", json=messages), 429, "rate_limited")
    await until_served(api, bob)


async def test_faulty_requests_count_too(api: Api) -> None:
    statuses = [(await api.post({"surprise": n})).status_code for n in range(100)]
    assert statuses[:5] == [422] * 5
    assert 429 in statuses


async def test_reading_has_no_rate(api: Api) -> None:
    for _ in range(20):
        assert (await api.http.get("/v1/inbox", params={"device": "d"})).status_code == 200


@pytest.mark.parametrize("path", ("/v1/inbox/read", "/v1/conversations"))
async def test_what_may_look_through_a_whole_inbox_counts_as_a_message(api: Api, bob: str, path: str) -> None:
    asked: dict[str, Any] = {"json": {"from": bob, "upto": "nope"}} if path == "/v1/inbox/read" else {}
    method = "POST" if asked else "GET"
    answers = [await api.http.request(method, path, **asked) for _ in range(100)]
    assert {answer.headers.get("ratelimit-policy") for answer in answers} == {'"user";q=5;w=1'}
    refused = next(answer for answer in answers if answer.status_code == 429)
    problem(refused, 429, "rate_limited")
    assert refused.headers["retry-after"] == "1"
    await until_served(api, bob)


async def test_a_socket_beyond_its_rate_is_read_more_slowly_and_everything_comes_in_order(
    service: Service, issuer: Issuer, alice: str, bob: str
) -> None:
    before = service.metrics()["inboxd_sockets_slowed_total"]
    wire = await Wire.open(
        f"{service.url.replace('http', 'ws')}/v1/ws", headers={"Authorization": f"Bearer {issuer.token(alice)}"}
    )
    await wire.send({"type": "hello", "device": "phone"})
    await wire.next("live")
    for n in range(60):  # three seconds' worth: longer than a ping may stay unanswered
        await wire.send({"type": "send", "id": f"m{n}", "to": bob, "body": n})
    await wire.send({"type": "ping", "ref": "end"})
    await wire.next("pong", ref="end")
    await wire.until(lambda: len(wire.of("accepted")) == 60, "every answer")
    assert [frame["id"] for frame in wire.of("accepted")] == [f"m{n}" for n in range(60)]
    assert wire.of("error") == []
    seqs = [int(frame["recipients"][0]["cursor"].partition("-")[2]) for frame in wire.of("accepted")]
    assert seqs == list(range(1, 61)), "nothing lost, nothing out of order"
    assert service.metrics()["inboxd_sockets_slowed_total"] >= before + 40
    await wire.close()


@pytest.mark.parametrize(
    "frame", ({"type": "signal", "to": "nobody", "body": 1}, {"type": "watch", "users": ["nobody"]})
)
async def test_signals_and_watches_count_as_messages(
    service: Service, issuer: Issuer, alice: str, frame: dict[str, Any]
) -> None:
    before = service.metrics()["inboxd_sockets_slowed_total"]
    wire = await Wire.open(
        f"{service.url.replace('http', 'ws')}/v1/ws", headers={"Authorization": f"Bearer {issuer.token(alice)}"}
    )
    await wire.send({"type": "hello", "device": "phone"})
    await wire.next("live")
    await wire.send(*([frame] * 15), {"type": "ping", "ref": "end"})
    await wire.next("pong", ref="end")
    assert service.metrics()["inboxd_sockets_slowed_total"] >= before + 5
    await wire.close()


async def test_nobody_sends_beyond_the_rate_by_leaving(service: Service, issuer: Issuer, alice: str, bob: str) -> None:
    url, headers = f"{service.url.replace('http', 'ws')}/v1/ws", {"Authorization": f"Bearer {issuer.token(alice)}"}
    wire = await Wire.open(url, headers=headers)
    await wire.send({"type": "hello", "device": "phone"})
    await wire.next("live")
    sends = [json.dumps({"type": "send", "id": f"m{n}", "to": bob, "body": n}) for n in range(200)]
    wire.connection.transport.write(masked("\n".join(sends).encode()) + masked(b"\x03\xe8", CLOSE))
    assert await wire.ended() == 1000
    await wire.close()
    again = await Wire.open(url, headers=headers)
    await again.send({"type": "hello", "device": "phone"}, {"type": "send", "id": "after", "to": bob, "body": "hi"})
    accepted = await again.next("accepted", id="after")
    assert int(accepted["recipients"][0]["cursor"].partition("-")[2]) < 100, "those that had to wait were not sent"
    await again.close()


async def test_a_user_who_is_slowed_slows_nobody_else(
    service: Service, issuer: Issuer, alice: str, bob: str, carol: str
) -> None:
    url = f"{service.url.replace('http', 'ws')}/v1/ws"
    wires = []
    for user in (alice, carol):
        wires.append(await Wire.open(url, headers={"Authorization": f"Bearer {issuer.token(user)}"}))
        await wires[-1].send({"type": "hello", "device": "phone"})
        await wires[-1].next("live")
    slow, other = wires
    for n in range(100):
        await slow.send({"type": "send", "id": f"m{n}", "to": bob, "body": n})
    await slow.next("accepted", id="m5")
    await other.send({"type": "send", "id": "m0", "to": bob, "body": "hi"})
    await other.next("accepted", id="m0")
    assert len(slow.of("accepted")) < 100, "it is still being slowed"
    await slow.abort()
    await other.close()
