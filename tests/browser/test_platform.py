"""What the tests of this folder rely on: how Chromium behaves, and that the watch sees what it is there to see."""

import pytest
from playwright.async_api import Browser, Page

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.browser.chrome import Profile, context_of
from tests.browser.conftest import Fresh

STORE = """async (value) => {
  const opening = indexedDB.open("a test", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("kept");
  await new Promise((resolve) => { opening.onsuccess = resolve; });
  const writing = opening.result.transaction("kept", value ? "readwrite" : "readonly");
  const asked = value ? writing.objectStore("kept").put(value, 1) : writing.objectStore("kept").get(1);
  await new Promise((resolve) => { writing.oncomplete = resolve; });
  return asked.result;
}"""

SOCKET = """(user) => {
  globalThis.heard = [];
  const socket = globalThis.socket = new WebSocket(`ws://${location.host}/v1/ws?user=${user}`);
  socket.onopen = () => socket.send('{"type":"hello","device":"web"}');
  socket.onmessage = ({data}) => heard.push(...data.split("\\n").map((line) => JSON.parse(line).type));
  socket.onclose = ({code}) => heard.push(code);
  addEventListener("offline", () => heard.push("offline"));
}"""


@pytest.mark.parametrize(
    ("script", "fault"),
    (
        ("console.error('a fault')", "console: a fault"),
        ("setTimeout(() => { throw new Error('a fault') })", "error: Error: a fault"),
        ("setTimeout(() => alert('a fault'))", "dialog: a fault"),
        (
            "document.body.append(Object.assign(document.createElement('script'), {src: 'https://elsewhere.test/'}))",
            "violates the following Content Security Policy",
        ),
    ),
)
async def test_the_watch_sees_what_a_page_may_not_do(
    service: Service, browser: Browser, script: str, fault: str
) -> None:
    context, watch = await context_of(browser)
    page = await context.new_page()
    await page.goto(f"{service.url}/healthz")
    await page.evaluate(f"() => {{ {script} }}")

    async def seen() -> bool:
        return any(fault in one for one in watch.faults)

    await eventually_async(seen, f"{fault!r} is seen")
    await context.close()


async def heard(page: Page, *words: str | int) -> None:
    async def all_heard() -> bool:
        return set(words) <= set(await page.evaluate("heard"))

    await eventually_async(all_heard, f"{words} in the page")


async def test_a_context_without_a_network_keeps_its_sockets_and_gets_nothing_through_them(
    service: Service, fresh: Fresh, bob: str
) -> None:
    context, watch = await fresh(bypass_csp=True)
    watch.cut = True
    page = await context.new_page()
    await page.goto(f"{service.url}/healthz")
    await page.evaluate(SOCKET, bob)
    await heard(page, "live")
    await context.set_offline(True)
    await heard(page, "offline")
    await page.evaluate("""socket.send('{"type":"ping"}')""")
    refused = await page.evaluate("fetch('/healthz').then(() => false, () => true)")
    assert refused
    assert "pong" not in await page.evaluate("heard")
    await context.set_offline(False)
    await heard(page, "pong")
    assert len(watch.sockets(page)) == 1


async def test_what_a_page_has_stored_outlives_the_browsers_violent_end(service: Service, profile: Profile) -> None:
    await profile.start()
    page = await profile.context.new_page()
    await page.goto(f"{service.url}/healthz")
    await page.evaluate(STORE, "a value")
    pid = profile.pid
    await profile.kill()
    assert not processes.is_alive(pid)
    await profile.start()
    page = await profile.context.new_page()
    await page.goto(f"{service.url}/healthz")
    assert await page.evaluate(STORE, None) == "a value"
