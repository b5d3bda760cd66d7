"""A user id cannot reach another user's keys, whatever it looks like."""

import re

import pytest

from scripts.lab.service import Service
from tests.support.api import Api
from tests.support.device import Device
from tests.support.wire import Wire

NAME = r"[A-Za-z0-9._\-@:+]{1,128}"
KEYS = re.compile(
    rf"chat:(inbox|state|cursors|devices|presence|marks|blocks|groups|erased|watchers|pushers):\{{{NAME}\}}"
    rf"|chat:seen:\{{{NAME}\}}:[ab]"
    rf"|chat:(worker|claims|about):\{{w-[0-9a-f]+\}}"
    rf"|chat:ended:\{{{NAME}/{NAME}/{NAME}\}}"
    rf"|chat:group:\{{{NAME}\}}(:members|:log|:fanout|:seen:[ab])?"
    r"|chat:(fanout:\{\d+\}|push:\{\d+\}(:tries)?|sweeper|workers)"
)

# Names that are allowed, and look like parts of keys or hints.
TRICKY = (
    "a:b",
    "bob:a",
    "x:b:a",
    ":",
    ".",
    "..",
    "-",
    "+",
    "@",
    "0-0",
    "-1",
    "$",
    "bob@host",
    "dead",
    "inbox",
)


@pytest.mark.parametrize("prefix", [name for name in TRICKY if name != "$"])
async def test_a_tricky_name_has_an_inbox_of_its_own(service: Service, api: Api, bob: str, prefix: str) -> None:
    name = f"{prefix}{bob}"
    async with Device(service.url, name, prefix) as tricky, Device(service.url, bob) as phone:
        await api.send(name, "for the tricky one", "m-1")
        await api.send(bob, "for bob", "m-1")
        await tricky.send("m-2", bob, "from the tricky one")
        assert [entry["body"] for entry in await phone.receive(2)] == ["for bob", "from the tricky one"]
        assert [entry["body"] for entry in await tricky.receive(2)] == [
            "for the tricky one",
            "from the tricky one",
        ]


async def test_messages_with_tricky_ids_are_told_apart(api: Api, bob: str) -> None:
    for message_id in ("a", "a:", "a:b", "m", "m:a", "-", "0", "00", "A"):
        assert not (await api.send(bob, 1, message_id))["duplicate"]


async def test_senders_and_ids_cannot_be_shifted_into_each_other(service: Service, bob: str) -> None:
    for sender, message_id in (("a:b", "c"), ("a", "b:c"), ("a:", "b:c")):
        async with Api(service.url, sender + bob) as api:
            assert not (await api.send(bob, 1, message_id))["duplicate"]


@pytest.mark.parametrize("name", ("bob}:x", "*", "bob%0Ax", "%7Bbob%7D", "b%C3%B6b", "bob%2Fphone", "bob%00"))
async def test_a_hostile_name_opens_no_socket(service: Service, name: str) -> None:
    wire = await Wire.open(f"{service.url.replace('http', 'ws')}/v1/ws?user={name}")
    await wire.send({"type": "hello", "device": "phone"})
    assert await wire.ended() in {4500, 4501}
    assert not wire.of("welcome")


@pytest.mark.parametrize("name", ("bob}:x", "*", "bob%0Ax", "%7Bbob%7D", "b%C3%B6b", "bob%00"))
async def test_operators_get_no_foreign_keys_either(api: Api, name: str) -> None:
    for path in (f"/v1/ops/inboxes/{name}", f"/v1/ops/connections/{name}"):
        method = "GET" if "inboxes" in path else "DELETE"
        assert (await api.http.request(method, path)).status_code in {404, 422}


async def test_after_all_of_it_only_keys_of_the_catalogue_exist(service: Service) -> None:
    with service.store() as store:
        foreign = [key for key in store.scan_iter(count=1000) if not KEYS.fullmatch(key)]
    assert not foreign
