"""The client in a browser, without the chat page: what it keeps there, and what that is good for."""

import pytest

from scripts.lab.service import Service
from scripts.lab.tcp_proxy import Faults, TcpProxy
from scripts.lab.timing import eventually_async
from tests.browser.application import Application, got
from tests.browser.conftest import NOTHING_COMES_BACK, Fresh
from tests.support.api import Api
from tests.support.device import Device


@pytest.fixture
async def app(service: Service, fresh: Fresh, alice: str) -> Application:
    """Alice's, live."""
    context, watch = await fresh(bypass_csp=True)
    app = await Application.open(context, watch, service.url, alice)
    await app.is_state("live")
    return app


async def test_two_browsers_talk_and_what_was_handled_is_acked(
    service: Service, fresh: Fresh, api: Api, app: Application, bob: str
) -> None:
    context, watch = await fresh(bypass_csp=True)
    other = await Application.open(context, watch, service.url, bob)
    await other.is_state("live")
    await app.send(bob, "one", {"two": [2]}, "three")
    await other.saw("one", {"two": [2]}, "three")
    await other.send(app.user, "four")
    await app.saw("four")
    await acked(api, bob, 4)


async def acked(api: Api, user: str, seq: int) -> None:
    """Waits until the user's device has acked so many entries, its own copies among them."""

    async def stored() -> bool:
        return (await api.stored(user, "web") or "").endswith(f"-{seq}")

    await eventually_async(stored, f"{seq} entries are acked")


async def test_it_keeps_things_in_indexeddb_and_says_so(app: Application) -> None:
    assert await app.look("client.storage.kind") == "indexeddb"
    assert await app.look("client.storage.durable") is True


@pytest.mark.parametrize(
    ("missing", "kind", "durable"),
    ((("indexedDB",), "localstorage", True), (("indexedDB", "localStorage"), "memory", False)),
)
async def test_without_a_database_it_takes_the_next_best_and_says_so(
    service: Service, fresh: Fresh, alice: str, missing: tuple[str, ...], kind: str, durable: bool
) -> None:
    context, watch = await fresh(bypass_csp=True)
    for name in missing:
        await context.add_init_script(
            f"Object.defineProperty(globalThis, '{name}', {{ get() {{ throw new DOMException('no'); }} }})"
        )
    app = await Application.open(context, watch, service.url, alice)
    await app.is_state("live")
    assert await app.look("[client.storage.kind, client.storage.durable]") == [kind, durable]
    assert await app.look("app.storage.map((info) => info.kind)") == [kind]


async def test_what_was_sent_without_a_network_survives_a_reload_and_goes_out_once_in_order(
    service: Service, app: Application, bob: str
) -> None:
    app.watch.cut = True
    async with Device(service.url, bob) as phone:
        await app.page.context.set_offline(True)
        await app.is_state("offline")
        await app.send(bob, "one", "two", "three")
        await app.until("(await client.outbox()).length", 3)
        await app.page.context.set_offline(False)  # a page cannot be loaded without
        await app.start()
        await got(phone, "one", "two", "three")
        await app.until("(await client.outbox()).length", 0)
        await app.send(bob, "four")
        await got(phone, "one", "two", "three", "four")


async def test_a_message_whose_handling_was_interrupted_comes_again_and_a_handled_one_does_not(
    app: Application, api: Api
) -> None:
    await api.send(app.user, "handled", "m-1")
    await app.saw("handled")
    await acked(api, app.user, 1)
    await app.start(deaf=True)
    await api.send(app.user, "begun", "m-2")
    await app.until("app.handling", 1)
    await app.start()
    await app.saw("begun")
    await api.send(app.user, "next", "m-3")
    await app.saw("begun", "next")


async def test_a_lost_answer_makes_no_second_message_even_over_a_reload(
    service: Service, proxy: TcpProxy, fresh: Fresh, alice: str, bob: str
) -> None:
    context, watch = await fresh(bypass_csp=True)
    watch.cut = True
    async with Device(service.url, bob) as phone:
        app = await Application.open(context, watch, f"http://127.0.0.1:{proxy.port}", alice)
        await app.is_state("live")
        proxy.faults = NOTHING_COMES_BACK
        await app.send(bob, "once")
        await got(phone, "once")
        assert await app.outbox() == ["once"], "it cannot know"
        proxy.faults = Faults()
        await app.start()
        await app.until("(await client.outbox()).length", 0)
        await app.send(bob, "next")
        await got(phone, "once", "next")
    assert proxy.counts["swallowed"] > 0


async def test_a_device_that_the_client_made_up_is_the_same_after_a_reload(
    service: Service, fresh: Fresh, api: Api, alice: str
) -> None:
    context, watch = await fresh(bypass_csp=True)
    app = await Application.open(context, watch, service.url, alice, None)
    await app.is_state("live")
    device = await app.look("client.device")
    await app.start()
    await app.is_state("live")
    assert await app.look("client.device") == device
    assert [row["device"] for row in (await api.inbox(alice))["devices"]] == [device]
