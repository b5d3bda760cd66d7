"""The client in a page that is nothing else: what an application of one's own would see of it."""

from typing import Any, Self

from playwright.async_api import BrowserContext, Page

from scripts.lab.timing import eventually_async
from tests.browser.watch import Watch
from tests.support.device import Device

START = """async ({ user, device, options, deaf }) => {
  const { InboxClient } = await import("/sdk/inboxd.mjs");
  const client = new InboxClient({ url: location.origin, user, ...(device && { device }), ...options });
  const app = globalThis.app = {
    client, seen: [], states: [], storage: [], outcomes: {}, handling: 0,
    send(to, body, id) {
      client.send(to, body, id ? { id } : {}).then(
        (acceptance) => { app.outcomes[JSON.stringify(body)] = acceptance; },
        (error) => { app.outcomes[JSON.stringify(body)] = { code: error.code }; },
      );
    },
  };
  client.on("state", ({ state, code }) => app.states.push(code === undefined ? state : `${state} ${code}`));
  client.on("storage", (info) => app.storage.push(info));
  client.on("message", async (message) => {
    if (message.from === user) return;
    app.handling += 1;
    if (deaf) await new Promise(() => {});
    app.seen.push(message.body);
  });
  client.connect().catch(() => {});
}"""


class Application:
    """A tab whose program is one `InboxClient`. `device` None: the client makes one up."""

    def __init__(self, page: Page, watch: Watch, base: str, user: str, device: str | None) -> None:
        self.page, self.watch, self.base = page, watch, base
        self.user, self.device = user, device

    @classmethod
    async def open(
        cls, context: BrowserContext, watch: Watch, base: str, user: str, device: str | None = "web", **more: Any
    ) -> Self:
        application = cls(await context.new_page(), watch, base, user, device)
        await application.start(**more)
        return application

    async def start(self, *, deaf: bool = False, **options: Any) -> None:
        """Loads the page anew and connects. `deaf`: its handler never finishes. `options`: of the client."""
        await self.page.goto(f"{self.base}/healthz")
        given = {"user": self.user, "device": self.device, "options": options, "deaf": deaf}
        await self.page.evaluate(START, given)

    async def another_tab(self) -> Self:
        return await self.open(self.page.context, self.watch, self.base, self.user, self.device)

    async def look(self, what: str) -> Any:
        """The value of an expression, with `app` and `client`."""
        return await self.page.evaluate(f"async () => {{ const {{ client }} = app; return ({what}); }}")

    async def until(self, what: str, value: Any = True) -> None:
        """Waits until an expression has a value."""
        found = None

        async def reached() -> bool:
            nonlocal found
            found = await self.look(what)
            return bool(found == value)

        try:
            await eventually_async(reached, f"{what} is {value}")
        except AssertionError as fault:
            fault.add_note(f"it is {found}")
            raise

    async def is_state(self, state: str) -> None:
        await self.until("client.state", state)

    async def saw(self, *bodies: Any) -> None:
        """Waits until the application was given these messages and no other, in this order."""
        await self.until("app.seen", [*bodies])

    async def send(self, to: str, *bodies: Any) -> None:
        """Hands messages to the client, and does not wait for anything."""
        for body in bodies:
            await self.page.evaluate("([to, body]) => app.send(to, body)", [to, body])

    async def outbox(self) -> list[Any]:
        """Bodies that have not left."""
        return list(await self.look("(await client.outbox()).map((item) => item.body)"))

    async def has_sent(self, *bodies: Any) -> None:
        """Waits until each is accepted, as this page was told."""
        wanted = (
            "Object.keys(app.outcomes).filter((body) => app.outcomes[body].recipients).map((body) => JSON.parse(body))"
        )
        await self.until(f"{wanted}.sort()", sorted(bodies))


async def got(device: Device, *bodies: Any) -> None:
    """Waits until a device has these messages, and no other, in this order."""
    assert [entry["body"] for entry in await device.receive(len(bodies))] == [*bodies]
