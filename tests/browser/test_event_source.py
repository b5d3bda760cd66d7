"""The browser's own `EventSource` receives as a device does, and resumes where it was cut off."""

from typing import Any

from playwright.async_api import Page

from scripts.lab.tcp_proxy import TcpProxy
from scripts.lab.timing import eventually_async
from tests.browser.conftest import Fresh
from tests.support.api import Api

LISTEN = """(user) => {
  globalThis.heard = [];
  globalThis.opened = 0;
  const source = new EventSource(`/v1/events?device=web&stream=one&user=${encodeURIComponent(user)}`);
  source.onopen = () => { opened += 1; };
  source.addEventListener("message", ({ data, lastEventId }) => heard.push([JSON.parse(data).body, lastEventId]));
}"""


async def hears(page: Page, *bodies: Any) -> list[str]:
    """Waits until it has exactly these, in this order; their cursors."""
    heard: list[Any] = []

    async def all_heard() -> bool:
        heard[:] = await page.evaluate("heard")
        return len(heard) >= len(bodies)

    await eventually_async(all_heard, f"{bodies} in the page")
    assert [body for body, _ in heard] == [*bodies]
    return [cursor for _, cursor in heard]


async def test_a_stream_that_was_cut_goes_on_behind_the_last_event_it_had(
    proxy: TcpProxy, fresh: Fresh, api: Api, bob: str
) -> None:
    context, watch = await fresh(bypass_csp=True)
    watch.cut = True
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{proxy.port}/healthz")
    await page.evaluate(LISTEN, bob)
    cursors = await api.fill(bob, 2)
    assert await hears(page, 1, 2) == cursors
    proxy.cut()
    await api.send(bob, "while it was away", "m-away")
    await hears(page, 1, 2, "while it was away")
    await api.send(bob, "live", "m-live")
    await hears(page, 1, 2, "while it was away", "live")
    assert await page.evaluate("opened") == 2
