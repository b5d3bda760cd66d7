"""Push of one worker, put together by its settings."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from service.config import Settings
from service.delivery.push_formats import Format, MatrixFormat, WebhookFormat
from service.delivery.push_sweeper import PushSweeper
from service.delivery.pusher import AT_ONCE, Patience, Pusher
from service.delivery.webhook import Webhook
from service.store.appends import Appends
from service.store.keys import Keys
from service.store.link import Link
from service.store.push import PushRows, Reminders
from service.store.push_sweep import PushSweep
from service.store.pushers import Pushers

log = logging.getLogger("inboxd.push")


class Pushing:
    """Without INBOXD_PUSH_URL it does nothing. `client`: for everything but appends. `now_ms`: the server's clock.
    `own`: the worker's name.
    """

    def __init__(
        self, settings: Settings, appends: Appends, client: Link, keys: Keys, now_ms: Callable[[], int],
        own: Callable[[], str],
    ) -> None:  # fmt: skip
        self.pushers = Pushers(client, keys, settings.max_devices)
        self.pusher: Pusher | None = None
        self._drain = settings.drain_timeout / 4
        if settings.push_url is None:
            return
        appends.remind = Reminders(keys, now_ms, settings.push_after)
        # An append that has had no answer for so long is not accepted; twice, for the time until its command was sent.
        rows = PushRows(client, keys, appends.remind, settling=2 * settings.redis_timeout)
        webhook = Webhook(
            settings.push_url, settings.push_secret or "", timeout=settings.push_timeout,
            private=settings.push_private, most=AT_ONCE,
        )  # fmt: skip
        format: Format = MatrixFormat(self.pushers) if settings.push_format == "matrix" else WebhookFormat()
        self._rows = rows
        self.pusher = Pusher(rows, webhook, format, _patience(settings), now_ms)
        self.sweeper = PushSweeper(PushSweep(client, keys, rows), settings.push_sweep, settings.dead_after, own)

    def tasks(self) -> tuple[tuple[str, Coroutine[Any, Any, None]], ...]:
        """To be started, each with its name."""
        if self.pusher is None:
            return ()
        return ("pusher", self.pusher.run()), ("sweeper of push", self.sweeper.run())

    async def expect(self, user: str) -> None:
        """This user can be told from now on: what waits is looked into at once. Raises Unavailable."""
        if self.pusher is not None:
            await self._rows.remind([user])

    async def left(self, user: str) -> None:
        """This user went offline without having acked everything: nobody may have noted that down, as after an ack of
        a part. Raises Unavailable.
        """
        if self.pusher is not None:
            await self._rows.remind([user], now=False)

    def close(self) -> None:
        """Nothing new is begun."""
        if self.pusher is not None:
            self.pusher.closing = True

    async def drained(self) -> None:
        """Returns when nobody is being told, or a quarter of the drain time-out is over: a receiver that hangs must not
        keep a worker from leaving in order.
        """
        if self.pusher is None:
            return
        try:
            async with asyncio.timeout(self._drain):
                await self.pusher.drained()
        except TimeoutError:
            log.info("pushes under way are made again when their leases have run out")


def _patience(settings: Settings) -> Patience:
    return Patience(
        settings.push_after,
        settings.push_interval,
        settings.push_timeout,
        settings.push_timeout + 6 * settings.redis_timeout,  # the calls before and behind the try
        settings.push_backoff,
        settings.push_backoff_most,
    )
