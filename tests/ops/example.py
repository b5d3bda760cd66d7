"""A worked example, made with the service's own scripts: what `docs/operators.md` shows.

bob's phone is connected to the worker `w-7f3a91c2` and has acked three of alice's four messages; his laptop
is away and has acked one. The fourth message's hint lies in the worker's stream, unread. Another worker,
`w-0b5e44d7`, is dead.
"""

import asyncio
from typing import Any

from scripts.lab.timing import PATIENCE
from service.config import Settings
from service.core.sending import Message, fingerprint
from service.store.appends import Appends
from service.store.client import Clients
from service.store.inbox import Inboxes
from service.store.keys import Keys
from service.store.limits import Limits
from service.store.presence import Claim, Presence
from service.store.worker_stream import Hint, WorkerStreams, hint_field

ALIVE, DEAD = "w-7f3a91c2", "w-0b5e44d7"
TEXTS = ("hi", "are you there?", "it is about tomorrow", "call me")


async def build(redis_url: str) -> None:
    """Writes the example into an empty server."""
    settings = Settings(redis_url=redis_url, redis_timeout=PATIENCE)
    keys = Keys(settings.prefix)
    limits = Limits(
        settings.max_pending,
        settings.history,
        settings.retention,
        settings.device_expiry,
        settings.dedupe_window,
    )
    clients = Clients(settings, "example")
    try:
        await _Builder(
            clients,
            keys,
            Appends(clients, keys, limits),
            Inboxes(clients, keys, limits),
            Presence(clients.rest, keys, limits),
            WorkerStreams(clients.rest, clients.read, keys),
        ).run()
    finally:
        await clients.aclose()


class _Builder:
    def __init__(
        self,
        clients: Clients,
        keys: Keys,
        appends: Appends,
        inboxes: Inboxes,
        presence: Presence,
        streams: WorkerStreams,
    ) -> None:
        self.clients, self.keys = clients, keys
        self.appends = appends
        self.inboxes, self.presence, self.streams = inboxes, presence, streams

    async def run(self) -> None:
        for worker in (ALIVE, DEAD):
            await self.presence.enter(worker)
            await self.presence.beat(worker)
        await self.presence.reap(DEAD, "1")
        await self.streams.position(ALIVE)  # the stream exists from here on
        await self._step()
        await self.presence.claim(Claim("bob", "phone", ALIVE, "s-51", 7))
        await self.presence.register("bob", "laptop")
        sent = [await self._send(number, text) for number, text in enumerate(TEXTS, 1)]
        for device, hint in (("phone", sent[2]), ("laptop", sent[0])):
            await self._step()
            await self.inboxes.ack([("bob", device, hint.cursor)])
        position = "0-0"
        for number, hint in enumerate(sent, 1):
            if number == len(sent):
                position, _, _ = await self.streams.read(ALIVE, "0-0", 1)
                await self.streams.trim(ALIVE, position)
            await self._step()
            await self.streams.announce([(ALIVE, [hint_field(hint)])])
        await self._step()
        about: dict[str, str | int] = {
            "host": "chat-1",
            "pid": 4711,
            "version": "0.1.0",
            "started": 1795350000000,
            "connections": 1,
            "position": position,
        }
        await self.presence.pulse(ALIVE, about, 1)
        await self._unsay_canaries(position)

    async def _unsay_canaries(self, position: str) -> None:
        """The page shows a quiet moment: what lies beyond the position is the hint alone."""
        stream = self.keys.worker(ALIVE)
        rows: Any = await self.clients.rest.run("XRANGE", stream, f"({position}", "+")
        for id, fields in rows:
            if b"!canary" in fields:
                await self.clients.rest.run("XDEL", stream, id)

    async def _step(self) -> None:
        """No two times of the example are equal, so that the page can be compared time by time."""
        await asyncio.sleep(0.003)

    async def _send(self, number: int, text: str) -> Hint:
        await self._step()
        body = f'{{"text":"{text}"}}'.encode()
        message = Message(f"m-{number}", "alice", ("bob",), body, fingerprint({"text": text}))
        (attempt,) = await self.appends.append([message], own_copy=False)
        assert isinstance(attempt, list)
        (result,) = attempt
        assert result.cursor is not None
        assert result.prev is not None
        return Hint("bob", result.prev, result.cursor, message.tail("bob"))
