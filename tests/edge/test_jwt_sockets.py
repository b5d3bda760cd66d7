"""Sockets with tokens: how one is let in, renews its token, and is sent away when that is over."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE
from tests.support.api import Api
from tests.support.device import Device, RefusedError
from tests.support.issuer import Issuer, unsigned
from tests.support.legacy import LegacyClient
from tests.support.wire import Wire

SHORT = 1.0
"""Seconds that a token lasts whose end is waited for."""


def token(user: str, scope: str | None = None, **claims: Any) -> str:
    return Issuer().token(user, scope, **claims)


def short(user: str) -> str:
    return token(user, exp=time.time() + SHORT)


def header(bearer: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {bearer}"}


async def opened(guarded: Service, headers: Mapping[str, str] | None = None, query: str = "") -> Wire:
    return await Wire.open(guarded.url.replace("http", "ws") + "/v1/ws" + query, headers=headers)


def hello(bearer: str | None = None) -> dict[str, Any]:
    return {"type": "hello", "device": "phone"} | ({} if bearer is None else {"token": bearer})


async def refused(wire: Wire, frame: dict[str, Any], code: int, reason: str) -> None:
    """`hello` gets `error`, then the close; no welcome."""
    await wire.send(frame)
    assert await wire.ended() == code
    assert wire.close_reason == reason
    assert [frame["code"] for frame in wire.of("error")] == [reason]
    assert not wire.of("welcome")


@pytest.fixture
async def alices(guarded: Service, alice: str) -> AsyncIterator[Api]:
    """Of a backend: no rate slows it down."""
    async with Api(guarded.url, token=token(alice, "send:any")) as api:
        yield api


# Letting in.


async def test_the_token_of_hello_lets_in(guarded: Service, bob: str) -> None:
    async with Device(guarded.url, bob, token=token(bob)) as phone:
        assert phone.rules.welcome is not None
        assert phone.rules.welcome["user"] == bob


async def test_the_token_of_the_header_lets_in(guarded: Service, bob: str) -> None:
    wire = await opened(guarded, header(token(bob)))
    await wire.send(hello())
    assert (await wire.next("welcome"))["user"] == bob
    await wire.close()


@pytest.mark.parametrize("first", ("alice", "nonsense"))
async def test_the_token_of_hello_counts_where_there_are_two(guarded: Service, bob: str, first: str) -> None:
    wire = await opened(guarded, header(token("alice") if first == "alice" else first))
    await wire.send(hello(token(bob)))
    assert (await wire.next("welcome"))["user"] == bob
    await wire.close()


async def test_a_bad_token_in_hello_is_not_saved_by_a_good_header(guarded: Service, bob: str) -> None:
    await refused(await opened(guarded, header(token(bob))), hello("nonsense"), 4501, "unauthenticated")
    await refused(await opened(guarded, header(token(bob))), hello(""), 4501, "unauthenticated")


@pytest.mark.parametrize(
    "bad",
    (
        None,
        "nonsense",
        "a" * 100_000,
        token("bob", lasts=-1),
        token("bob", exp=None),
        token("bob", aud="another"),
        unsigned({"sub": "bob", "exp": 2**33}),
        Issuer(secret="another secret of at least 32 bytes").token("bob"),
    ),
    ids=("missing", "nonsense", "huge", "expired", "without_exp", "audience", "none", "signature"),
)
async def test_a_hello_without_a_good_token_gets_an_error_and_4501(guarded: Service, bad: str | None) -> None:
    await refused(await opened(guarded), hello(bad), 4501, "unauthenticated")


async def test_without_the_scope_chat_it_is_4503(guarded: Service, bob: str) -> None:
    await refused(await opened(guarded), hello(token(bob, "send:any ops")), 4503, "forbidden")


async def test_a_token_or_a_name_in_the_url_counts_for_nothing(guarded: Service, bob: str) -> None:
    for query in (f"?token={token(bob)}", f"?access_token={token(bob)}", f"?user={bob}"):
        await refused(await opened(guarded, {"X-Inboxd-User": bob}, query), hello(), 4501, "unauthenticated")


async def test_a_fault_in_hello_is_told_before_its_token_is_looked_at(guarded: Service) -> None:
    await refused(await opened(guarded), hello("nonsense") | {"window": 0}, 4500, "invalid_field")


async def test_who_says_nothing_is_sent_away_as_ever(guarded: Service) -> None:
    wire = await opened(guarded)
    assert await wire.ended() == 4000


async def test_what_came_behind_a_refused_hello_is_not_done(guarded: Service, alices: Api, bob: str) -> None:
    wire = await opened(guarded)
    await wire.send(hello("nonsense"), {"type": "send", "id": "m", "to": bob, "body": 1})
    assert await wire.ended() == 4501
    async with Api(guarded.url, token=token(bob)) as bobs:
        assert (await bobs.get("/v1/inbox", device="x"))["entries"] == []


async def test_from_is_for_backends_on_sockets_too(guarded: Service, alice: str, bob: str) -> None:
    async with Device(guarded.url, alice, token=token(alice)) as phone:
        answer = await phone.send("m-1", bob, 1, **{"from": "carol"})
        assert (answer["type"], answer["code"], answer["retryable"]) == ("error", "forbidden", False)
        assert (await phone.send("m-2", bob, 1))["type"] == "accepted"
    async with Device(guarded.url, alice, token=token(alice, "chat send:any")) as backend:
        assert (await backend.send("m-3", bob, 1, **{"from": "carol"}))["type"] == "accepted"


# Renewing.


async def renewed(phone: Device, fresh: str) -> dict[str, Any]:
    """What `auth` is answered with."""
    await phone.say({"type": "auth", "token": fresh})

    def probe() -> dict[str, Any] | None:
        return phone.wire.claim("authed") or phone.wire.claim("error")

    return await phone.wire.until(probe, "an answer to auth")


async def test_a_fresh_token_keeps_the_connection_beyond_the_first_ones_end(
    guarded: Service, alices: Api, bob: str
) -> None:
    first = time.time() + SHORT
    phone = Device(guarded.url, bob, token=token(bob, exp=first))
    async with phone:
        assert (await renewed(phone, token(bob)))["type"] == "authed"
        while time.time() <= first:  # the first one's end is what is waited for
            await phone.ping()
            await asyncio.sleep(SHORT / 20)
        await alices.send(bob, "still there")
        assert [entry["body"] for entry in await phone.receive(1)] == ["still there"]
        assert phone.connections == 1


async def test_the_fresh_tokens_own_end_counts_and_so_do_its_scopes(guarded: Service, bob: str, carol: str) -> None:
    phone = Device(guarded.url, bob, token=token(bob, "chat send:any"))
    await phone.connect()
    assert (await phone.send("m-1", carol, 1, **{"from": "x"}))["type"] == "accepted"
    assert (await renewed(phone, short(bob)))["type"] == "authed"
    assert (await phone.send("m-2", carol, 1, **{"from": "x"}))["code"] == "forbidden"
    assert await phone.wire.ended() == 4002
    await phone.close()


@pytest.mark.parametrize(
    ("bad", "code"),
    (
        ("nonsense", "unauthenticated"),
        (token("bob", lasts=-1), "unauthenticated"),
        (unsigned({"sub": "bob", "exp": 2**33}), "unauthenticated"),
        (token("somebody.else"), "forbidden"),
    ),
    ids=("nonsense", "expired", "unsigned", "another_user"),
)
async def test_a_bad_fresh_token_leaves_the_old_one_to_its_end(guarded: Service, bob: str, bad: str, code: str) -> None:
    phone = Device(guarded.url, bob, token=short(bob))
    await phone.connect()
    answer = await renewed(phone, bad)
    assert (answer["type"], answer["code"]) == ("error", code)
    assert bad not in str(answer)
    await phone.ping()  # it is still served
    assert await phone.wire.ended() == 4002
    await phone.close()


async def test_a_fresh_token_without_chat_is_refused(guarded: Service, bob: str) -> None:
    async with Device(guarded.url, bob, token=token(bob)) as phone:
        assert (await renewed(phone, token(bob, "ops")))["code"] == "forbidden"


@pytest.mark.parametrize(
    "frame", ({"type": "auth"}, {"type": "auth", "token": 1}, {"type": "auth", "token": "x", "y": 1})
)
async def test_an_auth_at_fault_is_an_error_and_no_more(guarded: Service, bob: str, frame: dict[str, Any]) -> None:
    async with Device(guarded.url, bob, token=token(bob)) as phone:
        await phone.say(frame)
        assert (await phone.wire.next("error"))["code"] == "invalid_field"
        await phone.ping()


async def test_while_authentication_is_off_auth_is_answered_and_changes_nothing(service: Service, bob: str) -> None:
    async with Device(service.url, bob) as phone:
        assert (await renewed(phone, "anything"))["type"] == "authed"
        await phone.ping()


# The end.


async def test_an_expired_token_closes_with_4002_and_loses_nothing(guarded: Service, alices: Api, bob: str) -> None:
    phone = Device(guarded.url, bob, token=short(bob))
    phone.acking = True
    await phone.connect()
    sent: list[str] = []
    first = phone.wire

    async def keep_sending() -> None:
        while first.is_open or len(sent) < 20:
            sent.append(f"m-{len(sent)}")
            await alices.send(bob, sent[-1], sent[-1])

    sending = asyncio.create_task(keep_sending())
    assert await first.ended() == 4002
    await phone.close()
    phone.token = token(bob)
    await phone.connect()
    await asyncio.wait_for(sending, PATIENCE)
    await phone.wire.until(lambda: phone.log[-1]["body"] == sent[-1] if phone.log else None, "the last message")
    seen = list(dict.fromkeys(entry["body"] for entry in phone.log))
    assert seen == sent
    assert phone.connections == 2
    await phone.close()


async def test_a_device_that_comes_back_with_the_old_token_is_told_to_stay_away(guarded: Service, bob: str) -> None:
    phone = Device(guarded.url, bob, token=short(bob))
    await phone.connect()
    assert await phone.wire.ended() == 4002
    with pytest.raises(RefusedError) as caught:
        await phone.connect()
    assert caught.value.code == 4501


# The older protocol.


class OldClient(LegacyClient):
    """Sends its token where its HTTP library lets it."""

    def __init__(self, base: str, user: str, bearer: str | None) -> None:
        super().__init__(base, user)
        self.headers = {} if bearer is None else header(bearer)

    async def connect(self) -> dict[str, Any]:
        self.wire = await Wire.open(self.url, headers=self.headers)
        return await self.wire.next("system")


async def test_an_older_client_is_let_in_by_the_token_of_its_header(guarded: Service, alices: Api, bob: str) -> None:
    await alices.send(bob, {"text": "hi"})
    async with OldClient(guarded.url, bob, token(bob)) as client:
        assert (await client.message())["msg"] == "hi"


@pytest.mark.parametrize(
    ("bearer", "code"),
    ((None, 4501), ("nonsense", 4501), (token("somebody.else"), 4503), (token("bob", "ops"), 4503)),
    ids=("missing", "nonsense", "another_user", "scope"),
)
async def test_an_older_client_without_a_fitting_token_is_sent_away(
    guarded: Service, bob: str, bearer: str | None, code: int
) -> None:
    client = OldClient(guarded.url, bob, bearer)
    said = await client.connect()
    assert said["msg"] != "Welcome to the chat app!"
    assert await client.wire.ended() == code


async def test_an_older_client_is_sent_away_when_its_token_is_over(guarded: Service, bob: str) -> None:
    client = OldClient(guarded.url, bob, short(bob))
    await client.connect()
    assert await client.wire.ended() == 4002
