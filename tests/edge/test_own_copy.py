"""The sender's own copy: in its own inbox, so that all its devices show the same log."""

from collections.abc import Callable

import pytest

from scripts.lab.service import Service
from tests.support.api import Api
from tests.support.device import Device


async def test_every_device_of_the_sender_gets_what_one_of_them_sent(service: Service, alice: str, bob: str) -> None:
    async with Device(service.url, alice, "phone") as phone, Device(service.url, alice, "laptop") as laptop:
        sent = await phone.send("m-1", bob, {"text": "hi"})
        for device in (phone, laptop):
            (entry,) = await device.receive(1)
            assert (entry["id"], entry["from"], entry["to"]) == ("m-1", alice, bob)
            assert entry["body"] == {"text": "hi"}
        assert [one["to"] for one in sent["recipients"]] == [bob], "the answer is about recipients"


async def test_a_user_without_a_device_has_no_copies(api: Api, alice: str, bob: str) -> None:
    await api.send(bob)
    response = await api.http.get(f"/v1/ops/inboxes/{alice}")
    assert response.status_code == 404 or response.json()["length"] == 0


async def test_a_device_that_is_offline_finds_the_copy_later(service: Service, api: Api, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone:
        pass
    await api.send(bob, "hi", "m-1")
    await phone.connect()
    (entry,) = await phone.receive(1)
    assert (entry["id"], entry["to"], entry["replay"]) == ("m-1", bob, True)
    await phone.close()


async def test_of_a_send_to_several_the_copy_names_all_and_is_one(
    service: Service, alice: str, bob: str, carol: str
) -> None:
    async with Device(service.url, alice) as phone:
        await phone.send("m-1", [bob, carol], 1)
        await phone.send("m-2", [bob], 2)
        first, second, *more = await phone.receive(2)
        assert (first["id"], first["to"]) == ("m-1", [bob, carol])
        assert second["id"] == "m-2"
        assert second["to"] in (bob, [bob])
        assert not more


async def test_who_sends_to_oneself_gets_one_entry(service: Service, api: Api, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone:
        await phone.send("m-1", alice, "note")
        await phone.send("m-2", [alice, bob], "both")
        await phone.send("m-3", bob, "last")
        entries = await phone.receive(3)
        assert [entry["id"] for entry in entries] == ["m-1", "m-2", "m-3"]
        assert entries[0]["to"] == alice
        assert (await api.inbox(alice))["length"] == 3


async def test_a_repeat_makes_no_second_copy(service: Service, api: Api, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone:
        for _ in range(3):
            await phone.send("m-1", bob, "hi")
        await phone.send("m-2", bob, "after")
        assert [entry["id"] for entry in await phone.receive(2)] == ["m-1", "m-2"]
        assert (await api.inbox(alice))["length"] == 2


async def test_the_same_id_to_another_recipient_leaves_the_first_copy(
    service: Service, api: Api, alice: str, bob: str, carol: str
) -> None:
    async with Device(service.url, alice) as phone:
        await phone.send("m-1", bob, "one")
        await phone.send("m-1", carol, "two")
        await phone.send("m-2", bob, "after")
        first, second = await phone.receive(2)
        assert (first["to"], first["body"], second["id"]) == (bob, "one", "m-2")


async def test_a_refused_message_makes_no_copy(service: Service, api: Api, alice: str, bob: str) -> None:
    async with Device(service.url, alice) as phone:
        await phone.send("m-1", bob, "one")
        assert (await phone.send("m-1", bob, "another"))["code"] == "id_reused"
        assert (await phone.send("m-2", bob, "x" * 70_000))["code"] == "too_large"
        await phone.send("m-3", bob, "after")
        assert [entry["id"] for entry in await phone.receive(2)] == ["m-1", "m-3"]


async def test_a_backend_in_anothers_name_makes_the_copy_there(
    service: Service, api: Api, bob: str, carol: str
) -> None:
    async with Device(service.url, carol) as phone:
        await api.send(bob, "hi", "m-1", **{"from": carol})
        (entry,) = await phone.receive(1)
        assert (entry["from"], entry["to"]) == (carol, bob)


@pytest.fixture(scope="module")
def without_copies(serve: Callable[..., Service]) -> Service:
    return serve(own_copy="off", workers=1)


async def test_the_setting_turns_copies_off(without_copies: Service, alice: str, bob: str) -> None:
    async with Device(without_copies.url, alice) as phone:
        await phone.send("m-1", bob, "hi")
        await phone.send("m-2", alice, "note")
        (entry,) = await phone.receive(1)
        assert entry["id"] == "m-2"
