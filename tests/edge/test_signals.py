"""Signals as clients send and get them; what is at fault with one, and floods of them."""

import asyncio
from typing import Any

import pytest

from scripts.lab.service import Service
from tests.support.api import Api
from tests.support.device import Device
from tests.support.event_stream import EventStream
from tests.support.issuer import Issuer
from tests.support.legacy import LegacyClient


def a_signal(to: Any, body: Any = 1, **more: Any) -> dict[str, Any]:
    return {"type": "signal", "to": to, "body": body, **more}


async def test_it_reaches_sockets_and_streams_on_every_worker_and_never_its_sender(
    service: Service, alice: str, bob: str, carol: str
) -> None:
    here, there = service.workers()
    phone, laptop, mine, own = (
        Device(service.url, user, name)
        for user, name in ((bob, "phone"), (bob, "laptop"), (alice, "phone"), (alice, "laptop"))
    )
    for device, worker in ((phone, here), (laptop, there), (mine, here), (own, there)):
        with service.only(worker.name):
            await device.connect()
        await device.go_live()
    async with EventStream(service.url, carol) as stream:
        await stream.next("live")
        await mine.say(a_signal([bob, carol, alice], {"typing": True}), a_signal(bob, 2))
        for device in (phone, laptop):
            first, second = await device.wire.next("signal"), await device.wire.next("signal")
            assert first == {"type": "signal", "from": alice, "to": bob, "body": {"typing": True}, "ts": first["ts"]}
            assert second["body"] == 2
        assert (await stream.next("signal"))["to"] == carol
        assert stream.events[-1].id == "", "an event without an id moves no browser's place"
    for device in (mine, own):
        await device.ping()
        assert device.wire.of("signal", "error") == []
    for device in (phone, laptop, mine, own):
        await device.close()


async def test_older_clients_and_whoever_is_away_get_none(service: Service, api: Api, alice: str, bob: str) -> None:
    async with LegacyClient(service.url, bob) as old, Device(service.url, bob, "phone") as phone:
        async with Device(service.url, alice) as mine:
            await mine.say(a_signal(bob))
        await phone.wire.next("signal")
        await api.send(bob, {"text": "hi"})
        await old.message()
        assert [frame["type"] for frame in old.wire.frames] == ["system", "private_message"]
    async with Device(service.url, bob, "late") as late:
        await late.go_live()
        await late.ping()
        assert late.wire.of("signal") == []


async def test_a_body_of_a_kibibyte_is_taken_and_one_byte_more_is_not(service: Service, alice: str, bob: str) -> None:
    async with Device(service.url, bob) as phone, Device(service.url, alice) as mine:
        await phone.go_live()
        await mine.say(a_signal(bob, "x" * 1023))
        error = await mine.wire.next("error")
        assert (error["code"], error["field"]) == ("too_large", "body")
        assert "id" not in error
        await mine.say(a_signal(bob, "x" * 1022))
        assert len((await phone.wire.next("signal"))["body"]) == 1022


@pytest.mark.parametrize(
    ("fault", "code"),
    (
        ({"to": None}, "invalid_field"),
        ({"group": "team"}, "invalid_field"),
        ({"to": []}, "invalid_field"),
        ({"to": ["a", "a"]}, "invalid_field"),
        ({"to": [f"u{number}" for number in range(101)]}, "invalid_field"),
        ({"to": "b c"}, "invalid_field"),
        ({"id": "m-1"}, "invalid_field"),
        ({"expires_in": 5}, "invalid_field"),
        ({"to": None, "group": "no.such.group"}, "no_such_group"),
    ),
)
async def test_a_fault_is_told_and_the_connection_goes_on(
    service: Service, alice: str, bob: str, fault: dict[str, Any], code: str
) -> None:
    content = {name: value for name, value in (a_signal(bob) | fault).items() if value is not None}
    async with Device(service.url, bob) as phone, Device(service.url, alice) as mine:
        await phone.go_live()
        mine.rules.asked["m-1"] += 1  # the error repeats the id that a signal must not have
        await mine.wire.send(content)
        assert (await mine.wire.next("error"))["code"] == code
        await mine.say(a_signal(bob))
        await phone.wire.next("signal")


async def test_to_a_group_it_reaches_the_members_and_nobody_else_may_send_one(
    service: Service, api: Api, alice: str, bob: str, carol: str
) -> None:
    group = f"team.{alice}"
    assert (await api.http.put(f"/v1/groups/{group}", json={"members": [alice, bob]})).status_code == 201
    async with (
        Device(service.url, alice) as mine,
        Device(service.url, bob) as phone,
        Device(service.url, carol) as stranger,
    ):
        await phone.go_live()
        to_it = {"type": "signal", "group": group, "body": {"typing": True}}
        await stranger.say(to_it)
        assert (await stranger.wire.next("error"))["code"] == "no_such_group"
        await mine.say(to_it)
        got = await phone.wire.next("signal")
        assert got == {"type": "signal", "from": alice, "group": group, "body": {"typing": True}, "ts": got["ts"]}
        assert (await api.http.delete(f"/v1/groups/{group}/members/{bob}")).status_code == 204
        await mine.say(to_it, a_signal(bob, "after"))
        assert (await phone.wire.next("signal"))["body"] == "after"


async def test_in_anothers_name_it_needs_the_scope(guarded: Service, alice: str, bob: str, carol: str) -> None:
    issuer = Issuer()
    async with Device(guarded.url, bob, token=issuer.token(bob)) as phone:
        await phone.go_live()
        async with Device(guarded.url, alice, token=issuer.token(alice)) as mine:
            await mine.say(a_signal(bob, 1, **{"from": carol}))
            assert (await mine.wire.next("error"))["code"] == "forbidden"
        async with Device(guarded.url, alice, token=issuer.token(alice, "chat send:any")) as backend:
            await backend.say(a_signal(bob, 2, **{"from": carol}))
            assert (await phone.wire.next("signal"))["from"] == carol


async def test_a_flood_holds_nobody_up_and_loses_nothing_but_signals(
    service: Service, api: Api, alice: str, bob: str, carol: str
) -> None:
    async with Device(service.url, bob) as phone, Device(service.url, carol) as other:
        await phone.go_live()
        async with Device(service.url, alice) as mine:
            for _ in range(20):
                await mine.wire.send(*(a_signal(bob, "x" * 300) for _ in range(200)))
            answers = await asyncio.gather(*(api.send(carol, number, f"m-{number}") for number in range(20)))
            await mine.ping()
        assert len(await other.receive(20)) == len(answers)
        await api.send(bob, "after", "m-after")
        assert (await phone.receive(1))[0]["id"] == "m-after"
        metrics = service.metrics()
        lost, told = metrics["inboxd_signals_dropped_total"], metrics["inboxd_signals_told_total"]
        assert told > 0
        assert len(phone.wire.of("signal")) + lost <= told + lost
