"""The JavaScript quickstarts of docs/clients.md, run as they stand in a page of the service."""

import re

from playwright.async_api import Page

from scripts.lab.service import Service
from scripts.lab.timing import PATIENCE, eventually_async
from tests.browser.conftest import Fresh
from tests.clients.test_guide import quickstart
from tests.support.api import Api

STORE = "() => { globalThis.stored = []; globalThis.store = async ({ body }) => { stored.push(body.text); }; }"


async def page_of(fresh: Fresh, service: Service) -> Page:
    context, watch = await fresh(bypass_csp=True)
    watch.cut = True
    page: Page = await context.new_page()
    await page.goto(f"{service.url}/healthz")
    await page.evaluate(STORE)
    return page


async def stores(page: Page, *texts: str) -> None:
    async def all_stored() -> bool:
        return bool(await page.evaluate("stored") == [*texts])

    await eventually_async(all_stored, f"{texts} stored by the page")


def program(title: str, alice: str, bob: str) -> str:
    """A quickstart with users that no other test has."""
    return re.sub("alice|bob", lambda name: {"alice": alice, "bob": bob}[name[0]], quickstart(title, "js"))


async def test_the_client_sends_and_stores(fresh: Fresh, service: Service, alice: str, bob: str) -> None:
    page = await page_of(fresh, service)
    await page.add_script_tag(content=program("JavaScript", alice, bob), type="module")
    async with Api(service.url, bob) as api:
        answer = await api.http.get("/v1/inbox", params={"device": "shell", "wait": 20}, timeout=PATIENCE)
        assert [entry["body"]["text"] for entry in answer.json()["entries"]] == ["hi"]
        await api.send(alice, {"text": "hello"}, "m-1")
    await stores(page, "hi", "hello")  # its own copy first


async def test_an_event_source_stores_and_acks(fresh: Fresh, service: Service, alice: str, bob: str) -> None:
    page = await page_of(fresh, service)
    await page.add_script_tag(content=program("EventSource", alice, bob))
    async with Api(service.url, alice) as api:
        accepted = await api.send(bob, {"text": "as an event"}, "m-1")
        await stores(page, "as an event")

        async def acked() -> bool:
            return bool(await api.stored(bob, "web") == accepted["recipients"][0]["cursor"])

        await eventually_async(acked, "the ack is stored")
