"""Blocks: refused plainly, for that recipient alone, and never what was accepted before."""

import pytest

from scripts.lab.service import Service
from tests.support.api import Api, assert_problem, problem
from tests.support.device import Device
from tests.support.legacy import LegacyClient


@pytest.fixture
async def blocked(bobs: Api, alice: str) -> None:
    """Bob has blocked Alice."""
    assert (await bobs.http.put(f"/v1/blocks/{alice}")).status_code == 204


async def test_whom_one_has_blocked_is_told_by_name_and_to_oneself_alone(
    bobs: Api, api: Api, carol: str, alice: str
) -> None:
    for name in (carol, alice, carol):
        assert (await bobs.http.put(f"/v1/blocks/{name}")).status_code == 204
    assert await bobs.get("/v1/blocks") == {"blocks": sorted((alice, carol))}
    assert await api.get("/v1/blocks") == {"blocks": []}
    for name in (carol, carol):
        assert (await bobs.http.delete(f"/v1/blocks/{name}")).status_code == 204
    assert await bobs.get("/v1/blocks") == {"blocks": [alice]}


async def test_nobody_blocks_themselves_or_what_is_no_name(bobs: Api, bob: str) -> None:
    problem(await bobs.http.put(f"/v1/blocks/{bob}"), 422, "invalid_field", "user")
    problem(await bobs.http.put("/v1/blocks/b%20c"), 422, "invalid_field", "user")
    problem(await bobs.http.delete("/v1/blocks/b%20c"), 422, "invalid_field", "user")


@pytest.mark.usefixtures("blocked")
async def test_a_send_is_refused_plainly_and_nothing_arrives(api: Api, bobs: Api, bob: str) -> None:
    problem(await api.post({"to": bob, "body": 1}), 403, "refused")
    assert (await bobs.get("/v1/inbox", device="d"))["entries"] == []


@pytest.mark.usefixtures("blocked")
async def test_over_a_socket_it_is_an_error_of_that_send(service: Service, alice: str, bob: str, carol: str) -> None:
    async with Device(service.url, alice) as mine:
        error = await mine.send("m-1", bob, 1)
        assert (error["type"], error["code"], error["retryable"]) == ("error", "refused", False)
        assert (await mine.send("m-2", carol, 1))["type"] == "accepted", "no other send is held up"


@pytest.mark.usefixtures("blocked")
async def test_in_a_list_it_is_that_recipient_alone(
    service: Service, api: Api, alice: str, bob: str, carol: str
) -> None:
    answer = await api.send([carol, bob], 1, "m-1")
    assert [one.get("error") for one in answer["recipients"]] == [None, "refused"]
    async with Device(service.url, alice) as mine:
        accepted = await mine.send("m-2", [bob, carol], 2)
        assert [one.get("error") for one in accepted["recipients"]] == ["refused", None]
    refused = problem(await api.post({"to": [bob], "body": 3}), 403, "refused")
    assert refused["recipients"] == [{"to": bob, "error": "refused"}]


@pytest.mark.usefixtures("blocked")
async def test_in_a_batch_it_is_that_message_alone(api: Api, bob: str, carol: str) -> None:
    batch = {"messages": [{"to": user, "body": 1} for user in (carol, bob, carol)]}
    results = (await api.http.post("/v1/messages/batch", json=batch)).json()["results"]
    assert [result["status"] for result in results] == [202, 403, 202]
    assert_problem(results[1], 403, "refused")


async def test_what_was_accepted_before_is_answered_as_accepted(
    service: Service, api: Api, bobs: Api, alice: str, bob: str
) -> None:
    first = await api.send(bob, 1, "m-1")
    await bobs.http.put(f"/v1/blocks/{alice}")
    again = await api.post({"id": "m-1", "to": bob, "body": 1})
    assert again.status_code == 200
    assert again.json() == {**first, "duplicate": True}
    async with Device(service.url, alice) as mine:
        assert (await mine.send("m-1", bob, 1))["duplicate"] is True
        assert (await mine.send("m-2", bob, 1))["code"] == "refused"


async def test_a_refused_message_is_accepted_under_its_id_once_it_may_be(
    api: Api, bobs: Api, alice: str, bob: str
) -> None:
    await bobs.http.put(f"/v1/blocks/{alice}")
    problem(await api.post({"id": "m-1", "to": bob, "body": 1}), 403, "refused")
    await bobs.http.delete(f"/v1/blocks/{alice}")
    assert (await api.post({"id": "m-1", "to": bob, "body": 1})).status_code == 202


@pytest.mark.usefixtures("blocked")
async def test_the_other_way_nothing_is_refused(bobs: Api, alice: str) -> None:
    await bobs.send(alice, 1)


@pytest.mark.usefixtures("blocked")
async def test_older_clients_are_told_in_their_own_shape(service: Service, api: Api, alice: str, bob: str) -> None:
    answer = await api.http.post("/api/chat/create_chat", json={"msg": "hi", "sender": alice, "recipient": bob})
    assert (answer.status_code, answer.json()["code"]) == (403, 403)
    async with LegacyClient(service.url, alice) as mine:
        await mine.say(bob, "hi")
        assert (await mine.wire.next("system"))["msg"].startswith("not sent: ")
