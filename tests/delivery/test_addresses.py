"""A push goes to the address that was judged, and to none in one's own network."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from service.delivery.addresses import CheckedTransport, PrivateAddressError, is_public, resolve
from tests.delivery.rig import within

PUBLIC = ("1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")
PRIVATE = (
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1", "192.0.2.1",
    "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%lo", "ff02::1", "2001:db8::1", "fec0::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
    "2002:7f00:1::1", "2001:0:7f00:1::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_every_other_address_is_not_however_it_is_wrapped(address: str) -> None:
    assert not is_public(address)


class Far(httpx2.AsyncBaseTransport):
    """What would be connected to; `away` cannot be."""

    def __init__(self, *away: str) -> None:
        self.away = away
        self.asked: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        if request.url.host in self.away:
            raise httpx2.ConnectError("nobody there")
        return httpx2.Response(204)

    @property
    def addresses(self) -> list[str]:
        return [request.url.host for request in self.asked]


class Names:
    """A name server that gives each of these answers once."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        return self.answers.pop(0)


async def post(far: Far, names: Names, *, private: bool = False, url: str = "https://backend.example/hooks") -> None:
    transport = CheckedTransport(far, private=private, resolve=names)
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        await client.post(url, content=b"{}")


async def test_a_request_goes_to_the_address_and_speaks_to_the_name() -> None:
    far = Far()
    await post(far, Names(["1.1.1.1"]))
    [request] = far.asked
    assert request.url == "https://1.1.1.1/hooks"
    assert request.headers["host"] == "backend.example"
    assert request.extensions["sni_hostname"] == "backend.example"


async def test_a_name_that_changes_its_address_meanwhile_gains_nothing() -> None:
    far = Far()
    await post(far, Names(["1.1.1.1"], ["127.0.0.1"]))
    assert far.addresses == ["1.1.1.1"], "it is asked for once"


@pytest.mark.parametrize("answer", (["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["2606:4700:4700::1111", "::1"]))
async def test_a_name_with_one_private_address_is_not_connected_to_at_all(answer: list[str]) -> None:
    far = Far()
    with pytest.raises(PrivateAddressError, match="not on the public internet"):
        await post(far, Names(answer))
    assert far.asked == []


@pytest.mark.parametrize("host", ("127.0.0.1", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"))
async def test_an_address_that_is_written_otherwise_is_judged_as_what_it_is(host: str) -> None:
    far = Far()
    transport = CheckedTransport(far, private=False)
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        with pytest.raises(PrivateAddressError):
            await client.post(f"https://{host}/hooks", content=b"{}")
    assert far.asked == []


async def test_private_addresses_are_connected_to_where_that_was_asked_for() -> None:
    far = Far()
    await post(far, Names(["10.0.0.1"]), private=True)
    await post(far, Names(["::1"]), private=True)
    assert far.addresses == ["10.0.0.1", "::1"]


async def test_the_next_address_is_tried_where_nobody_answers_at_the_first() -> None:
    far = Far("1.1.1.1")
    await post(far, Names(["1.1.1.1", "1.0.0.1"]))
    assert far.addresses == ["1.1.1.1", "1.0.0.1"]
    with pytest.raises(httpx2.ConnectError):
        await post(Far("1.1.1.1"), Names(["1.1.1.1"]))


async def test_a_name_without_an_address_cannot_be_connected_to() -> None:
    with pytest.raises(httpx2.ConnectError, match="no address"):
        await post(Far(), Names([]))
    assert await resolve("127.0.0.1", 80) == ["127.0.0.1"]


async def test_a_name_server_that_hangs_takes_no_thread_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    asking: set[str] = set()

    def hangs(*_: Any, **__: Any) -> list[Any]:
        asking.add(threading.current_thread().name)
        answered.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    lookups = [asyncio.ensure_future(resolve("backend.example", 443)) for _ in range(40)]
    try:
        assert await within(asyncio.to_thread(lambda: "free"), "a thread for somebody else") == "free"
    finally:
        answered.set()
        await asyncio.gather(*lookups)
    assert 0 < len(asking) <= 4
