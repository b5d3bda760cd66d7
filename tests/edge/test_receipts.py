"""Receipts: what senders are told of what they sent, in their inbox."""

from collections.abc import Callable

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api
from tests.support.device import Device
from tests.support.event_stream import EventStream


async def receipted(api: Api, service: Service, user: str) -> bool:
    """Whether all that the user has acked is told."""
    with service.store() as store:
        best, made = store.hmget(f"chat:state:{{{user}}}", "best", "receipted")
    return bool(best) and best == made


async def test_an_ack_by_the_first_device_brings_the_sender_a_receipt(service: Service, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone, Device(service.url, bob) as bobs, Device(service.url, bob, "pad"):
        await phone.send("m-1", bob, "hi")
        await bobs.receive(1)
        assert phone.receipts() == []
        await bobs.ack()
        receipt = await phone.receipt("m-1")
        assert (receipt["by"], receipt["id"]) == (bob, "delivered:m-1")
        assert receipt["ts"] > 0
        await phone.ack()


async def test_a_hundred_acked_together_make_one_receipt_for_each_sender(
    service: Service, api: Api, alice: str, bob: str, carol: str
) -> None:
    async with Device(service.url, alice) as alices, Device(service.url, carol) as carols:
        await api.fill(bob, 100)
        async with Api(service.url, carol) as hers:
            await hers.fill(bob, 100)
        async with Device(service.url, bob) as bobs:
            await bobs.receive(200)
            await bobs.ack()
            await alices.receipt("m100")
            await carols.receipt("m100")
        await eventually_async(lambda: receipted(api, service, bob), "all of it is told")
        await alices.ping()
        assert alices.receipts() == ["m100"]


async def test_a_receipt_waits_for_a_sender_who_is_offline(service: Service, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone:
        await phone.send("m-1", bob, "hi")
    async with Device(service.url, bob) as bobs:
        await bobs.receive(1)
        await bobs.ack()
        async with Api(service.url, bob) as api:
            await eventually_async(lambda: receipted(api, service, bob), "it is told")
    await phone.connect()
    assert (await phone.receipt("m-1"))["replay"] is True
    await phone.close()


async def test_a_sender_without_a_device_gets_none(service: Service, api: Api, alice: str, bob: str) -> None:
    await api.send(bob, "hi", "m-1")
    async with Device(service.url, bob) as bobs:
        await bobs.receive(1)
        await bobs.ack()
        await eventually_async(lambda: receipted(api, service, bob), "it is told")
    response = await api.http.get(f"/v1/ops/inboxes/{alice}")
    assert response.status_code == 404 or response.json()["length"] == 0
    fate = await api.get("/v1/messages/m-1", to=bob)
    assert fate["recipients"][0]["state"] == "delivered"


async def test_acks_over_http_count_too(service: Service, api: Api, alice: str, bob: str, bobs: Api) -> None:
    async with Device(service.url, alice) as phone:
        cursor = (await api.send(bob, "hi", "m-1"))["recipients"][0]["cursor"]
        response = await bobs.http.post("/v1/inbox/ack", json={"device": "tablet", "cursor": cursor})
        assert response.status_code == 204
        await phone.receipt("m-1")


async def test_a_receipt_is_an_event_of_a_stream(service: Service, api: Api, alice: str, bob: str) -> None:
    async with EventStream(service.url, alice) as stream, Device(service.url, bob) as bobs:
        await stream.next("live")
        await api.send(bob, "hi", "m-1")
        await bobs.receive(1)
        await bobs.ack()
        receipt = await stream.next("receipt")
        assert receipt["target"] == "m-1"


async def test_none_is_made_for_receipts_and_own_entries(service: Service, api: Api, alice: str, bob: str) -> None:
    alices, bobs = Device(service.url, alice), Device(service.url, bob)
    alices.acking = bobs.acking = True
    await alices.connect()
    await bobs.connect()
    await alices.send("m-1", bob, "hi")
    await alices.send("m-2", alice, "note")
    await alices.receipt("m-1")
    for user in (alice, bob):
        await eventually_async(lambda: receipted(api, service, user), "all of it is told")  # noqa: B023
    await bobs.ping()
    assert bobs.around == []
    assert alices.receipts() == ["m-1"]
    await alices.close()
    await bobs.close()


async def test_a_message_that_wants_none_gets_none(service: Service, api: Api, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone, Device(service.url, bob) as bobs:
        await phone.send("m-1", bob, "hi")
        await phone.send("m-2", bob, "quiet", receipts=False)
        await api.send(bob, "quiet, too", "m-3", receipts=False)
        await bobs.receive(3)
        await bobs.ack()
        await phone.receipt("m-1")
        await bobs.say({"type": "read", "from": alice, "upto": "m-3"})
        await bobs.read_upto("m-3")
        await phone.receipt("m-1", "read")
        assert phone.receipts() == ["m-1"]
        assert phone.receipts("read") == ["m-1"]


async def test_what_was_sent_to_several_is_told_by_each(service: Service, alice: str, bob: str, carol: str) -> None:
    async with (
        Device(service.url, alice) as phone,
        Device(service.url, bob) as bobs,
        Device(service.url, carol) as hers,
    ):
        await phone.send("m-1", [bob, carol], "hi")
        for device in (bobs, hers):
            await device.receive(1)
            await device.ack()

        def by() -> bool:
            return {frame["by"] for frame in phone.around} == {bob, carol}

        await phone.wire.until(lambda: by() or None, "two receipts")


@pytest.fixture(scope="module")
def silent(serve: Callable[..., Service]) -> Service:
    return serve(receipts="off", workers=1)


async def test_the_setting_turns_receipts_off_and_keeps_what_one_has_read(
    silent: Service, alice: str, bob: str
) -> None:
    async with (
        Device(silent.url, alice) as phone,
        Device(silent.url, bob) as bobs,
        Device(silent.url, bob, "pad") as pad,
    ):
        await phone.send("m-1", bob, "hi")
        await bobs.receive(1)
        await bobs.ack()
        await bobs.say({"type": "read", "from": alice, "upto": "m-1"})
        await bobs.read_upto("m-1")
        await pad.read_upto("m-1")
        await phone.ping()
        assert phone.around == []
        async with Api(silent.url, alice) as api:
            [fate] = (await api.get("/v1/messages/m-1"))["recipients"]
            assert (fate["state"], fate["delivered_at"]) == ("read", None)
            assert not await receipted(api, silent, bob)
