"""Reading: the sender is told, and so are one's own devices."""

from typing import Any

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api, problem
from tests.support.device import Device


def upto(sender: str, id: str) -> dict[str, Any]:
    return {"type": "read", "from": sender, "upto": id}


async def test_what_is_read_on_one_device_is_told_to_the_sender_and_to_all_of_ones_own(
    service: Service, alice: str, bob: str
) -> None:
    async with (
        Device(service.url, alice) as phone,
        Device(service.url, bob) as bobs,
        Device(service.url, bob, "pad") as pad,
    ):
        await phone.send("m-1", bob, "hi")
        await bobs.receive(1)
        await bobs.say(upto(alice, "m-1"))
        for device in (bobs, pad):
            entry = await device.read_upto("m-1")
            assert (entry["from"], entry["id"]) == (alice, "read:m-1")
        receipt = await phone.receipt("m-1", "read")
        assert (receipt["by"], receipt["id"]) == (bob, "read:m-1")


async def test_it_is_replayed_to_a_device_that_was_away(service: Service, api: Api, alice: str, bob: str) -> None:
    async with Device(service.url, bob, "pad") as pad:
        pass
    async with Device(service.url, bob) as bobs:
        await api.send(bob, "hi", "m-1")
        await bobs.say(upto(alice, "m-1"))
        await bobs.read_upto("m-1")
    await pad.connect()
    assert (await pad.read_upto("m-1"))["replay"] is True
    await pad.close()


async def test_reading_again_or_less_makes_nothing_new(service: Service, api: Api, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone, Device(service.url, bob) as bobs:
        await api.fill(bob, 3)
        await bobs.receive(3)
        for number in (2, 2, 1, 2, 3):
            await bobs.say(upto(alice, f"m{number}"))
        await bobs.read_upto("m3")
        await phone.receipt("m3", "read")
        assert phone.receipts("read") == ["m2", "m3"]
        assert [frame["upto"] for frame in bobs.around] == ["m2", "m3"]
        assert (await api.inbox(bob))["length"] == 5


async def test_over_http(service: Service, api: Api, bobs: Api, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone, Device(service.url, bob) as device:
        await api.send(bob, "hi", "m-1")
        for _ in range(2):
            response = await bobs.http.post("/v1/inbox/read", json={"from": alice, "upto": "m-1"})
            assert response.status_code == 204
        await device.read_upto("m-1")
        await phone.receipt("m-1", "read")
        assert phone.receipts("read") == ["m-1"]


async def test_an_unknown_message_is_no_such_message(service: Service, bobs: Api, alice: str, bob: str) -> None:
    response = await bobs.http.post("/v1/inbox/read", json={"from": alice, "upto": "m-9"})
    problem(response, 404, "no_such_message", "upto")
    async with Device(service.url, bob) as device:
        await device.say(upto(alice, "m-9"))
        error = await device.wire.next("error")
        assert (error["code"], error["field"], error["retryable"]) == ("no_such_message", "upto", False)
        assert "id" not in error


async def test_of_a_group_one_was_never_in_is_no_such_group(service: Service, bobs: Api, bob: str) -> None:
    response = await bobs.http.post("/v1/inbox/read", json={"group": "team", "upto": 4})
    problem(response, 404, "no_such_group", "group")
    async with Device(service.url, bob) as device:
        await device.say({"type": "read", "group": "team", "upto": 4})
        assert (await device.wire.next("error"))["code"] == "no_such_group"


@pytest.mark.parametrize(
    ("content", "field"),
    (
        ({"upto": "m-1"}, "from"),
        ({"from": "alice", "group": "team", "upto": "m-1"}, "from"),
        ({"from": "alice", "upto": 5}, "upto"),
        ({"group": "team", "upto": "m-1"}, "upto"),
        ({"from": "alice"}, "upto"),
        ({"from": "alice", "upto": "m-1", "more": 1}, "more"),
    ),
)
async def test_what_does_not_fit_is_named(bobs: Api, content: dict[str, Any], field: str) -> None:
    problem(await bobs.http.post("/v1/inbox/read", json=content), 422, "invalid_field", field)


async def test_a_note_to_oneself_is_read_without_a_receipt(service: Service, api: Api, alice: str) -> None:
    async with Device(service.url, alice) as phone:
        await api.send(alice, "note", "m-1")
        await phone.receive(1)
        await phone.say(upto(alice, "m-1"))
        await phone.read_upto("m-1")
        assert phone.receipts("read") == []


async def test_in_a_group_the_number_is_marked_and_only_ones_own_devices_hear(
    service: Service, api: Api, alice: str, bob: str
) -> None:
    team = f"team-{alice}"
    assert (await api.http.put(f"/v1/groups/{team}", json={"members": [alice, bob]})).status_code == 201
    sent = (await api.post({"group": team, "id": "m-1", "body": "hi"})).json()
    async with Device(service.url, bob) as bobs, Device(service.url, bob, "pad") as pad:
        await bobs.say({"type": "read", "group": team, "upto": sent["seq"] + 1})
        assert (await bobs.wire.next("error"))["code"] == "no_such_message"
        await bobs.say({"type": "read", "group": team, "upto": sent["seq"]})
        entry = await pad.read_upto(sent["seq"])
        assert (entry["group"], entry["id"]) == (team, f"read:{team}:{sent['seq']}")
        await bobs.wire.until(lambda: bobs.position.seq >= sent["seq"] or None, "the group's entries")
        await bobs.ack()

        async def marked() -> bool:
            marks = await api.get(f"/v1/groups/{team}/marks")
            [his] = [row for row in marks["marks"] if row["user"] == bob]
            return all((his[what] or {}).get("seq") == sent["seq"] for what in ("delivered", "read"))

        await eventually_async(marked, "what was delivered and read is marked")
