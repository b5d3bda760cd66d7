"""Section 8: clients of the plain pub/sub chat connect unchanged. They know nothing else."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from service.edge.ws_reader import BINARY
from tests.hostile.raw import frame
from tests.support.api import Api
from tests.support.device import Device
from tests.support.legacy import LegacyClient, old_frame, old_welcome, same
from tests.support.wire import Wire

CREATE = "/api/chat/create_chat"


@pytest.fixture
async def plain(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """HTTP without a word about who asks, as old clients are."""
    async with httpx2.AsyncClient(base_url=service.url, trust_env=False) as client:
        yield client


async def create(plain: httpx2.AsyncClient, sender: str, recipient: str, text: Any) -> httpx2.Response:
    return await plain.post(CREATE, json={"msg": text, "sender": sender, "recipient": recipient})


async def handled(api: Api, user: str, cursor: str) -> None:
    """Waits until the service takes everything up to a cursor as handled by the old client."""

    async def probe() -> bool:
        return await api.stored(user, "legacy") == cursor

    await eventually_async(probe, f"{cursor} counts as handled")


# The socket


async def test_on_connecting_comes_exactly_the_old_welcome(service: Service, bob: str) -> None:
    client = LegacyClient(service.url, bob)
    assert same(await client.connect(), old_welcome(bob))
    await client.wire.close()


async def test_two_old_clients_talk_in_exactly_the_old_frames(service: Service, alice: str, bob: str) -> None:
    async with LegacyClient(service.url, alice) as first, LegacyClient(service.url, bob) as second:
        await first.say(bob, "h\u00e9llo \u4f60\u597d \U0001f600")
        assert same(await second.message(), old_frame(alice, "h\u00e9llo \u4f60\u597d \U0001f600", bob))
        await second.say(alice, "")
        assert same(await first.message(), old_frame(bob, "", alice))


async def test_an_old_client_gets_one_object_a_frame(service: Service, alice: str, bob: str) -> None:
    async with LegacyClient(service.url, alice) as first:
        for number in range(50):
            await first.say(bob, str(number))
        async with LegacyClient(service.url, bob) as second:
            await second.messages(50)
            assert set(second.wire.bundles) == {1}, "old clients know no bundles"


async def test_an_old_client_does_not_see_its_own_messages(service: Service, alice: str, bob: str) -> None:
    async with LegacyClient(service.url, alice) as first, LegacyClient(service.url, bob) as second:
        await first.say(bob, "one")
        await second.message()
        await second.say(alice, "two")
        await first.message()
        assert len(first.wire.frames) == 2


async def test_who_writes_to_oneself_gets_it(service: Service, alice: str) -> None:
    async with LegacyClient(service.url, alice) as client:
        await client.say(alice, "note")
        assert same(await client.message(), old_frame(alice, "note", alice))


async def test_an_offline_recipient_gets_what_was_missed_in_order(service: Service, alice: str, bob: str) -> None:
    async with LegacyClient(service.url, alice) as first:
        for number in range(300):
            await first.say(bob, str(number))
        async with LegacyClient(service.url, bob) as second:
            got = await second.messages(300)
            assert [frame["msg"] for frame in got] == [str(number) for number in range(300)]
            await first.say(bob, "live")
            assert (await second.messages(301))[-1]["msg"] == "live"


async def test_what_an_old_client_says_behind_a_frame_that_ends_its_connection_is_not_sent(
    service: Service, alice: str, bob: str
) -> None:
    client = LegacyClient(service.url, alice)
    await client.connect()
    late = json.dumps({"type": "private_message", "recipient": bob, "msg": "late"})
    client.wire.connection.transport.write(frame(b"x", BINARY) + frame(late.encode()))
    assert await client.wire.ended() == 4500
    await client.wire.close()
    async with LegacyClient(service.url, alice) as first, LegacyClient(service.url, bob) as second:
        await first.say(bob, "after")
        assert (await second.message())["msg"] == "after"


async def test_what_was_written_and_followed_by_an_answered_ping_counts_as_handled(
    service: Service, api: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 5, {"text": "hi"})
    async with LegacyClient(service.url, bob) as client:
        await client.messages(5)
        await handled(api, bob, cursors[-1])
    async with LegacyClient(service.url, bob) as client:
        sent = await api.send(bob, {"text": "new"})
        assert [frame["msg"] for frame in await client.messages(1)] == ["new"]
        await handled(api, bob, sent["recipients"][0]["cursor"])


async def test_what_was_in_flight_when_a_connection_died_is_sent_again(service: Service, api: Api, bob: str) -> None:
    client = LegacyClient(service.url, bob)
    await client.connect()
    client.wire.ignore_pings()
    cursors = await api.fill(bob, 5, {"text": "hi"})
    await client.messages(5)
    assert await client.wire.ended() == 4001
    assert client.wire.pings, "a ping came and was not answered"
    assert await api.stored(bob, "legacy") == "0-0"
    await client.connect()
    await client.messages(5)
    await handled(api, bob, cursors[-1])
    await client.wire.close()


async def test_a_window_of_a_thousand_unanswered_messages_goes_on_after_the_ping(
    service: Service, api: Api, bob: str
) -> None:
    cursors = await api.fill(bob, 1000, {"text": "x"})
    async with LegacyClient(service.url, bob) as client:
        await client.messages(1000)
        await handled(api, bob, cursors[-1])


async def test_a_second_connection_of_the_user_replaces_the_first(service: Service, alice: str, bob: str) -> None:
    first, second = LegacyClient(service.url, bob), LegacyClient(service.url, bob)
    await first.connect()
    await second.connect()
    assert await first.wire.ended() == 4509
    async with LegacyClient(service.url, alice) as other:
        await other.say(bob, "hi")
        await second.message()
    await first.wire.close()
    await second.wire.close()


async def test_an_old_and_a_new_client_of_one_user_both_get_everything(service: Service, api: Api, bob: str) -> None:
    async with LegacyClient(service.url, bob) as old, Device(service.url, bob) as new:
        await api.send(bob, {"text": "hi"}, "m-1")
        assert (await old.message())["msg"] == "hi"
        assert (await new.receive(1))[0]["id"] == "m-1"


async def test_old_and_new_clients_talk(service: Service, alice: str, bob: str) -> None:
    async with LegacyClient(service.url, alice) as old, Device(service.url, bob) as new:
        await old.say(bob, "from old")
        (entry,) = await new.receive(1)
        assert (entry["from"], entry["to"], entry["body"]) == (alice, bob, {"text": "from old"})
        await new.send("m-1", alice, {"text": "from new", "more": 1})
        assert same(await old.message(), old_frame(bob, "from new", alice))


@pytest.mark.parametrize(
    ("body", "text"),
    (
        ({"text": "plain"}, "plain"),
        ("a string", '"a string"'),
        ({"a": [1, None, "\u00e9"]}, '{"a":[1,null,"\u00e9"]}'),
        ({"text": 5}, '{"text":5}'),
        (None, "null"),
        (17, "17"),
    ),
)
async def test_other_bodies_reach_an_old_client_as_text_or_compact_json(
    service: Service, api: Api, alice: str, bob: str, body: Any, text: str
) -> None:
    async with LegacyClient(service.url, bob) as client:
        await api.send(bob, body)
        assert same(await client.message(), old_frame(alice, text, bob))


async def test_own_copies_and_gaps_are_passed_over_and_do_not_come_back(
    service: Service, api: Api, bob: str, carol: str
) -> None:
    async with LegacyClient(service.url, bob) as client:
        await client.say(carol, "a copy of this lies in Bob's inbox")
        await api.send(bob, {"text": "first"})
        assert (await client.message())["msg"] == "first"
        last = (await api.inbox(bob))["last"]
        await handled(api, bob, last)
        assert len(client.wire.of("private_message")) == 1


async def test_receipts_and_groups_are_passed_over_and_count_as_handled(
    service: Service, api: Api, alice: str, bob: str, carol: str
) -> None:
    async with LegacyClient(service.url, bob) as client, Device(service.url, carol) as hers:
        await client.say(carol, "hi")
        await hers.receive(1)
        await hers.ack()

        async def length() -> bool:
            return bool((await api.inbox(bob))["length"] >= 2)

        await eventually_async(length, "the copy and the receipt are there")
        async with Api(service.url, bob) as bobs:
            made = await bobs.http.put(f"/v1/groups/old-{bob}", json={"members": [alice, bob]})
            assert made.status_code == 201
        assert (await api.post({"group": f"old-{bob}", "body": {"text": "of a group"}})).status_code == 202
        await api.send(bob, {"text": "last"})
        assert (await client.message())["msg"] == "last"
        await handled(api, bob, (await api.inbox(bob))["last"])
        assert len(client.wire.frames) == 2, "a welcome, and one message"


async def test_a_frame_an_old_client_gets_wrong_does_not_disturb_the_others(
    service: Service, alice: str, bob: str
) -> None:
    async with LegacyClient(service.url, bob) as other:
        # A user each: without `attempt`, whichever of two connections claims last wins, were it opened first.
        for number, text in enumerate(("nonsense", "[]", "{}", '{"type":"private_message"}', '{"type":"x"}')):
            user = f"{alice}.{number}"
            wire = await Wire.open(f"{service.url.replace('http', 'ws')}/api/chat/connect_chat?user_code={user}")
            await wire.send_text(text)
            await wire.close()
        async with LegacyClient(service.url, alice) as first:
            await first.say(bob, "still here")
            assert (await other.message())["msg"] == "still here"


@pytest.mark.parametrize("query", ("", "?user_code=", "?user_code=b%20b", "?user_code=bob%7D:x"))
async def test_an_old_client_that_names_nobody_gets_no_inbox(service: Service, query: str) -> None:
    wire = await Wire.open(f"{service.url.replace('http', 'ws')}/api/chat/connect_chat{query}")
    assert await wire.ended() == 4501
    assert "Welcome to the chat app!" not in {frame["msg"] for frame in wire.of("system")}


# create_chat


async def test_create_chat_answers_exactly_as_before_and_delivers(
    service: Service, plain: httpx2.AsyncClient, alice: str, bob: str
) -> None:
    async with LegacyClient(service.url, bob) as client:
        response = await create(plain, alice, bob, "hi")
        assert (response.status_code, response.json()) == (200, {"code": 200, "msg": "\u6210\u529f", "data": ""})
        assert same(await client.message(), old_frame(alice, "hi", bob))


async def test_a_repeated_create_chat_is_a_second_message(
    plain: httpx2.AsyncClient, api: Api, alice: str, bob: str
) -> None:
    for _ in range(2):
        await create(plain, alice, bob, "hi")
    assert (await api.inbox(bob))["length"] == 2


async def test_create_chat_for_someone_offline_is_kept(
    service: Service, plain: httpx2.AsyncClient, alice: str, bob: str
) -> None:
    await create(plain, alice, bob, "while away")
    async with LegacyClient(service.url, bob) as client:
        assert same(await client.message(), old_frame(alice, "while away", bob))


@pytest.mark.parametrize(
    ("content", "status"),
    (
        ({"sender": "a", "recipient": "b"}, 422),
        ({"msg": "x", "recipient": "b"}, 422),
        ({"msg": "x", "sender": "a"}, 422),
        ({"msg": 1, "sender": "a", "recipient": "b"}, 422),
        ({"msg": "x", "sender": "a a", "recipient": "b"}, 422),
        ({"msg": "x", "sender": "a", "recipient": "b}"}, 422),
        ({"msg": "x" * 70_000, "sender": "a", "recipient": "b"}, 413),
        ([], 422),
        ("x", 422),
    ),
)
async def test_a_create_chat_at_fault_has_the_old_shape_and_a_fitting_status(
    plain: httpx2.AsyncClient, content: Any, status: int
) -> None:
    response = await plain.post(CREATE, json=content)
    assert response.status_code == status
    answer = response.json()
    assert answer.keys() == {"code", "msg", "data"}
    assert answer["code"] != 200
    assert isinstance(answer["msg"], str)
    assert answer["msg"]


async def test_a_create_chat_that_is_no_json_has_the_old_shape_too(plain: httpx2.AsyncClient) -> None:
    response = await plain.post(CREATE, content=b"{", headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json().keys() == {"code", "msg", "data"}
