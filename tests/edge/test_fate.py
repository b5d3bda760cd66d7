"""`GET /v1/messages/{id}`: what became of a message, and who may ask."""

from typing import Any

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api, problem
from tests.support.device import Device
from tests.support.issuer import Issuer


async def fate(api: Api, id: str = "m-1", **query: Any) -> dict[str, Any]:
    """At the one recipient."""
    answer = await api.get(f"/v1/messages/{id}", **query)
    [one] = answer["recipients"]
    return dict(one)


async def test_from_pending_to_read(service: Service, api: Api, alice: str, bob: str, bobs: Api) -> None:
    sent = (await api.send(bob, "hi", "m-1"))["recipients"][0]
    before = await fate(api, to=bob)
    at = int(sent["cursor"].split("-")[0])
    assert before == {
        "to": bob, "cursor": sent["cursor"], "state": "pending", "accepted_at": at, "delivered_at": None,
        "read_at": None, "devices": [],
    }  # fmt: skip
    async with Device(service.url, bob) as device:
        await device.receive(1)
        await device.ack()

        async def delivered() -> bool:
            return (await fate(api, to=bob))["delivered_at"] is not None

        await eventually_async(delivered, "it is marked")
        now = await fate(api, to=bob)
        assert (now["state"], now["devices"], now["read_at"]) == ("delivered", ["phone"], None)
        assert now["delivered_at"] >= at
        await bobs.http.post("/v1/inbox/read", json={"from": alice, "upto": "m-1"})
        now = await fate(api, to=bob)
        assert now["state"] == "read"
        assert now["read_at"] >= now["delivered_at"]


async def test_a_message_whose_time_is_over_is_expired(api: Api, bob: str) -> None:
    await api.send(bob, "hi", "m-1", expires_in=1)

    async def expired() -> bool:
        return bool((await fate(api, to=bob))["state"] == "expired")

    await eventually_async(expired, "its time is over")


async def test_the_own_copy_says_whom_it_went_to(service: Service, api: Api, alice: str, bob: str, carol: str) -> None:
    async with Device(service.url, alice):
        await api.send([bob, carol], "hi", "m-1")
        answer = await api.get("/v1/messages/m-1")
        assert (answer["id"], answer["from"]) == ("m-1", alice)
        assert [one["to"] for one in answer["recipients"]] == [bob, carol]
        answer = await api.get("/v1/messages/m-1", to=[carol, "nobody-at-all"])
        assert [one["to"] for one in answer["recipients"]] == [carol]


async def test_an_unknown_one_is_no_such_message(api: Api, bob: str) -> None:
    problem(await api.http.get("/v1/messages/m-9"), 404, "no_such_message", "id")
    problem(await api.http.get("/v1/messages/m-9", params={"to": bob}), 404, "no_such_message", "id")


@pytest.mark.parametrize("query", ({"to": "a b"}, {"from": ""}, {"to": ["x"] * 101}))
async def test_what_does_not_fit_is_refused(api: Api, query: dict[str, Any]) -> None:
    problem(await api.http.get("/v1/messages/m-1", params=query), 422, "invalid_field")


async def test_sender_recipient_backend_and_operator_may_ask_and_nobody_else(
    guarded: Service, alice: str, bob: str, carol: str
) -> None:
    issuer = Issuer()

    def asking(user: str, scope: str = "chat") -> Api:
        return Api(guarded.url, token=issuer.token(user, scope))

    async with asking(alice) as sender, asking(bob) as recipient, asking(carol) as other:
        await sender.send([bob, carol], "hi", "m-1")
        assert len((await sender.get("/v1/messages/m-1", to=[bob, carol]))["recipients"]) == 2
        assert (await fate(recipient, **{"from": alice}))["to"] == bob
        assert (await fate(recipient, **{"from": alice, "to": bob}))["to"] == bob
        refused = await recipient.http.get("/v1/messages/m-1", params={"from": alice, "to": carol})
        problem(refused, 403, "forbidden")
        refused = await other.http.get("/v1/messages/m-1", params={"from": alice, "to": bob})
        problem(refused, 403, "forbidden")
    async with asking("backend", "send:any") as backend, asking("operator", "ops") as operator:
        for anybody in (backend, operator):
            assert (await fate(anybody, **{"from": alice, "to": bob}))["state"] == "pending"
